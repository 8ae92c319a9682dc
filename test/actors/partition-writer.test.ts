import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createPartitionWriter, type PartitionWriterOptions } from '../../src/actors/partition-writer.js';
import { encodeMessage } from '../../src/events/frame.js';
import {
  RepairFailedError,
  type RepairRange,
  StoreUnavailableError,
} from '../../src/storage/events/event-store.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { FakeStore, type Fault } from './fake-store.js';
import { idOf, messageOf, rawFrame, rowBytes, siteFrame, siteOf, type TestEvent } from './rows.js';

const PARTITIONS = 4;
const A = siteOf(0, 1);
const B = siteOf(0, 2);
const DAY_MS = 86_400_000;

function event(number: number, changes: Partial<TestEvent> = {}): TestEvent {
  return { site: A, number, timestamp: Date.now(), receivedAt: Date.now(), ...changes };
}

/** A writer on a fake store that owns partition 0; `take` answers whether the message was acknowledged after the flush. */
async function owner(options: Partial<PartitionWriterOptions> = {}, store = new FakeStore()) {
  const writer = createPartitionWriter({
    store: store.connect().store,
    partitions: PARTITIONS,
    telemetry: silentTelemetry(),
    flushMs: 5,
    retryFirstMs: 1,
    retryMaxMs: 4,
    ...options,
  });
  const ownership = { partition: 0, epoch: 1, validUntil: () => Date.now() + 10_000 };
  await writer.acquired(ownership);
  // A writer that still waits for its store would go on for as long as the process runs.
  onTestFinished(async () => {
    store.fault = () => 'none';
    await writer.lost(0);
    await writer.stop(100);
  });
  const acked: number[] = [];
  let sent = 0;
  const take = async (data: Uint8Array): Promise<void> => {
    const message = sent++;
    await writer.message(0, { data, ack: async () => void acked.push(message) });
  };
  return { writer, store, take, acked, stored: () => [...store.counts().keys()].sort() };
}

const row = (site: string, number: number) => `${site} ${idOf(number)}`;
const faults =
  (...list: [string, Fault][]) =>
  (step: string): Fault => {
    const at = list.findIndex(([name]) => name === step);
    return at < 0 ? 'none' : (list.splice(at, 1)[0]?.[1] ?? 'none');
  };

