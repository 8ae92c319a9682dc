import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createPartitionWriter, type PartitionWriter } from '../../src/actors/partition-writer.js';
import { createSiteBatcher } from '../../src/actors/site-batcher.js';
import { replayQuarantined } from '../../src/events/quarantine-replay.js';
import type { EventRow } from '../../src/events/row-decoder.js';
import { hexId } from '../../src/events/row-head.js';
import { copyTables, flagsOf, type RowTable } from '../../src/events/tables.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { openLocalLog } from '../../src/storage/stream/local-log.js';
import { createPublisher } from '../../src/storage/stream/publisher.js';
import type { FrameStream, PartitionConsumer, Subscription } from '../../src/storage/stream/stream.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { rawFrame } from '../actors/rows.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { seededRandom } from '../support/random.js';
import { until } from '../support/wait.js';
import { encodeRow, encodeRowOf, makeFunnelEvent, makeHeatPoint, makeRow } from './event-rows.js';
import { Relay } from './relay.js';

const PARTITIONS = 4;
const SITES = Array.from({ length: 6 }, (_, i) => `65f1a2b3c4d5e6f7${i.toString(16).padStart(8, '0')}`);
const START = Date.now();
const DAY_MS = 86_400_000;

/** A migrated store behind a relay. */
interface Opened {
  readonly store: EventStore;
  readonly relay: Relay;
  close(): Promise<void>;
}

const openers: Record<EventStore['kind'], () => Promise<Opened>> = {
  clickhouse: async () => {
    const { url, database, drop } = await freshClickhouse();
    const relay = await Relay.before(url);
    const store = createClickhouseEventStore({
      clickhouse: { url: relay.through(url), database },
      telemetry: silentTelemetry(),
    });
    await store.migrate();
    return { store, relay, close: () => closeAll(store, relay, drop) };
  },
  postgres: async () => {
    const { url, drop } = await freshPostgres();
    const relay = await Relay.before(url);
    const store = createPostgresEventStore({
      ...{ url: relay.through(url), maxConnections: 4, minConnections: 0 },
      telemetry: silentTelemetry(),
    });
    await store.migrate();
    return { store, relay, close: () => closeAll(store, relay, drop) };
  },
};

async function closeAll(store: EventStore, relay: Relay, drop: () => Promise<void>): Promise<void> {
  await store.close();
  relay.stop();
  await drop();
}

/**
 * Row number n: always the same. One in ten is a bot's event, one in eight a heat point, one in eight a funnel event; one in nine is of
 * days ago, one in 97 has not the layout of its table.
 */
function rowOf(n: number): {
  siteId: string;
  table: RowTable;
  flags: number;
  bytes: Uint8Array;
  isBad: boolean;
} {
  const siteId = SITES[n % SITES.length] ?? '';
  const isBad = n % 97 === 13;
  const table = n % 8 === 3 ? 'heat_points' : n % 8 === 6 ? 'funnel_events' : eventTable(n);
  const header = {
    event_id: n.toString(16).padStart(32, '0'),
    site_id: siteId,
    timestamp: n % 9 === 0 ? START - 3 * DAY_MS : START + (n % 1_000),
    received_at: Date.now(),
  };
  const whole = bytesOf(table, header, `visitor-${n % 50}`);
  const bytes = isBad ? whole.subarray(0, whole.length - 3) : whole;
  return { siteId, table, flags: flagsOf(table), bytes, isBad };
}

type Header = Pick<EventRow, 'event_id' | 'site_id' | 'timestamp' | 'received_at'>;

const eventTable = (n: number) => (n % 10 === 7 ? 'bot_events' : 'events');

function bytesOf(table: RowTable, header: Header, visitor_id: string): Uint8Array {
  if (table === 'heat_points') return encodeRowOf(table, makeHeatPoint(header));
  if (table === 'funnel_events') return encodeRowOf(table, makeFunnelEvent({ ...header, visitor_id }));
  return encodeRow(makeRow({ ...header, visitor_id }));
}

/** A writer that consumes the stream, and can be cut off like a killed process. */
class Node {
  readonly #writer: PartitionWriter;
  #subscription: Subscription | undefined;
  #isDead = false;
  readonly #death = withResolver();
  readonly #partitions = new Set<number>();
  /** Calls of the store that are under way: they end although their caller is dead. */
  readonly #calls = new Set<Promise<unknown>>();
  /** Runs after each insert; a test kills the node from it. */
  afterInsert: () => void = () => {};

