import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createPartitionWriter, type PartitionWriterOptions } from '../../src/actors/partition-writer.js';
import type { RowObserver } from '../../src/actors/writer/observer.js';
import { encodeMessage } from '../../src/events/frame.js';
import { hexId } from '../../src/events/row-head.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { FakeStore } from './fake-store.js';
import { idOf, messageOf, rowBytes, siteFrame, siteOf, type TestEvent } from './rows.js';

const A = siteOf(0, 1);
const B = siteOf(0, 2);

function event(number: number, changes: Partial<TestEvent> = {}): TestEvent {
  return { site: A, number, timestamp: Date.now(), receivedAt: Date.now(), ...changes };
}

/** A writer that owns partition 0, whose observer wants site A and notes what it was shown. */
async function watched(
  options: Partial<PartitionWriterOptions> & { readonly fails?: () => boolean } = {},
  store = new FakeStore(),
) {
  const shown: string[] = [];
  /** Rows that were stored already when they were shown. */
  const late: string[] = [];
  const telemetry = silentTelemetry();
  const writer = createPartitionWriter({
    ...{ store: store.connect().store, partitions: 4, telemetry },
    ...{ flushMs: 60_000, retryFirstMs: 1, retryMaxMs: 4, leaveMs: 5 },
    observer: {
      wants: (siteId) => siteId === A,
      async observe(rows) {
        await new Promise((resolve) => setImmediate(resolve));
        if (options.fails?.()) throw new Error('cannot');
        for (const { siteId, bytes } of rows) {
          shown.push(`${siteId} ${hexId(bytes)}`);
          if (store.counts().has(`${siteId} ${hexId(bytes)}`)) late.push(hexId(bytes));
        }
      },
    },
    ...options,
  });
  onTestFinished(() => writer.stop(100));
  await writer.acquired({ partition: 0, epoch: 1, validUntil: () => Date.now() + 10_000 });
  const acked: number[] = [];
  let sent = 0;
  const take = (data: Uint8Array): Promise<void> => {
    const message = sent++;
    return writer.message(0, { data, ack: async () => void acked.push(message) });
  };
  const metric = async (name: string) =>
    (await telemetry.registry.getSingleMetric(name)?.get())?.values.map(({ labels, value }) => ({
      ...labels,
      value,
    }));
  return { writer, store, take, acked, shown, late, metric };
}

const row = (number: number, site = A) => `${site} ${idOf(number)}`;

describe('the observer of the partition writer', () => {
  it('sees each new event of the sites it wants once, before it is stored, in order', async () => {
    const { writer, store, take, shown, late, metric } = await watched();
    const old = event(3, { timestamp: Date.now() - 86_400_000 });
    await take(messageOf([event(1), event(2, { site: B }), event(2), event(1)]));
    await take(messageOf([old, event(5), event(2)]));
    await writer.flush();
    expect(shown.sort()).toEqual([row(1), row(2), row(3), row(5)]);
    await take(messageOf([event(1), old, event(6)]));
    await writer.flush();
    expect(shown).toEqual([row(1), row(2), row(3), row(5), row(6)]);
    expect(late).toEqual([]);
    expect(store.rows).toHaveLength(6);
    expect(await metric('seentics_writer_observed_rows_total')).toEqual([{ value: 5 }]);
  });

  it('sees funnel events, neither bots nor other tables', async () => {
    const { writer, store, take, shown } = await watched();
    await take(
      messageOf([
        event(1, { bot: true }),
        event(2, { table: 'heat_points' }),
        event(3, { table: 'funnel_events' }),
      ]),
    );
    await writer.flush();
    expect(shown).toEqual([row(3)]);
    expect(store.rows).toHaveLength(3);
  });

  it('is shown table, source and bytes of the row', async () => {
    const seen: unknown[] = [];
    const observer: RowObserver = {
      wants: () => true,
      observe: async (rows) => {
        for (const { bytes, ...others } of rows) seen.push({ ...others, bytes: Buffer.from(bytes) });
      },
    };
    const { writer, take } = await watched({ observer });
    const [one, two] = [event(7), event(8, { table: 'funnel_events' })];
    await take(encodeMessage([siteFrame([one], 'batch'), siteFrame([two], 'funnel')]));
    await writer.flush();
    expect(seen).toEqual([
      { siteId: A, table: 'events', source: 'batch', bytes: rowBytes(one) },
      { siteId: A, table: 'funnel_events', source: 'funnel', bytes: rowBytes(two) },
    ]);
  });

  it('is asked again until it succeeds, and nothing is stored or acknowledged before', async () => {
    let left = 2;
    const storedAtFailure: number[] = [];
    const store = new FakeStore();
    const fails = () => {
      storedAtFailure.push(store.rows.length);
      return left-- > 0;
    };
    const { writer, take, acked, shown, metric } = await watched({ fails }, store);
    await take(messageOf([event(1), event(2)]));
    await writer.flush();
    expect(storedAtFailure).toEqual([0, 0, 0]);
    expect(shown).toEqual([row(1), row(2)]);
    expect(acked).toEqual([0]);
    expect(store.rows).toHaveLength(2);
    expect(await metric('seentics_writer_failures_total')).toEqual([{ step: 'observe', value: 2 }]);
  });

  it('is not shown a block again whose insert is repeated', async () => {
    const store = new FakeStore();
    const { writer, take, shown } = await watched({}, store);
    let left = 3;
    store.fault = (step) => (step === 'insert' && left-- > 0 ? 'answer lost' : 'none');
    await take(messageOf([event(1), event(2)]));
    await writer.flush();
    expect(shown).toEqual([row(1), row(2)]);
    expect(store.rows).toHaveLength(2);
  });

  it('is shown again what was not stored before its partition was lost, and not what was', async () => {
    const store = new FakeStore();
    const first = await watched({ insertMs: 30 }, store);
    await first.take(messageOf([event(1)]));
    await first.writer.flush();
    store.fault = (step) => (step === 'insert' ? 'away' : 'none');
    await first.take(messageOf([event(2)]));
    const flushed = first.writer.flush();
    await vi.waitFor(() => expect(first.shown).toEqual([row(1), row(2)]), { interval: 1 });
    await first.writer.lost(0);
    await flushed;
    store.fault = () => 'none';
    const second = await watched({}, store);
    await second.take(messageOf([event(1)]));
    await second.take(messageOf([event(2)]));
    await second.writer.flush();
    expect(second.shown).toEqual([row(2)]);
    expect([...store.counts().values()]).toEqual([1, 1]);
    expect(second.acked).toEqual([0, 1]);
  });

  it('lets a partition go while it fails', async () => {
    const { writer, store, take, acked } = await watched({ fails: () => true, retryMaxMs: 60_000 });
    await take(messageOf([event(1)]));
    const flushed = writer.flush();
    await writer.lost(0);
    await flushed;
    expect(acked).toEqual([]);
    expect(store.rows).toEqual([]);
  });
});