describe('the partition writer', () => {
  it('merges what comes from all partitions into one block a table, books it, then acknowledges', async () => {
    const { writer, store, take, acked } = await owner({ flushMs: 60_000 });
    await writer.acquired({ partition: 1, epoch: 1, validUntil: () => Date.now() + 10_000 });
    await take(messageOf([event(1), event(2, { bot: true })]));
    const other = messageOf([event(3, { site: siteOf(1) })]);
    await writer.message(1, { data: other, ack: async () => void acked.push(99) });
    await take(encodeMessage([siteFrame([event(4)], 'batch', 2)]));
    expect(acked).toEqual([]);
    await writer.flush();
    expect(store.inserts.map(({ table, rows }) => [table, rows])).toEqual([
      ['events', 3],
      ['bot_events', 1],
    ]);
    expect(acked.sort()).toEqual([0, 1, 99]);
    expect(store.totals()).toEqual({
      received: 6,
      stored: 3,
      duplicate: 0,
      bot: 1,
      rejected: 2,
      quarantined: 0,
    });
    expect(store.books.find(({ source }) => source === 'batch')).toMatchObject({
      siteId: A,
      received: 3,
      rejected: 2,
    });
  });

  it('stores imported events again that were removed since, and no others', async () => {
    const { writer, store, take } = await owner({ flushMs: 60_000 });
    const imported = (receivedAt: number) =>
      encodeMessage([
        siteFrame([event(1, { lookup: true, receivedAt }), event(2, { lookup: true, receivedAt })], 'import'),
      ]);
    const [first, again] = [Date.now() - 1_000, Date.now()];
    await take(imported(first));
    await writer.flush();
    await take(imported(again));
    await writer.flush();
    expect(store.totals()).toMatchObject({ received: 4, stored: 2, duplicate: 2 });
    store.rows.splice(0);
    await take(messageOf([event(1, { receivedAt: again })]));
    await take(imported(again + 1));
    await writer.flush();
    // The live copy is one of what the writer knows to have been stored.
    expect(store.totals()).toMatchObject({ received: 7, stored: 4, duplicate: 3 });
    expect(store.rows).toHaveLength(2);
    expect(new Set(store.inserts.map(({ token }) => token)).size).toBe(store.inserts.length);
  });

  it('stores the rows of each table together, and books them as stored by their source', async () => {
    const { writer, store, take } = await owner({ flushMs: 60_000 });
    const heat = (number: number) => event(number, { table: 'heat_points' });
    await take(encodeMessage([siteFrame([heat(1), heat(2), heat(1)], 'heatmap', 3)]));
    await take(messageOf([event(1), event(2, { bot: true })]));
    await take(encodeMessage([siteFrame([event(1, { table: 'funnel_events' }), heat(3)], 'funnel')]));
    await writer.flush();
    expect(store.inserts.map(({ table, rows }) => [table, rows])).toEqual([
      ['events', 1],
      ['bot_events', 1],
      ['heat_points', 3],
      ['funnel_events', 1],
    ]);
    const booked = Object.fromEntries(
      store.books.map(({ source, received, stored, duplicate, rejected }) => [
        source,
        { received, stored, duplicate, rejected },
      ]),
    );
    expect(booked).toEqual({
      heatmap: { received: 6, stored: 2, duplicate: 1, rejected: 3 },
      event: { received: 2, stored: 1, duplicate: 0, rejected: 0 },
      funnel: { received: 2, stored: 2, duplicate: 0, rejected: 0 },
    });
  });

  it('keeps the same id of two tables apart, and knows copies of each after a takeover', async () => {
    const store = new FakeStore();
    const tables = [{}, { table: 'heat_points' }, { table: 'funnel_events' }] as const;
    const old = { timestamp: Date.now() - 10 * DAY_MS };
    const rows = tables.flatMap((table) => [event(1, table), event(2, { ...old, ...table })]);
    const first = await owner({}, store);
    await first.take(messageOf(rows.slice(0, 2)));
    await first.writer.flush();
    for (const options of [{}, { refillIds: 1 }, { dedupeWindowEvents: 2 }]) {
      const { writer, take } = await owner(options, store);
      await take(messageOf(rows));
      await writer.flush();
      await take(messageOf([...rows, ...rows]));
      await writer.flush();
    }
    expect([...store.counts().values()]).toEqual([1, 1, 1, 1, 1, 1]);
    expect(store.totals()).toMatchObject({ received: 56, stored: 6, duplicate: 50 });
  });

  it('stores on its own within the flush time', async () => {
    const { store, take, acked } = await owner();
    await take(messageOf([event(1)]));
    await vi.waitFor(() => expect(acked).toEqual([0]), { interval: 1 });
    expect(store.rows).toHaveLength(1);
  });

  it('drops copies within a message, within a block, of the block before, and of long ago', async () => {
    const { writer, store, take, acked } = await owner();
    const old = event(9, { timestamp: Date.now() - 10 * DAY_MS });
    await take(messageOf([event(1), event(1), old]));
    await take(messageOf([event(1)]));
    await writer.flush();
    await take(messageOf([event(1), old]));
    await writer.flush();
    expect(store.counts()).toEqual(
      new Map([
        [row(A, 1), 1],
        [row(A, 9), 1],
      ]),
    );
    expect(acked).toEqual([0, 1, 2]);
    expect(store.totals()).toMatchObject({ received: 6, stored: 2, duplicate: 4 });
  });

  it('keeps the same id of two sites apart, also when it must ask the store', async () => {
    const store = new FakeStore();
    const first = await owner({}, store);
    await first.take(messageOf([event(1), event(2, { lookup: true })]));
    await first.writer.flush();
    const { writer, take, stored } = await owner({}, store);
    await take(
      messageOf([
        event(1),
        event(1, { site: B }),
        event(2, { lookup: true }),
        event(2, { site: B, lookup: true }),
      ]),
    );
    await writer.flush();
    expect(stored()).toEqual([row(A, 1), row(A, 2), row(B, 1), row(B, 2)].sort());
    expect(store.rows).toHaveLength(4);
  });

  it('knows after a takeover what others stored: lately from the refill, earlier from the store', async () => {
    const store = new FakeStore();
    const old = event(3, { timestamp: Date.now() - 8 * DAY_MS });
    const before = await owner({}, store);
    await before.take(messageOf([event(1), event(2, { bot: true }), old]));
    await before.writer.flush();
    for (const options of [{}, { refillIds: 1 }]) {
      const { writer, take, acked } = await owner(options, store);
      await take(messageOf([event(1), event(2), old]));
      await writer.flush();
      expect(acked).toEqual([0]);
    }
    expect(store.rows).toHaveLength(3);
    expect(store.totals()).toMatchObject({ received: 9, stored: 2, bot: 1, duplicate: 6 });
  });

  it('looks nothing up for events of now, once the window covers them', async () => {
    const steps: string[] = [];
    const store = new FakeStore();
    store.fault = (step) => {
      steps.push(step);
      return 'none';
    };
    const { writer, take } = await owner({}, store);
    await take(messageOf([event(1), event(2)]));
    await writer.flush();
    expect(steps).toEqual(['repair', 'refill', 'insert', 'book']);
  });

  it('asks for fewer ids when the store has no time for so many, and for more when it has again', async () => {
    const store = new FakeStore();
    store.findsIds = 100;
    const { writer, take, acked } = await owner({}, store);
    const own = Array.from({ length: 400 }, (_, i) => event(i, { lookup: true }));
    await take(messageOf(own));
    await writer.flush();
    expect(acked).toEqual([0]);
    expect(store.rows).toHaveLength(400);
    const { length } = store.steps;
    store.findsIds = Number.POSITIVE_INFINITY;
    await take(messageOf(Array.from({ length: 3_000 }, (_, i) => event(1_000 + i, { lookup: true }))));
    await writer.flush();
    expect(store.rows).toHaveLength(3_400);
    expect(store.steps.slice(length).filter((step) => step === 'look up').length).toBeLessThan(10);
  });

  it.each<Fault>(['away', 'answer lost', 'late'])(
    'repeats a block whose insert is "%s", and stores it once',
    async (fault) => {
      const store = new FakeStore();
      const { writer, take, acked } = await owner({}, store);
      store.fault = faults(['insert', fault], ['insert', fault], ['book', fault], ['look up', 'away']);
      await take(messageOf([event(1), event(2), event(3, { lookup: true })]));
      await writer.flush();
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect(store.rows).toHaveLength(3);
      expect(acked).toEqual([0]);
      expect(store.totals()).toMatchObject({ received: 3, stored: 3, duplicate: 0 });
    },
  );

  it('does not rely on a token for ever: after a while it asks the store which rows it has', async () => {
    const store = new FakeStore();
    const { writer, take, acked } = await owner({ insertMs: 20 }, store);
    // Sent again, the block would be stored twice by a store that has forgotten its token.
    let inserts = 0;
    store.fault = (step) => {
      if (step !== 'insert') return 'none';
      return inserts++ === 0 ? 'answer lost' : 'away';
    };
    await take(messageOf([event(1), event(2)]));
    await writer.flush();
    expect(inserts).toBeGreaterThan(1);
    expect([...store.counts().values()]).toEqual([1, 1]);
    expect(acked).toEqual([0]);
    expect(store.totals()).toMatchObject({ received: 2, stored: 2, duplicate: 0 });
    // The lost attempt may have died half way, and nobody sends it again.
    expect(store.steps.slice(-3)).toEqual(['look up', 'repair', 'book']);
  });

  it('completes what others left half stored before it acknowledges anything, however long the store is away', async () => {
    const store = new FakeStore();
    const own = await owner({}, store);
    await own.take(messageOf([event(1)]));
    await own.writer.flush();
    expect(store.steps).toEqual(['repair', 'refill', 'insert', 'book']);
    store.steps.length = 0;
    store.fault = faults(...Array.from({ length: 8 }, (): [string, Fault] => ['repair', 'away']));
    const next = await owner({}, store);
    expect(store.steps).toEqual(['refill']);
    // Nothing of it is new.
    await next.take(messageOf([event(1)]));
    await next.writer.flush();
    expect(store.steps).toEqual(['refill', 'repair', 'look up', 'book']);
    expect(next.acked).toEqual([0]);
    await next.take(messageOf([event(2, { timestamp: Date.now() + 1_000 })]));
    await next.writer.flush();
    expect(store.steps.slice(4)).toEqual(['insert', 'book']);
  });

  describe('with a store whose repairs fail', () => {
    const HOUR = 3_600_000;

    /** Each repair fails as the next of `failures` says, undefined: it succeeds. From the given one on they change rows before. */
    async function failing(
      failures: (Error | undefined)[],
      options: Partial<PartitionWriterOptions> = {},
      changingFrom = Number.POSITIVE_INFINITY,
    ) {
      const store = new FakeStore();
      const ranges: RepairRange[] = [];
      const repair = async (_partition: number, _partitions: number, range: RepairRange) => {
        ranges.push(range);
        if (ranges.length >= changingFrom) range.changing?.();
        const failure = failures.shift();
        if (failure !== undefined) throw failure;
        return 0;
      };
      const telemetry = silentTelemetry();
      const own = await owner({ telemetry, store: { ...store.connect().store, repair }, ...options }, store);
      const unrepaired = async () =>
        (await telemetry.registry.metrics()).match(/writer_unrepaired_total (\d+)/)?.[1];
      return { ...own, ranges, unrepaired };
    }
    const repeat = (failure: Error, times: number) => Array.from({ length: times }, () => failure);

    it('asks for less and less, and in the end stores what comes and raises the alarm', async () => {
      const { take, writer, acked, store, ranges, unrepaired } = await failing(
        repeat(new RepairFailedError('no memory'), 1_000),
      );
      expect(await unrepaired()).toBe('0');
      await take(messageOf([event(1)]));
      await writer.flush();
      expect(acked).toEqual([0]);
      expect(store.rows).toHaveLength(1);
      expect(await unrepaired()).toBe('1');
      expect(ranges.slice(0, 3).map(({ backMs }) => backMs)).toEqual([HOUR, HOUR / 2, HOUR / 4]);
      expect(ranges.at(-1)?.backMs).toBeLessThan(HOUR / 60);
      expect(ranges.length).toBeLessThan(30);
      await take(messageOf([event(2)]));
      await writer.flush();
      expect(store.rows).toHaveLength(2);
      expect(await unrepaired()).toBe('1');
    });

    it('asks for the same again once a repair may have taken rows away, and gives up in the end as well', async () => {
      const { take, writer, acked, ranges, unrepaired } = await failing(
        [...repeat(new RepairFailedError('no memory'), 2), new StoreUnavailableError('away')].concat(
          repeat(new RepairFailedError('too slow'), 1_000),
        ),
        {},
        3,
      );
      await take(messageOf([event(1)]));
      await writer.flush();
      expect(acked).toEqual([0]);
      expect(ranges.slice(0, 4).map(({ backMs }) => backMs)).toEqual([HOUR, HOUR / 2, HOUR / 4, HOUR / 4]);
      expect(ranges.at(-1)?.backMs).toBe(HOUR / 4);
      expect(ranges.length).toBeLessThan(30);
      expect(await unrepaired()).toBe('1');
    });

    it('asks for all of it however long the store is away', async () => {
      const { take, writer, acked, ranges, unrepaired } = await failing(
        repeat(new StoreUnavailableError('away'), 40),
      );
      await take(messageOf([event(1)]));
      await writer.flush();
      expect(acked).toEqual([0]);
      expect(ranges.map(({ backMs }) => backMs)).toEqual(Array.from({ length: 41 }, () => HOUR));
      expect(await unrepaired()).toBe('0');
    });

    it('compares from the oldest row that an attempt in doubt has stored, for an hour again once it succeeded', async () => {
      const [oldest, newest] = [Date.now() - 3 * HOUR, Date.now()];
      const { take, writer, acked, store, ranges } = await failing([new RepairFailedError('no memory')], {
        insertMs: 20,
      });
      const doubtful = async (...numbers: number[]) => {
        let inserts = 0;
        store.fault = (step) => (step !== 'insert' ? 'none' : inserts++ === 0 ? 'answer lost' : 'away');
        const received = (number: number) => (number % 2 === 1 ? oldest : newest);
        await take(messageOf(numbers.map((number) => event(number, { receivedAt: received(number) }))));
        await writer.flush();
      };
      await doubtful(2, 1, 4);
      await doubtful(6, 8);
      expect(acked).toEqual([0, 1]);
      expect(ranges.map(({ backMs, since }) => [backMs, since])).toEqual([
        [HOUR, Number.POSITIVE_INFINITY],
        [HOUR / 2, Number.POSITIVE_INFINITY],
        [HOUR, oldest],
        [HOUR, newest],
      ]);
      expect(ranges[0]?.validUntil()).toBeGreaterThan(Date.now());
    });
  });

  it('sends less at once when the store has no time for a block, and stores every row once', async () => {
    const store = new FakeStore();
    const inner = store.connect().store;
    const { writer, take, acked } = await owner(
      {
        insertMs: 20,
        store: {
          ...inner,
          insertRows: async (table, rows, token, deadline) => {
            // A part of it takes effect all the same.
            if (rows.length === 10) await inner.insertRows(table, rows.slice(0, 2), 'a part', deadline);
            if (rows.length <= 3) return inner.insertRows(table, rows, token, deadline);
            await new Promise((resolve) => setTimeout(resolve, Math.max(0, deadline - Date.now())));
            throw new StoreUnavailableError('no time left');
          },
        },
      },
      store,
    );
    await take(messageOf(Array.from({ length: 10 }, (_, i) => event(i))));
    await writer.flush();
    expect([...store.counts().values()]).toEqual(Array.from({ length: 10 }, () => 1));
    expect(acked).toEqual([0]);
    expect(store.totals()).toMatchObject({ received: 10, stored: 10, duplicate: 0 });
  });

  it('holds the stream back while the store is away, with two blocks in memory', async () => {
    const store = new FakeStore();
    const { writer, take, acked } = await owner({ blockRows: 10 }, store);
    store.fault = (step) => (step === 'insert' ? 'away' : 'none');
    let taken = 0;
    const sending = (async () => {
      for (let i = 0; i < 50; i++) {
        await take(messageOf([event(i)]));
        taken++;
      }
    })();
    await vi.waitFor(() => expect(taken).toBeGreaterThanOrEqual(10), { interval: 1 });
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(taken).toBeLessThanOrEqual(20);
    expect(acked).toEqual([]);
    store.fault = () => 'none';
    await sending;
    await writer.flush();
    expect(store.rows).toHaveLength(50);
    expect(acked).toHaveLength(50);
  });
});

