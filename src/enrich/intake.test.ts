import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { AppError } from '../errors.js';
import { decodeMessage, encodeMessage, type SiteFrame } from '../events/frame.js';
import { decodeRow, decodeRowOf } from '../events/row-decoder.js';
import type { SiteSink } from '../events/site-sink.js';
import { tableOf } from '../events/tables.js';
import { silentTelemetry } from '../telemetry.js';
import type { Site, SiteDirectory } from '../websites/site.js';
import { ByteWriter } from './byte-writer.js';
import { RequestEnricher } from './enrich-request.js';
import { createIntake, type IngestRequest, type Intake } from './intake.js';
import type { EnrichPool } from './pool.js';
import type { EnrichRequest } from './protocol.js';
import { SiteTable } from './site-table.js';
import type { FeederLimits } from './task-feeder.js';
import { decodeResult, decodeTask, encodeResult, encodeTask } from './wire.js';

function siteOf(n: number, changes: Partial<Site> = {}): Site {
  return {
    id: `a9b8c7d6-0000-4000-8000-${String(n).padStart(12, '0')}`,
    siteId: String(n).padStart(24, '0'),
    ownerId: 'owner',
    name: 'Site',
    host: `site${n}.example`,
    isActive: true,
    respectDoNotTrack: false,
    cutAddress: false,
    storeAddress: false,
    allowRawDataExport: false,
    allowedHosts: [],
    automationEnabled: true,
    funnelEnabled: true,
    heatmapEnabled: true,
    replayEnabled: true,
    replaySamplingRate: 1,
    heatmapIncludePatterns: null,
    heatmapExcludePatterns: null,
    replayIncludePatterns: null,
    replayExcludePatterns: null,
    ...changes,
  };
}

/** Knows its sites at once or only by `resolve`. */
class Directory implements SiteDirectory {
  resolved = 0;
  private readonly sites = new Map<string, Site>();
  constructor(
    sites: readonly Site[],
    private readonly cached = true,
  ) {
    for (const site of sites) this.sites.set(site.id, site).set(site.siteId, site);
  }
  peek(id: string): Site | null | undefined {
    return this.cached ? (this.sites.get(id) ?? null) : undefined;
  }
  resolve(id: string): Promise<Site | null> {
    this.resolved++;
    return Promise.resolve(this.sites.get(id) ?? null);
  }
}

/** Does a worker's work in this thread, through the bytes of the wire, when it is told to. */
class LocalPool implements EnrichPool {
  readonly threads = 1;
  readonly geoEnabled = false;
  readonly tasks: number[] = [];
  gate: Promise<void> = Promise.resolve();
  /** What a request of a source is said to have taken. */
  tookMs: Partial<Record<IngestRequest['source'], number>> = {};
  private readonly enricher = new RequestEnricher({ geo: [], production: true });
  private readonly table = new SiteTable(100);

