import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../errors.js';
import type { SiteFrame, Source } from '../events/frame.js';
import { StreamUnavailableError } from '../storage/stream/stream.js';
import { silentTelemetry } from '../telemetry.js';
import { createSiteBatcher, type SiteBatcher, type SiteBatcherOptions } from './site-batcher.js';

function frame(siteId: string, received = 1, source: Source = 'event', size = 100): SiteFrame {
  return { siteId, source, received, rejected: 0, rowCount: received, rows: [new Uint8Array(size)] };
}

/** A stream whose publishes the test settles one by one. */
class HeldStream {
  readonly frames: SiteFrame[] = [];
  readonly #held: { resolve: () => void; reject: (error: unknown) => void }[] = [];
  readonly publish = (published: SiteFrame): Promise<void> => {
    this.frames.push(published);
    return new Promise((resolve, reject) => this.#held.push({ resolve, reject }));
  };

  settle(error?: Error): void {
    for (const { resolve, reject } of this.#held.splice(0)) error === undefined ? resolve() : reject(error);
  }
}

function batcher(options: Partial<SiteBatcherOptions> & Pick<SiteBatcherOptions, 'publish'>) {
  const sites = createSiteBatcher({ telemetry: silentTelemetry(), ...options });
  started.push(sites);
  return sites;
}

/** Of the test under way, to be stopped with it: a sweep keeps no process alive, but goes on under the files that follow. */
const started: SiteBatcher[] = [];
afterEach(async () => {
  for (const sites of started.splice(0)) await sites.stop(0);
});

const tick = () => new Promise((resolve) => setImmediate(resolve));
const code = (error: unknown) => (error instanceof AppError ? error.code : String(error));

describe('the site batcher', () => {
  it('publishes at once when the site is idle, and resolves when the frame is durable', async () => {
    const stream = new HeldStream();
    const sites = batcher(stream);
    let durable = false;
    const delivered = sites.deliver(frame('a')).then(() => {
      durable = true;
    });
    await tick();
    expect(stream.frames).toHaveLength(1);
    expect(durable).toBe(false);
    stream.settle();
    await delivered;
  });

  it('merges by source what comes while four publishes are on their way', async () => {
    const stream = new HeldStream();
    const sites = batcher(stream);
    const delivered: Promise<void>[] = [];
    for (let i = 0; i < 4; i++) {
      delivered.push(sites.deliver(frame('a')));
      await tick();
    }
    for (let i = 0; i < 10; i++)
      delivered.push(sites.deliver(frame('a', 2, i % 2 === 0 ? 'event' : 'batch')));
    await tick();
    expect(stream.frames).toHaveLength(4);
    stream.settle();
    await tick();
    expect(
      stream.frames
        .slice(4)
        .map(({ source, received, rowCount, rows }) => [source, received, rowCount, rows.length]),
    ).toEqual([
      ['event', 10, 10, 5],
      ['batch', 10, 10, 5],
    ]);
    stream.settle();
    await Promise.all(delivered);
  });

  it('does not merge past the size of a frame', async () => {
    const stream = new HeldStream();
    const sites = batcher({ publish: stream.publish, mergeBytes: 1_000, publishesInFlight: 2 });
    const delivered = Array.from({ length: 8 }, () => sites.deliver(frame('a', 1, 'event', 400)));
    await tick();
    expect(stream.frames.map(({ rowCount }) => rowCount)).toEqual([3, 3]);
    stream.settle();
    await tick();
    stream.settle();
    await Promise.all(delivered);
  });

  it('tells every merged request of a failure, as what the edge knows', async () => {
    const stream = new HeldStream();
    const sites = batcher(stream);
    const outcomes = Promise.all(
      Array.from({ length: 3 }, () => sites.deliver(frame('a')).catch((error: unknown) => code(error))),
    );
    await tick();
    stream.settle(new StreamUnavailableError('away'));
    expect(await outcomes).toEqual(['storage_unavailable', 'storage_unavailable', 'storage_unavailable']);
    const next = sites.deliver(frame('a'));
    await tick();
    stream.settle();
    await next;
  });

  it('refuses what does not fit into the mailbox of the site, and only there', async () => {
    const stream = new HeldStream();
    const sites = batcher({ publish: stream.publish, mailboxRequests: 3, publishesInFlight: 1 });
    const first = sites.deliver(frame('noisy'));
    await tick();
    const waiting = Array.from({ length: 3 }, () => sites.deliver(frame('noisy')));
    const refused = await sites.deliver(frame('noisy')).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'overloaded', options: { retryAfterSeconds: 1 } });
    const quiet = sites.deliver(frame('quiet'));
    await tick();
    expect(stream.frames.map(({ siteId }) => siteId)).toEqual(['noisy', 'quiet']);
    stream.settle();
    await Promise.all([first, quiet]);
    stream.settle();
    await Promise.all(waiting);
  });

  it('bounds the bytes of all sites together', async () => {
    const stream = new HeldStream();
    const sites = batcher({ publish: stream.publish, totalBytes: 1_000 });
    const first = sites.deliver(frame('a', 1, 'event', 900));
    expect(await sites.deliver(frame('b', 1, 'event', 900)).catch(code)).toBe('overloaded');
    await tick();
    stream.settle();
    await first;
    const second = sites.deliver(frame('b', 1, 'event', 900));
    await tick();
    stream.settle();
    await second;
  });

  it('holds heat points and funnel events to quotas of their own', async () => {
    const sites = batcher({ publish: async () => {}, quotaPerMinute: 60, now: () => 0 });
    const outcome = (source: Source) => sites.deliver(frame('a', 60, source)).then(() => 'taken', code);
    expect(await outcome('heatmap')).toBe('taken');
    expect(await outcome('funnel')).toBe('taken');
    expect(await outcome('event')).toBe('taken');
    expect(await outcome('heatmap')).toBe('quota_exceeded');
    expect(await outcome('funnel')).toBe('quota_exceeded');
    expect(await outcome('batch')).toBe('quota_exceeded');
  });

  it('holds a site to its quota and says when to come back', async () => {
    let now = 0;
    const sites = batcher({ publish: async () => {}, quotaPerMinute: 60, now: () => now });
    await sites.deliver(frame('a', 40));
    await sites.deliver(frame('a', 20));
    const refused = await sites.deliver(frame('a', 10)).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'quota_exceeded', options: { retryAfterSeconds: 10 } });
    await sites.deliver(frame('b', 60));
    now = 10_000;
    await sites.deliver(frame('a', 10));
    now = 70_000;
    await sites.deliver(frame('a', 1_000));
    expect(await sites.deliver(frame('a', 1)).catch(code)).toBe('quota_exceeded');
    // However large the request was, the debt is paid within a minute.
    now = 131_001;
    await sites.deliver(frame('a', 1));
  });

  it('counts nothing to the quota that is refused anyway: anybody can send that', async () => {
    const sites = batcher({ publish: async () => {}, quotaPerMinute: 60, now: () => 0 });
    const refused = (received: number) => ({
      ...frame('a'),
      received,
      rejected: received,
      rowCount: 0,
      rows: [],
    });
    for (let i = 0; i < 3; i++) await sites.deliver(refused(500_000));
    await sites.deliver({ ...frame('a', 59), received: 500, rejected: 441 });
    await sites.deliver(frame('a', 1));
    expect(await sites.deliver(frame('a', 1)).catch(code)).toBe('quota_exceeded');
    await sites.deliver(frame('b', 500));
    await sites.deliver({ ...refused(10), siteId: 'b' });
  });

  it('answers a crowd of one site in turns, and another site between them', async () => {
    const stream = new HeldStream();
    const sites = batcher(stream);
    const answered: string[] = [];
    const deliver = (site: string) => sites.deliver(frame(site)).then(() => answered.push(site));
    const crowd = Array.from({ length: 500 }, () => deliver('noisy'));
    await tick();
    const quiet = deliver('quiet');
    await tick();
    stream.settle();
    await quiet;
    expect(answered.indexOf('quiet')).toBeLessThan(100);
    await Promise.all(crowd);
    expect(answered).toHaveLength(501);
  });

  it('owes no answer once it has stopped', async () => {
    const stream = new HeldStream();
    const sites = batcher({ publish: stream.publish });
    let answered = 0;
    for (let i = 0; i < 500; i++) void sites.deliver(frame('a')).then(() => answered++);
    await tick();
    const stopped = sites.stop(1_000);
    stream.settle();
    await stopped;
    await Promise.resolve();
    expect(answered).toBe(500);
  });

  it('lets what waits become durable when it stops, and refuses the rest at the deadline', async () => {
    const stream = new HeldStream();
    const sites = batcher({ publish: stream.publish, publishesInFlight: 1 });
    const outcomes = Promise.all(
      ['a', 'a'].map((site) => sites.deliver(frame(site)).then(() => 'durable', code)),
    );
    await tick();
    const stopped = sites.stop(1_000);
    stream.settle();
    await tick();
    stream.settle();
    await stopped;
    expect(await outcomes).toEqual(['durable', 'durable']);
    expect(await sites.deliver(frame('a')).catch(code)).toBe('overloaded');
  });
});