describe('what the store refuses', () => {
  it('stands alone in the end, is kept with its reason and bytes, and fails none of its neighbours', async () => {
    const { writer, store, take, acked } = await owner();
    const events = Array.from({ length: 100 }, (_, i) => event(i, { bad: i === 17 || i === 63 }));
    await take(messageOf(events.slice(0, 50)));
    await take(messageOf(events.slice(50)));
    await writer.flush();
    expect(store.counts().size).toBe(98);
    expect([...store.kept.values()].map(({ id, siteId, table }) => [id, siteId, table])).toEqual([
      [idOf(17), A, 'events'],
      [idOf(63), A, 'events'],
    ]);
    const [kept] = store.kept.values();
    expect(kept?.reason).toContain('cannot be parsed');
    expect(Buffer.from(kept?.bytes ?? [])).toEqual(rowBytes(events[17] ?? event(0)));
    expect(acked).toEqual([0, 1]);
    expect(store.totals()).toMatchObject({ received: 100, stored: 98, quarantined: 2 });
  });

  it('is taken out in one step when the store names it, and the others are stored at once', async () => {
    const { writer, store, take, acked } = await owner({ flushMs: 60_000 });
    store.namesBadRows = true;
    let inserts = 0;
    store.fault = (step) => {
      if (step === 'insert') inserts++;
      return 'none';
    };
    const events = Array.from({ length: 100 }, (_, i) =>
      event(i, { site: i % 3 === 0 ? A : B, bad: i % 10 === 3 }),
    );
    await take(messageOf(events.filter(({ site }) => site === A)));
    await take(messageOf(events.filter(({ site }) => site === B)));
    await take(messageOf([event(200, { bad: true, bot: true })]));
    await writer.flush();
    // The bots' table: refused, nothing left. The events: refused, then stored.
    expect(inserts).toBe(3);
    expect(store.inserts.map(({ rows }) => rows)).toEqual([90]);
    expect(store.counts().size).toBe(90);
    expect([...store.kept.values()].map(({ id }) => id).sort()).toEqual(
      events.flatMap(({ number, bad }) => (bad ? [idOf(number)] : [])).concat(idOf(200)),
    );
    for (const { reason, siteId, bytes } of store.kept.values()) {
      expect(reason).toContain('cannot be parsed');
      expect(Buffer.from(bytes).includes(siteId)).toBe(true);
    }
    expect(acked).toEqual([0, 1, 2]);
    expect(store.totals()).toMatchObject({ received: 101, stored: 90, quarantined: 11 });
  });

  it('costs a site with nothing but bad rows a bounded number of inserts, and other sites nothing', async () => {
    const { writer, store, take } = await owner();
    let inserts = 0;
    store.fault = (step) => {
      if (step === 'insert') inserts++;
      return 'none';
    };
    await take(messageOf(Array.from({ length: 1_000 }, (_, i) => event(i, { bad: true }))));
    await take(messageOf(Array.from({ length: 100 }, (_, i) => event(i, { site: B }))));
    await writer.flush();
    expect(store.counts().size).toBe(100);
    expect(store.kept.size).toBe(1_000);
    expect(inserts).toBeLessThan(200);
    expect(store.totals()).toMatchObject({ received: 1_100, stored: 100, quarantined: 1_000 });
  });

  it('is tried again when it comes from the quarantine', async () => {
    const { writer, store, take } = await owner();
    await take(messageOf([event(1, { bad: true })]));
    await writer.flush();
    store.refuses = () => false;
    await take(encodeMessage([siteFrame([event(1, { bad: true })], 'replay')]));
    await writer.flush();
    expect(store.counts()).toEqual(new Map([[row(A, 1), 1]]));
  });

  it('keeps a damaged message whole, and a row that is too short', async () => {
    const telemetry = silentTelemetry();
    const { writer, store, take, acked } = await owner({ telemetry });
    const damaged = messageOf([event(1)]).subarray(0, 40);
    await take(damaged);
    await take(
      encodeMessage([
        rawFrame(A, [
          { flags: 0, bytes: Buffer.alloc(20) },
          { flags: 0, bytes: rowBytes(event(2)) },
        ]),
      ]),
    );
    await writer.flush();
    expect(acked).toEqual([0, 1]);
    expect(store.counts()).toEqual(new Map([[row(A, 2), 1]]));
    expect(
      [...store.kept.values()].map(({ siteId, reason, bytes }) => [siteId, reason, bytes.length]),
    ).toEqual([
      ['', 'stream message is damaged: truncated frame', 40],
      [A, 'the row is too short', 20],
    ]);
    expect(store.totals()).toMatchObject({ received: 3, stored: 1, quarantined: 2 });
    const metric = telemetry.registry.getSingleMetric('seentics_writer_undecodable_messages_total');
    expect((await metric?.get())?.values).toMatchObject([{ value: 1 }]);
  });
});