  async enrich(requests: readonly EnrichRequest[]) {
    const task = encodeTask(requests);
    this.tasks.push(requests.length);
    await this.gate;
    const out = new ByteWriter(16);
    const outcomes = [...decodeTask(task, this.table).requests].map(({ request, site }) =>
      this.enricher.enrich(request, site, out),
    );
    const tookMs = requests.map(({ source }) => this.tookMs[source] ?? 0);
    const result = { outcomes, tookMs, geoFailure: null, failure: null };
    return decodeResult(encodeResult(out, result), requests.length);
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}

class Sink implements SiteSink {
  readonly frames: SiteFrame[] = [];
  fail: Error | null = null;
  gate: Promise<void> = Promise.resolve();
  async deliver(frame: SiteFrame): Promise<void> {
    await this.gate;
    if (this.fail !== null) throw this.fail;
    this.frames.push(frame);
  }
  /** Source and table of each row. */
  tables() {
    return this.frames.flatMap((frame) =>
      decodeMessage(encodeMessage([frame])).flatMap(({ source, rows }) =>
        rows.map(({ flags, bytes }) => {
          const table = tableOf(flags);
          expect(decodeRowOf(table, bytes).site_id).toBe(frame.siteId);
          return [source, table];
        }),
      ),
    );
  }
  rows() {
    return this.frames.flatMap((frame) =>
      decodeMessage(encodeMessage([frame])).flatMap(({ rows }) => rows.map(({ bytes }) => decodeRow(bytes))),
    );
  }
}

const A = siteOf(1);
const B = siteOf(2);
const INACTIVE = siteOf(3, { isActive: false });

function setUp(options: { limits?: Partial<FeederLimits>; directory?: Directory } = {}) {
  const pool = new LocalPool();
  const sink = new Sink();
  const directory = options.directory ?? new Directory([A, B, INACTIVE]);
  const telemetry = silentTelemetry();
  const intake = createIntake({ pool, sites: directory, sink, limits: options.limits ?? {}, telemetry });
  return { pool, sink, directory, intake, telemetry };
}

function request(
  source: IngestRequest['source'],
  body: unknown,
  changes: Partial<IngestRequest> = {},
): IngestRequest {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  return {
    source,
    bytes,
    address: '',
    userAgent: '',
    origin: '',
    receivedAt: Date.now(),
    prefetch: false,
    optOut: false,
    ...changes,
  };
}

const event = (site: string, visitor: string) => request('event', { website_id: site, visitor_id: visitor });
const batch = (site: string, events: unknown[]) => request('batch', { siteId: site, events });

function gate(): { promise: Promise<void>; open(): void } {
  let open: () => void = () => undefined;
  const promise = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

describe('heat points and funnel events', () => {
  const HEATED = siteOf(4, { heatmapExcludePatterns: '/tab\there\n/private/*\n/ü"\\' });
  const PLAIN = siteOf(5, { heatmapEnabled: false, funnelEnabled: false });
  const point = (changes: object = {}) => ({
    type: 'click',
    x: 1,
    y: 2,
    url: '/a',
    selector: 'a',
    ...changes,
  });
  const progress = { funnel_id: 'f', visitor_id: 'v', session_id: 's', event_type: 'start', current_step: 1 };
  const open = () => setUp({ directory: new Directory([HEATED, PLAIN, INACTIVE]) });
  const heat = (site: Site, points: unknown, changes: Partial<IngestRequest> = {}) =>
    request('heatmap', { website_id: site.siteId, points }, changes);
  const funnel = (site: Site, events: unknown) => request('funnel', { website_id: site.id, events });

  it('become rows of their tables under sources of their own', async () => {
    const { intake, sink } = open();
    const points = [point(), point({ x: 9 })];
    expect(await intake.submit(heat(HEATED, points))).toMatchObject({ kind: 'accepted', accepted: 2 });
    expect(await intake.submit(funnel(HEATED, [progress]))).toMatchObject({ kind: 'accepted', accepted: 1 });
    const single = { ...progress, website_id: HEATED.siteId, current_step: 2 };
    expect(await intake.submit(request('funnel', single))).toMatchObject({ kind: 'accepted', accepted: 1 });
    expect(sink.tables()).toEqual([
      ['heatmap', 'heat_points'],
      ['heatmap', 'heat_points'],
      ['funnel', 'funnel_events'],
      ['funnel', 'funnel_events'],
    ]);
    for (const { siteId } of sink.frames) expect(siteId).toBe(HEATED.siteId);
  });

  it('obey the patterns of the site, whatever characters these hold', async () => {
    const { intake, sink } = open();
    const pages = ['/tab\there', '/private/x', '/ü"\\', '/tab', '/here'];
    const answer = await intake.submit(
      heat(
        HEATED,
        pages.map((url) => point({ url })),
      ),
    );
    expect(answer).toMatchObject({ accepted: 2, rejected: 3 });
    expect(sink.frames).toMatchObject([{ source: 'heatmap', received: 5, rejected: 3, rowCount: 2 }]);
  });

  it('are refused for good where the site has switched them off, and counted in its books', async () => {
    const { intake, sink } = open();
    expect(await intake.submit(heat(PLAIN, [point(), point()]))).toEqual({
      kind: 'refused',
      code: 'feature_disabled',
      message: 'heatmap recording is manually disabled for this website. enable it in settings',
    });
    expect(await intake.submit(funnel(PLAIN, [progress]))).toEqual({
      kind: 'refused',
      code: 'feature_disabled',
      message: 'funnel tracking is disabled for this website',
    });
    await intake.close();
    expect(sink.frames).toMatchObject([
      { siteId: PLAIN.siteId, source: 'heatmap', received: 2, rejected: 2, rowCount: 0 },
      { siteId: PLAIN.siteId, source: 'funnel', received: 1, rejected: 1, rowCount: 0 },
    ]);
  });

  it('are refused as events are: inactive site, other host, no site, no list', async () => {
    const { intake } = open();
    const code = async (sent: IngestRequest) => {
      const answer = await intake.submit(sent);
      return answer.kind === 'refused' ? answer.code : answer.kind;
    };
    expect(await code(heat(INACTIVE, [point()]))).toBe('website_inactive');
    expect(await code(funnel(INACTIVE, [progress]))).toBe('website_inactive');
    expect(await code(heat(HEATED, [point()], { origin: 'https://evil.example' }))).toBe(
      'origin_not_allowed',
    );
    expect(await code(request('heatmap', { points: [point()] }))).toBe('invalid_request');
    expect(await code(heat(HEATED, undefined))).toBe('invalid_request');
    expect(await code(heat(HEATED, { 0: point() }))).toBe('invalid_request');
    expect(await code(funnel(HEATED, null))).toBe('invalid_request');
    expect(await code(request('funnel', '[]'))).toBe('invalid_request');
    expect(await code(request('heatmap', '{'))).toBe('invalid_json');
    expect(await code(heat(siteOf(9), [point()]))).toBe('website_not_found');
  });

  it('that are none are nothing', async () => {
    const { intake, sink } = open();
    expect(await intake.submit(heat(HEATED, []))).toMatchObject({
      kind: 'accepted',
      received: 0,
      rejected: 0,
    });
    expect(await intake.submit(funnel(HEATED, []))).toMatchObject({
      kind: 'accepted',
      received: 0,
      rejected: 0,
    });
    await intake.close();
    expect(sink.frames).toEqual([]);
  });

  it('are those of the site that the body names, not of one that a scan happens upon', async () => {
    const { intake, sink } = open();
    const body = `{"points":[${JSON.stringify({ ...point(), website_id: PLAIN.siteId })}],"website_id":"${HEATED.siteId}"}`;
    expect(await intake.submit(request('heatmap', body))).toMatchObject({ accepted: 1 });
    expect(sink.frames).toMatchObject([{ siteId: HEATED.siteId }]);
  });
});

describe('submit', () => {
  let intake: Intake;
  let sink: Sink;
  beforeAll(() => {
    ({ intake, sink } = setUp());
  });

  it('answers when the rows are delivered, under the canonical site id', async () => {
    const held = gate();
    sink.gate = held.promise;
    let answered = false;
    const answer = intake.submit(event(A.id, 'v1')).then((result) => {
      answered = true;
      return result;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(answered).toBe(false);
    held.open();
    expect(await answer).toMatchObject({ kind: 'accepted', accepted: 1, rejected: 0, visitorId: 'v1' });
    expect(sink.frames).toEqual([
      expect.objectContaining({ siteId: A.siteId, source: 'event', received: 1, rowCount: 1 }),
    ]);
    expect(sink.rows()[0]).toMatchObject({ site_id: A.siteId, visitor_id: 'v1' });
  });

  it('keeps the books of what it rejects', async () => {
    sink.frames.length = 0;
    expect(await intake.submit(batch(B.siteId, [{ visitor_id: 'v' }, {}, 5]))).toMatchObject({
      accepted: 1,
      rejected: 2,
      errors: [{ index: 1 }, { index: 2 }],
    });
    expect(await intake.submit(batch(B.siteId, [{}]))).toMatchObject({ accepted: 0, rejected: 1 });
    expect(await intake.submit(batch(INACTIVE.siteId, [{}, {}]))).toMatchObject({
      kind: 'refused',
      code: 'website_inactive',
    });
    expect(await intake.submit(request('batch', `{"siteId":"${B.siteId}",`))).toMatchObject({
      code: 'invalid_json',
    });
    const books = sink.frames.map(({ received, rejected, rowCount }) => [received, rejected, rowCount]);
    expect(books).toEqual([
      [3, 2, 1],
      [1, 1, 0],
      [2, 2, 0],
      [1, 1, 0],
    ]);
  });

  it('refuses unknown sites without asking the pool', async () => {
    const { intake, pool } = setUp();
    expect(await intake.submit(event('f'.repeat(24), 'v'))).toMatchObject({
      kind: 'refused',
      code: 'website_not_found',
    });
    expect(pool.tasks).toEqual([]);
  });

  it('finds the site that the body really names', async () => {
    const { intake, sink } = setUp({ directory: new Directory([A, B], false) });
    const tricky = `{"siteId":"${A.siteId}","events":[{"visitor_id":"v"}],"siteId":"${B.siteId}"}`;
    expect(await intake.submit(request('batch', tricky))).toMatchObject({ kind: 'accepted' });
    const escaped = `{"website\\u005fid":"${B.siteId}","visitor_id":"v"}`;
    expect(await intake.submit(request('event', escaped))).toMatchObject({ kind: 'accepted' });
    expect(sink.frames.map(({ siteId }) => siteId)).toEqual([B.siteId, B.siteId]);
    const unknown = `{"website\\u005fid":"nobody","visitor_id":"v"}`;
    expect(await intake.submit(request('event', unknown))).toMatchObject({ code: 'website_not_found' });
  });

  it('takes nothing inside an event for its site, though no site bears that name', async () => {
    const { intake, sink } = setUp();
    const sorted = `{"event_type":"x","properties":{"website_id":"shop-12"},"visitor_id":"v","website_id":"${A.siteId}"}`;
    expect(await intake.submit(request('event', sorted))).toMatchObject({ kind: 'accepted', accepted: 1 });
    const late = `{"events":[{"visitor_id":"v","properties":{"siteId":"shop-12"}}],"siteId":"${A.siteId}"}`;
    expect(await intake.submit(request('batch', late))).toMatchObject({ kind: 'accepted', accepted: 1 });
    expect(sink.frames.map(({ siteId }) => siteId)).toEqual([A.siteId, A.siteId]);
    const nobody = '{"properties":{"website_id":"shop-12"},"website_id":"nobody"}';
    expect(await intake.submit(request('event', nobody))).toMatchObject({ code: 'website_not_found' });
  });

  it('passes on why the sink could not take it, and what the directory throws', async () => {
    const { intake, sink, directory } = setUp();
    sink.fail = new AppError('storage_unavailable', 'the stream is away');
    await expect(intake.submit(event(A.id, 'v'))).rejects.toMatchObject({ code: 'storage_unavailable' });
    directory.peek = () => undefined;
    directory.resolve = () => Promise.reject(new AppError('storage_unavailable', 'no database'));
    await expect(intake.submit(event(A.id, 'v'))).rejects.toMatchObject({ message: 'no database' });
  });
});

describe('under load', () => {
  it('answers every request with its own result, in few tasks', async () => {
    const { intake, pool, sink } = setUp();
    const answers = await Promise.all(
      Array.from({ length: 1000 }, (_, i) => intake.submit(event(i % 2 ? A.id : B.siteId, `v${i}`))),
    );
    expect(answers.map((answer) => answer.kind === 'accepted' && answer.visitorId)).toEqual(
      Array.from({ length: 1000 }, (_, i) => `v${i}`),
    );
    expect(pool.tasks.length).toBeLessThan(20);
    expect(sink.rows()).toHaveLength(1000);
  });

  it('says overloaded to a site that fills its queue, and takes others', async () => {
    const { intake, pool } = setUp({ limits: { laneItems: 10, taskItems: 5 } });
    const held = gate();
    pool.gate = held.promise;
    const noisy = Array.from({ length: 40 }, () => intake.submit(event(A.id, 'v')));
    const settled = Promise.allSettled(noisy);
    const quiet = intake.submit(event(B.id, 'q'));
    held.open();
    expect(await quiet).toMatchObject({ kind: 'accepted' });
    const results = await settled;
    const full = results.filter((result) => result.status === 'rejected');
    expect(full).toHaveLength(30);
    for (const { reason } of full)
      expect(reason).toMatchObject({ code: 'overloaded', options: { retryAfterSeconds: 1 } });
  });

  it('takes a request in the next task however many of another site wait, and keeps the order within a site', async () => {
    const { intake, pool, sink } = setUp();
    const held = gate();
    pool.gate = held.promise;
    const noisy = Array.from({ length: 1_000 }, (_, i) => intake.submit(event(A.id, `v${i}`)));
    await vi.waitFor(() => expect(pool.tasks).toHaveLength(2));
    const quiet = intake.submit(event(B.id, 'q'));
    held.open();
    await Promise.all([...noisy, quiet]);
    const [first = 0, second = 0, third = 0] = pool.tasks;
    const visitors = sink.rows().map(({ visitor_id }) => visitor_id);
    const place = visitors.indexOf('q');
    expect(place).toBeGreaterThanOrEqual(first + second);
    expect(place).toBeLessThan(first + second + third);
    expect(visitors.filter((visitor) => visitor !== 'q')).toEqual(noisy.map((_, i) => `v${i}`));
  });

  it('lets other sites go first when the requests of one keep the worker busy for long', async () => {
    const { intake, pool, sink } = setUp({ limits: { taskItems: 4 } });
    // The debt is paid by time as well, and this takes some.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now());
    onTestFinished(() => clock.mockRestore());
    const point = { type: 'click', x: 1, y: 2, url: '/a', selector: 'a', timestamp: Date.now() };
    const slow = (x: number) =>
      intake.submit(request('heatmap', { website_id: A.siteId, points: [{ ...point, x }] }));
    pool.tookMs = { heatmap: 500 };
    await slow(1);
    const held = gate();
    pool.gate = held.promise;
    const busy = [intake.submit(event(B.id, 'b')), intake.submit(event(B.id, 'b'))];
    await vi.waitFor(() => expect(pool.tasks).toHaveLength(2));
    const answers = [slow(2), ...Array.from({ length: 20 }, (_, i) => intake.submit(event(B.id, `v${i}`)))];
    held.open();
    await Promise.all([...busy, ...answers]);
    expect(sink.frames.map(({ source }) => source).lastIndexOf('heatmap')).toBeGreaterThanOrEqual(22);
  });

  it('is bounded in bytes', async () => {
    const { intake, pool } = setUp({ limits: { laneBytes: 800, totalBytes: 1200 } });
    const held = gate();
    pool.gate = held.promise;
    const answers = Promise.allSettled(
      [A, A, B, B, B].map((site) => intake.submit(event(site.siteId, 'v'.repeat(40)))),
    );
    held.open();
    expect((await answers).filter(({ status }) => status === 'fulfilled').length).toBeLessThan(5);
  });

  it('keeps no more than one task beyond its threads in flight', async () => {
    const { intake, pool } = setUp({ limits: { taskItems: 1 } });
    const held = gate();
    pool.gate = held.promise;
    const answers = Array.from({ length: 10 }, () => intake.submit(event(A.id, 'v')));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(pool.tasks).toEqual([1, 1]);
    held.open();
    await Promise.all(answers);
    expect(pool.tasks).toHaveLength(10);
  });

  it('closes when everything is answered, and takes nothing more', async () => {
    const { intake, sink } = setUp();
    const answer = intake.submit(event(A.id, 'v'));
    const closed = intake.close();
    await expect(intake.submit(event(A.id, 'w'))).rejects.toMatchObject({ code: 'overloaded' });
    await closed;
    expect(sink.frames).toHaveLength(1);
    expect(await answer).toMatchObject({ kind: 'accepted' });
    await intake.close();
  });

  it('counts for Prometheus', async () => {
    const { intake, telemetry } = setUp();
    await intake.submit(batch(A.siteId, [{ visitor_id: 'v' }, {}]));
    await intake.submit(event('nobody', 'v'));
    const metrics = await telemetry.registry.metrics();
    expect(metrics).toContain('seentics_ingest_events_accepted_total{source="batch"} 1');
    expect(metrics).toContain('seentics_ingest_events_rejected_total{code="missing_visitor"} 1');
    expect(metrics).toContain('seentics_ingest_requests_refused_total{code="website_not_found"} 1');
    expect(metrics).toContain('seentics_ingest_queue_requests 0');
  });
});
