import { describe, expect, it } from 'vitest';
import { decodeMessage, type SiteFrame } from '../../events/frame.js';
import { RowFlag } from '../../events/tables.js';
import { silentTelemetry } from '../../telemetry.js';
import { createPublisher, type PublisherOptions } from './publisher.js';
import { splitFrame } from './split-frame.js';
import { type FrameStream, StreamUnavailableError } from './stream.js';

function row(size: number, mark = 1): Buffer {
  const out = Buffer.alloc(5 + size, mark);
  out.writeUInt32LE(1 + size, 0);
  out.writeUInt8(RowFlag.bot, 4);
  return out;
}

function frame(siteId: string, rows: readonly Buffer[], rejected = 0): SiteFrame {
  return { siteId, source: 'batch', received: rows.length + rejected, rejected, rowCount: rows.length, rows };
}

const siteIn = (partition: number, partitions: number) => {
  for (let i = 0; ; i++) if (i % partitions === partition) return i.toString(16).padStart(24, '0');
};

/** A stream whose appends are settled by hand. */
function manualStream(partitions: number, maxMessageBytes?: number) {
  const level = { fill: 0 };
  const appends: { partition: number; data: Uint8Array; settle: (error?: Error) => void }[] = [];
  const stream: FrameStream = {
    kind: 'local',
    partitions,
    maxMessageBytes,
    append: (partition, data) =>
      new Promise((resolve, reject) => {
        appends.push({ partition, data, settle: (error) => (error ? reject(error) : resolve()) });
      }),
    consume: () => Promise.reject(new Error('not used')),
    status: () => Promise.resolve({ reachable: true, lagMessages: 0, bytes: 0, limitBytes: 0, ...level }),
    drain: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  return { stream, appends, level };
}

const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

function setUp(options: Partial<PublisherOptions> = {}, streamBytes?: number) {
  const { stream, appends, level } = manualStream(4, streamBytes);
  const publisher = createPublisher({ stream, lingerMs: 0, telemetry: silentTelemetry(), ...options });
  return { publisher, appends, level };
}

describe('publisher', () => {
  it('sends an idle partition at once and takes what came meanwhile into the next message', async () => {
    const { publisher, appends } = setUp();
    const site = siteIn(2, 4);
    const first = publisher.publish(frame(site, [row(10)]));
    await turn();
    expect(appends).toHaveLength(1);
    expect(appends[0]?.partition).toBe(2);
    const later = [publisher.publish(frame(site, [row(20)])), publisher.publish(frame(site, [row(30)]))];
    expect(later[0]).toBe(later[1]);
    await turn();
    expect(appends).toHaveLength(1);
    appends[0]?.settle();
    await first;
    await turn();
    expect(decodeMessage(appends[1]?.data ?? Buffer.alloc(0)).map((f) => f.rows[0]?.bytes.length)).toEqual([
      20, 30,
    ]);
    appends[1]?.settle();
    await Promise.all(later);
    expect(publisher.inFlightBytes()).toBe(0);
  });

  it('gathers for the linger under load', async () => {
    const { publisher, appends } = setUp({ lingerMs: 30 });
    const site = siteIn(0, 4);
    const first = publisher.publish(frame(site, [row(10)]));
    await turn();
    appends[0]?.settle();
    await first;
    const second = publisher.publish(frame(site, [row(10)]));
    await turn();
    expect(appends).toHaveLength(1);
    const start = performance.now();
    while (appends.length < 2) await turn();
    expect(performance.now() - start).toBeGreaterThan(10);
    appends[1]?.settle();
    await second;
  });

  it('sends full messages beside the one in flight', async () => {
    const { publisher, appends } = setUp({ maxBytes: 1_000 });
    const site = siteIn(1, 4);
    const all = Array.from({ length: 10 }, () => publisher.publish(frame(site, [row(300)])));
    await turn();
    expect(appends.length).toBe(4);
    for (const { data } of appends) expect(data.byteLength).toBeLessThanOrEqual(1_000);
    while (publisher.inFlightBytes() > 0) {
      for (const { settle } of appends) settle();
      await turn();
    }
    await Promise.all(all);
  });

  it.each([
    ['', { maxBytes: 1_000 }, undefined],
    [' of the stream', {}, 1_000],
  ])(
    'P2: splits a frame that fits into no message%s at row boundaries, the books stay right',
    async (_whose, options, streamBytes) => {
      const { publisher, appends } = setUp(options, streamBytes);
      const rows = Array.from({ length: 9 }, (_, i) => row(250, i));
      const sliced = [Buffer.concat(rows.slice(0, 4)), Buffer.concat(rows.slice(4))];
      const whole = { ...frame(siteIn(3, 4), sliced, 2), rowCount: 9, received: 11 };
      const published = publisher.publish(whole);
      await turn();
      for (const { settle } of appends) settle();
      await turn();
      for (const { settle } of appends) settle();
      await published;
      const frames = appends.flatMap(({ data }) => decodeMessage(data));
      expect(appends.length).toBeGreaterThan(2);
      expect(frames.flatMap((f) => f.rows.map((r) => r.bytes[0]))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
      expect(frames.reduce((sum, f) => sum + f.received, 0)).toBe(11);
      expect(frames.reduce((sum, f) => sum + f.rejected, 0)).toBe(2);
      for (const f of frames) expect(f.received).toBe(f.rejected + f.rows.length);
    },
  );

  it('refuses a row that fits into no message', async () => {
    const { publisher } = setUp({ maxBytes: 1_000 });
    await expect(publisher.publish(frame(siteIn(0, 4), [row(2_000)]))).rejects.toMatchObject({
      code: 'body_too_large',
    });
    expect(() => splitFrame({ ...frame('a', [row(50), row(50)]), rowCount: 3 }, 100)).toThrow(/damaged/);
  });

  it('P5: refuses with `overloaded` when too much is in flight', async () => {
    const { publisher, appends } = setUp({ maxInFlightBytes: 1_000 });
    const first = publisher.publish(frame(siteIn(0, 4), [row(900)]));
    await expect(publisher.publish(frame(siteIn(1, 4), [row(900)]))).rejects.toMatchObject({
      code: 'overloaded',
    });
    await turn();
    appends[0]?.settle();
    await first;
    await turn();
    const second = publisher.publish(frame(siteIn(1, 4), [row(900)]));
    await turn();
    appends[1]?.settle();
    await second;
  });

  it('leaves the rest of the stream to what is worth more: heat points wait first, then funnels, events never', async () => {
    const telemetry = silentTelemetry();
    const { publisher, appends, level } = setUp({ telemetry });
    const taken = async (source: SiteFrame['source']) => {
      const before = appends.length;
      const publishing = publisher.publish({ ...frame(siteIn(0, 4), [row(1)]), source });
      const result = publishing.then(
        () => 'taken',
        (error: { code: string; options: { retryAfterSeconds: number } }) =>
          `${error.code} ${error.options.retryAfterSeconds}`,
      );
      await turn();
      appends[before]?.settle();
      return result;
    };
    const all = async () => [await taken('heatmap'), await taken('funnel'), await taken('batch')];
    expect(await all()).toEqual(['taken', 'taken', 'taken']);
    level.fill = 0.79;
    expect(await all()).toEqual(['taken', 'taken', 'taken']);
    level.fill = 0.8;
    expect(await all()).toEqual(['overloaded 30', 'taken', 'taken']);
    level.fill = 0.9;
    expect(await all()).toEqual(['overloaded 30', 'overloaded 30', 'taken']);
    level.fill = 1;
    expect(await taken('replay')).toBe('taken');
    level.fill = 0.5;
    expect(await all()).toEqual(['taken', 'taken', 'taken']);
    const metric = telemetry.registry.getSingleMetric('seentics_publisher_watermark_refusals_total');
    expect((await metric?.get())?.values.map(({ labels, value }) => [labels.source, value])).toEqual([
      ['heatmap', 2],
      ['funnel', 1],
    ]);
  });

  it('answers `storage_unavailable` to all that shared the message, and goes on', async () => {
    const { publisher, appends } = setUp();
    const site = siteIn(0, 4);
    const failing = [publisher.publish(frame(site, [row(1)])), publisher.publish(frame(site, [row(1)]))];
    await turn();
    appends[0]?.settle(new StreamUnavailableError('away'));
    const results = await Promise.allSettled(failing);
    for (const result of results) expect(result).toMatchObject({ reason: { code: 'storage_unavailable' } });
    const next = publisher.publish(frame(site, [row(1)]));
    await turn();
    appends[1]?.settle();
    await next;
  });

  it('close sends what waits, then refuses', async () => {
    const { publisher, appends } = setUp({ lingerMs: 10_000 });
    const site = siteIn(0, 4);
    const first = publisher.publish(frame(site, [row(1)]));
    await turn();
    const second = publisher.publish(frame(site, [row(1)]));
    const closed = publisher.close();
    await turn();
    for (const { settle } of appends) settle();
    await Promise.all([first, second, closed]);
    expect(appends).toHaveLength(2);
    await expect(publisher.publish(frame(site, [row(1)]))).rejects.toMatchObject({
      code: 'storage_unavailable',
    });
  });
});