it.each<[string, Partial<TestEvent>]>([
  ['received before all time', { receivedAt: -1 }],
  ['received after all time', { receivedAt: 1e15 }],
  ['of before all time', { timestamp: -8e15 }],
  ['of after all time', { timestamp: 2 ** 53 }],
])('quarantines a row %s, and holds up nothing for it', async (_, times) => {
  const { writer, store, take, acked } = await owner();
  await take(messageOf([event(1, times), event(2)]));
  await take(messageOf([event(3, times)]));
  await writer.flush();
  expect(acked).toEqual([0, 1]);
  expect(store.counts()).toEqual(new Map([[row(A, 2), 1]]));
  expect([...store.kept.values()].map(({ reason }) => reason)).toEqual(
    Array(2).fill('the row bears a time that cannot be'),
  );
  expect(store.totals()).toMatchObject({ received: 3, stored: 1, quarantined: 2 });
});

describe('when the partition is lost', () => {
  it('stores and acknowledges what was taken, when it is given up in good order', async () => {
    const { writer, store, take, acked } = await owner({ flushMs: 60_000 });
    await take(messageOf([event(1)]));
    await writer.lost(0);
    expect(store.rows).toHaveLength(1);
    expect(acked).toEqual([0]);
  });

  it('keeps nobody waiting for a block of which all was given up while the one before was stored', async () => {
    const { writer, store, take } = await owner({ flushMs: 60_000, leaveMs: 1 });
    await writer.acquired({ partition: 1, epoch: 1, validUntil: () => Date.now() + 10_000 });
    store.fault = () => 'away';
    await take(messageOf([event(1)]));
    const first = writer.flush();
    await writer.message(1, { data: messageOf([event(2, { site: siteOf(1) })]), ack: async () => {} });
    const second = writer.flush();
    await writer.lost(1);
    store.fault = () => 'none';
    await Promise.all([first, second]);
    expect(store.totals()).toMatchObject({ received: 1, stored: 1 });
  });

  it('drops without acknowledging what can no longer be stored, and takes it for new when it comes back', async () => {
    const store = new FakeStore();
    const { writer, take, acked } = await owner({ leaveMs: 5, insertMs: 30 }, store);
    store.fault = (step) => (step === 'insert' ? 'away' : 'none');
    await take(messageOf([event(1)]));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await take(messageOf([event(2)]));
    await writer.lost(0);
    store.fault = () => 'none';
    await writer.acquired({ partition: 0, epoch: 2, validUntil: () => Date.now() + 10_000 });
    await take(messageOf([event(1)]));
    await take(messageOf([event(2)]));
    await writer.flush();
    expect([...store.counts().values()]).toEqual([1, 1]);
    expect(acked).toEqual([2, 3]);
    expect(store.totals()).toMatchObject({ received: 2, stored: 2, duplicate: 0 });
  });

  it('never starts an insert after its ownership has run out', async () => {
    const store = new FakeStore();
    const writer = createPartitionWriter({
      store: store.connect().store,
      ...{ partitions: PARTITIONS, telemetry: silentTelemetry(), flushMs: 5, leaveMs: 20 },
    });
    onTestFinished(() => writer.stop(100));
    let acked = false;
    await writer.acquired({ partition: 0, epoch: 1, validUntil: () => Date.now() - 1 });
    await writer.message(0, {
      data: messageOf([event(1)]),
      ack: async () => {
        acked = true;
      },
    });
    await new Promise((resolve) => setTimeout(resolve, 40));
    await writer.lost(0);
    await writer.flush();
    expect(store.rows).toEqual([]);
    expect(acked).toBe(false);
  });

  it('stores the rest of a block once, although an attempt in doubt had stored it with the lost rows', async () => {
    const store = new FakeStore();
    const { writer, take, acked } = await owner({ insertMs: 60, leaveMs: 1, flushMs: 60_000 }, store);
    let until = Number.POSITIVE_INFINITY;
    await writer.acquired({ partition: 1, epoch: 1, validUntil: () => Math.min(until, Date.now() + 10_000) });
    store.fault = faults(
      ['insert', 'answer lost'],
      ['insert', 'away'],
      ['insert', 'away'],
      ['insert', 'away'],
    );
    await take(messageOf([event(1), event(2)]));
    await writer.message(1, {
      data: messageOf([event(3, { site: siteOf(1) })]),
      ack: async () => void acked.push(99),
    });
    const flushed = writer.flush();
    await vi.waitFor(() => expect(store.rows).toHaveLength(3), { interval: 1 });
    until = 0;
    await writer.lost(1);
    await flushed;
    expect([...store.counts().values()]).toEqual([1, 1, 1]);
    expect(acked).toEqual([0]);
    expect(store.totals()).toMatchObject({ received: 2, stored: 2, duplicate: 0 });
  });

  it('waits for an attempt in doubt no longer when the clock is set back', async () => {
    const store = new FakeStore();
    const { writer, take, acked } = await owner({ insertMs: 60, leaveMs: 1, flushMs: 60_000 }, store);
    await writer.acquired({ partition: 1, epoch: 1, validUntil: () => Date.now() + 10_000 });
    const clock = Date.now;
    store.fault = (step) => {
      if (step !== 'insert') return 'none';
      store.fault = () => 'none';
      vi.spyOn(Date, 'now').mockImplementation(() => clock() - 3_600_000);
      return 'answer lost';
    };
    await take(messageOf([event(1)]));
    await writer.message(1, { data: messageOf([event(3, { site: siteOf(1) })]), ack: async () => {} });
    const flushed = writer.flush();
    await vi.waitFor(() => expect(store.rows).toHaveLength(2), { interval: 1 });
    await writer.lost(1);
    await flushed;
    expect(acked).toEqual([0]);
    expect([...store.counts().values()]).toEqual([1, 1]);
  });

  it('lets no insert take effect after its ownership, nor leaves before an attempt in doubt has run out', async () => {
    const fake = new FakeStore();
    const { store } = fake.connect();
    const deadlines: number[] = [];
    const writer = createPartitionWriter({
      ...{ partitions: PARTITIONS, telemetry: silentTelemetry(), flushMs: 1, leaveMs: 5, insertMs: 10_000 },
      store: {
        ...store,
        insertRows(table, rows, token, deadline) {
          deadlines.push(deadline);
          return store.insertRows(table, rows, token, deadline);
        },
      },
    });
    onTestFinished(() => writer.stop(100));
    const end = Date.now() + 300;
    fake.fault = (step) => (step === 'insert' ? 'very late' : 'none');
    await writer.acquired({ partition: 0, epoch: 1, validUntil: () => end });
    await writer.message(0, { data: messageOf([event(1)]), ack: async () => {} });
    await vi.waitFor(() => expect(deadlines).toHaveLength(1), { interval: 1 });
    await writer.lost(0);
    expect(deadlines.every((deadline) => deadline <= end)).toBe(true);
    expect(Date.now()).toBeGreaterThanOrEqual(end - 1);
    expect(fake.rows).toHaveLength(1);
  });

  it('waits for an attempt in doubt before it stores the rest of a block under another token', async () => {
    const store = new FakeStore();
    const { writer, take } = await owner({ insertMs: 150, leaveMs: 1, flushMs: 60_000 }, store);
    await writer.acquired({ partition: 1, epoch: 1, validUntil: () => Date.now() + 10_000 });
    store.fault = faults(['insert', 'very late']);
    await take(messageOf([event(1)]));
    await writer.message(1, { data: messageOf([event(3, { site: siteOf(1) })]), ack: async () => {} });
    const flushed = writer.flush();
    await new Promise((resolve) => setImmediate(resolve));
    await writer.lost(1);
    await flushed;
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect([...store.counts().values()]).toEqual([1, 1]);
    expect(store.totals()).toMatchObject({ received: 1, stored: 1, duplicate: 0 });
  });

  it.each([[false], [true]])(
    'does not quarantine rows that an attempt in doubt has stored, when the store refuses them later (named: %s)',
    async (isNaming) => {
      const store = new FakeStore();
      const { writer, take } = await owner({ insertMs: 30 }, store);
      store.namesBadRows = isNaming;
      store.refuses = () => store.rows.length > 0;
      store.fault = faults(['insert', 'answer lost']);
      await take(messageOf([event(1), event(2)]));
      await writer.flush();
      expect([...store.counts().values()]).toEqual([1, 1]);
      expect(store.kept.size).toBe(0);
      expect(store.totals()).toMatchObject({ stored: 2, quarantined: 0 });
    },
  );
});
