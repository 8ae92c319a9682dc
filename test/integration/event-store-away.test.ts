import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import { type EventStore, StoreUnavailableError } from '../../src/storage/events/event-store.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { type ClickhouseServer, startClickhouse } from '../support/engines/clickhouse.js';
import { freshClickhouse, freshName } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { freePort } from '../support/ports.js';
import { until } from '../support/wait.js';
import { encodeRow, makeRow, SITE } from './event-rows.js';

const rows = (count: number, start = 0): Uint8Array[] =>
  Array.from({ length: count }, (_, n) =>
    encodeRow(makeRow({ event_id: (start + n).toString(16).padStart(32, '0') })),
  );
const soon = (): number => Date.now() + 20_000;

const openers: Record<EventStore['kind'], (port: number) => EventStore> = {
  clickhouse: (port) =>
    createClickhouseEventStore({
      clickhouse: { url: `http://127.0.0.1:${port}` },
      telemetry: silentTelemetry(),
    }),
  postgres: (port) =>
    createPostgresEventStore({
      url: `postgres://nobody@127.0.0.1:${port}/nothing`,
      maxConnections: 2,
      minConnections: 0,
      telemetry: silentTelemetry(),
    }),
};

describe.each(Object.entries(openers))('event store without a server: %s', (_, open) => {
  it('says of every call that the store is unavailable', async () => {
    const store = open(await freePort());
    const unavailable = [
      store.insertRows('events', rows(1), 'token', soon()),
      store.addToBooks(
        [
          {
            siteId: SITE,
            hour: 0,
            source: 'event',
            received: 1,
            stored: 1,
            duplicate: 0,
            bot: 0,
            rejected: 0,
            quarantined: 0,
          },
        ],
        'token',
      ),
      store.existingIds([{ siteId: SITE, table: 'events', ids: [new Uint8Array(16)] }]),
      store.recentIds(0, 1, 0, 1),
      store.books(SITE, 0, 1),
      store.listQuarantine(SITE, 1),
      store.quarantined(SITE, ['x']),
      store.takeQuarantined(SITE, ['x']),
      store.deleteSite(SITE),
    ];
    for (const answer of await Promise.allSettled(unavailable))
      expect(answer).toMatchObject({ status: 'rejected', reason: { name: 'StoreUnavailableError' } });
    await expect(store.ping()).rejects.toThrow();
    await store.close();
  });

  it('stops waiting for the server when it is closed', async () => {
    const store = open(await freePort());
    const migrating = store.migrate();
    await store.close();
    await expect(migrating).rejects.toThrow();
  });
});

describe('ClickHouse behind a compressed connection', () => {
  it('takes and gives the same', async () => {
    const { url, database, drop } = await freshClickhouse();
    const store = createClickhouseEventStore({
      clickhouse: { url, database, compression: true },
      telemetry: silentTelemetry(),
    });
    await store.migrate();
    const block = rows(5_000);
    for (let time = 0; time < 2; time++) await store.insertRows('events', block, 'compressed', soon());
    const recent = await store.recentIds(0, 1, 0, 10_000);
    expect(recent?.map((id) => Buffer.from(id).toString('hex')).sort()).toEqual(
      block.map((row) => Buffer.from(row.subarray(0, 16)).toString('hex')),
    );
    await store.close();
    await drop();
  });
});

describe('ClickHouse that fails in the middle of the work', () => {
  let guard: Guard;
  let server: ClickhouseServer;
  let store: EventStore;
  beforeAll(async () => {
    guard = await Guard.start();
    server = await startClickhouse(guard);
    store = createClickhouseEventStore({
      clickhouse: { url: server.url, database: 'events_test' },
      telemetry: silentTelemetry(),
    });
    await store.migrate();
  });
  afterAll(async () => {
    await store.close();
    await guard.stop();
  });

  const stored = async (): Promise<Set<string>> =>
    store.existingIds([
      { siteId: SITE, table: 'events', ids: rows(30_000).map((row) => row.subarray(0, 16)) },
    ]);

  it('keeps a block that it has confirmed, and takes an unconfirmed one once, when it is killed', async () => {
    await store.insertRows('events', rows(100), 'confirmed', soon());
    const block = rows(20_000, 1_000);
    const inserting = Promise.allSettled([store.insertRows('events', block, 'unconfirmed', soon())]);
    await server.process.end('SIGKILL');
    const [first] = await inserting;
    if (first.status === 'rejected') expect(first.reason).toBeInstanceOf(StoreUnavailableError);
    await expect(store.insertRows('events', block, 'unconfirmed', soon())).rejects.toThrow(
      StoreUnavailableError,
    );
    await server.restart();
    await store.insertRows('events', block, 'unconfirmed', soon());
    await store.insertRows('events', rows(100), 'confirmed', soon());
    const recent = await store.recentIds(0, 1, 0, 1_000_000);
    expect(recent).toHaveLength(20_100);
    expect((await stored()).size).toBe(20_100);
  });

  it('takes no block after its deadline when it was frozen meanwhile', async () => {
    const late = rows(500, 25_000);
    // An open connection and a known clock, so that the block itself is what meets the frozen server.
    await store.insertRows('events', rows(1, 29_999), freshName('token'), soon());
    process.kill(server.process.pid, 'SIGSTOP');
    try {
      await expect(store.insertRows('events', late, freshName('token'), Date.now() + 1_200)).rejects.toThrow(
        StoreUnavailableError,
      );
    } finally {
      process.kill(server.process.pid, 'SIGCONT');
    }
    // The server has read the late request when it is through with a later one on another connection.
    await until(() => store.ping().then(() => true), { what: 'the server to answer again' });
    await store.insertRows('events', rows(1, 29_998), freshName('token'), soon());
    expect(
      await store.existingIds([
        { siteId: SITE, table: 'events', ids: late.map((row) => row.subarray(0, 16)) },
      ]),
    ).toEqual(new Set());
  });
});