  constructor(store: EventStore) {
    const call = async <Result>(run: () => Promise<Result>): Promise<Result> => {
      if (this.#isDead) await new Promise(() => {});
      const calling = run();
      const settled = calling.catch(() => {});
      this.#calls.add(settled);
      try {
        return await calling;
      } finally {
        this.#calls.delete(settled);
        if (this.#isDead) await new Promise(() => {});
      }
    };
    this.#writer = createPartitionWriter({
      ...{ partitions: PARTITIONS, telemetry: silentTelemetry(), flushMs: 20 },
      ...{ retryFirstMs: 20, retryMaxMs: 100, insertMs: 1_500, leaveMs: 200 },
      store: {
        insertRows: async (...block) => {
          await call(() => store.insertRows(...block));
          this.afterInsert();
          if (this.#isDead) await new Promise(() => {});
        },
        addToBooks: (...books) => call(() => store.addToBooks(...books)),
        quarantine: (...rows) => call(() => store.quarantine(...rows)),
        existingIds: (ids) => call(() => store.existingIds(ids)),
        repair: (...range) => call(() => store.repair(...range)),
        recentIds: (...range) => call(() => store.recentIds(...range)),
      },
    });
  }

  async start(stream: FrameStream): Promise<void> {
    const writer = this.#writer;
    const isDead = () => this.#isDead;
    const consumer: PartitionConsumer = {
      acquired: (ownership) => {
        this.#partitions.add(ownership.partition);
        return Promise.race([writer.acquired(ownership), this.#death.promise]);
      },
      message: (partition, { data, ack }) =>
        Promise.race([
          writer.message(partition, { data, ack: () => (isDead() ? Promise.resolve() : ack()) }),
          this.#death.promise,
        ]),
      lost: (partition) => (isDead() ? Promise.resolve() : writer.lost(partition)),
    };
    this.#subscription = await stream.consume(consumer);
  }

  /** Nothing that it does afterwards has an effect, save for what the store has already been sent. */
  kill(): void {
    this.#isDead = true;
    this.#death.resolve();
  }

  /** Ends the node; what a dead one had sent to the store has ended then too (as it has when a lease has run out). */
  async end(): Promise<void> {
    await this.#subscription?.stop();
    while (this.#isDead && this.#calls.size > 0) await Promise.all(this.#calls);
    // A dead one that still waited for its partitions would do so for as long as the process runs.
    if (this.#isDead) for (const partition of this.#partitions) this.#writer.lost(partition).catch(() => {});
    await this.#writer.stop(this.#isDead ? 0 : 5_000);
  }
}

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(kind: EventStore['kind']) {
  const opened = await openers[kind]();
  cleanups.push(() => opened.close());
  const directory = await mkdtemp(join(tmpdir(), 'partition-writer-'));
  cleanups.push(() => rm(directory, { recursive: true }));
  const telemetry = silentTelemetry();
  const stream = await openLocalLog({ directory, partitions: PARTITIONS, limitBytes: 1 << 28, telemetry });
  cleanups.push(() => stream.close());
  const publisher = createPublisher({ stream, telemetry });
  const sites = createSiteBatcher({ publish: (frame) => publisher.publish(frame), telemetry });
  cleanups.push(() => sites.stop(1_000));
  /** One request of each site that the numbers belong to; resolves when all are durable. */
  const deliver = (numbers: readonly number[]) =>
    Promise.all(
      SITES.map(async (siteId) => {
        const rows = numbers.map(rowOf).filter((row) => row.siteId === siteId);
        if (rows.length > 0) await sites.deliver(rawFrame(siteId, rows, 'batch'));
      }),
    );
  const drained = () =>
    until(async () => (await stream.status()).lagMessages === 0, {
      what: 'the stream to run dry',
      everyMs: 20,
    });
  return { ...opened, stream, publisher, deliver, drained };
}

async function storedIds(store: EventStore, count: number): Promise<Set<string>> {
  const numbers = Array.from({ length: count }, (_, n) => rowOf(n));
  return store.existingIds(
    SITES.flatMap((siteId) =>
      (['events', 'heat_points', 'funnel_events'] as const).map((table) => ({
        siteId,
        table,
        ids: numbers
          .filter((row) => row.siteId === siteId && copyTables(table).includes(row.table))
          .map((row) => row.bytes.subarray(0, 16)),
      })),
    ),
  );
}

async function booksOf(store: EventStore) {
  const all = await Promise.all(SITES.map((siteId) => store.books(siteId, 0, Date.now() + DAY_MS)));
  const sum = (field: 'received' | 'stored' | 'duplicate' | 'bot' | 'rejected' | 'quarantined') =>
    all.flat().reduce((total, entry) => total + entry[field], 0);
  return {
    ...{ received: sum('received'), stored: sum('stored'), duplicate: sum('duplicate'), bot: sum('bot') },
    ...{ rejected: sum('rejected'), quarantined: sum('quarantined') },
  };
}

const ROWS = 2_000;
const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const expected = {
  bad: numbers(0, ROWS).filter((n) => rowOf(n).isBad).length,
  bots: numbers(0, ROWS).filter((n) => rowOf(n).table === 'bot_events' && !rowOf(n).isBad).length,
};
const good = ROWS - expected.bad;

describe.each(['clickhouse', 'postgres'] as const)('the partition writer on a local log and %s', (kind) => {
  it('P2, P4: stores good rows, keeps malformed ones, and its books are exact', async () => {
    const { store, stream, publisher, deliver, drained } = await setUp(kind);
    const node = new Node(store);
    await node.start(stream);
    for (let n = 0; n < ROWS; n += 100) await deliver(numbers(n, n + 100));
    await drained();
    await deliver(numbers(0, 300));
    await drained();
    expect((await storedIds(store, ROWS)).size).toBe(good);
    const quarantined = (await Promise.all(SITES.map((siteId) => store.listQuarantine(siteId, 100)))).flat();
    for (const { table, reason, bytes } of quarantined) {
      const { isBad, table: given, bytes: original } = rowOf(Number.parseInt(hexId(bytes), 16));
      expect(isBad).toBe(true);
      expect(table).toBe(given);
      expect(reason).toContain('layout');
      expect(bytes.length).toBe(original.length);
    }
    expect(new Set(quarantined.map(({ id }) => id)).size).toBe(expected.bad);
    const badAgain = numbers(0, 300).filter((n) => rowOf(n).isBad).length;
    expect(await booksOf(store)).toEqual({
      received: ROWS + 300,
      stored: good - expected.bots,
      bot: expected.bots,
      duplicate: 300 - badAgain,
      rejected: 0,
      quarantined: expected.bad + badAgain,
    });
    // A malformed row that is replayed is refused again, and stays in the quarantine.
    const [first] = quarantined;
    if (first === undefined) throw new Error('nothing is in the quarantine');
    const publish = publisher.publish.bind(publisher);
    const replay = { store, publish, publishRecording: publish };
    expect(await replayQuarantined(replay, first.siteId, [first.id])).toEqual([first.id]);
    await drained();
    const after = await store.listQuarantine(first.siteId, 100);
    expect(after.filter(({ source }) => source === 'replay')).toHaveLength(1);
    expect(after.some(({ id }) => id === first.id)).toBe(false);
    await node.end();
  });

  it.each([1, 2])(
    'P3: stores every event once through failures, crashes and takeovers (seed %i)',
    async (seed) => {
      const { store, relay, stream, deliver, drained } = await setUp(kind);
      const random = seededRandom(seed);
      let node = new Node(store);
      await node.start(stream);
      const replace = async () => {
        await node.end();
        node = new Node(store);
        await node.start(stream);
      };
      for (let n = 0; n < ROWS; n += 50) {
        await deliver(numbers(n, n + 50));
        // Retries of clients: some of the last ones, some of long ago.
        await deliver(numbers(Math.max(0, n - 20), n + 10).concat(numbers(0, 5)));
        const event = random();
        if (event < 0.1) {
          relay.closed = true;
          relay.cut();
          setTimeout(() => {
            relay.closed = false;
          }, 150);
        } else if (event < 0.2) {
          relay.mute = true;
          setTimeout(() => {
            relay.cut();
            relay.mute = false;
          }, 100);
        } else if (event < 0.3) {
          const { promise, resolve } = withResolver();
          node.afterInsert = resolve;
          await deliver(numbers(n, n + 1));
          await Promise.race([promise, new Promise((late) => setTimeout(late, 1_000))]);
          node.kill();
          await replace();
        } else if (event < 0.4) {
          await replace();
        }
      }
      relay.closed = false;
      await drained();
      const books = await booksOf(store);
      await node.end();
      expect((await storedIds(store, ROWS)).size).toBe(good);
      // Ids can be there once only if there are as many rows as ids.
      expect(await rowCount(store)).toBe(good);
      const { received, stored, bot, duplicate, rejected, quarantined } = books;
      expect(received).toBe(stored + bot + duplicate + rejected + quarantined);
      expect(stored + bot).toBeLessThanOrEqual(good);
    },
    60_000,
  );
});

function withResolver(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** All rows of all tables: every one was received lately. */
async function rowCount(store: EventStore): Promise<number> {
  const ids = await store.recentIds(0, 1, 0, 10 * ROWS);
  if (ids === null) throw new Error('far too many rows');
  return ids.length;
}
