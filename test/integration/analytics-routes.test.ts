import { Check, Errors } from 'typebox/value';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApp } from '../../src/edge/app.js';
import { createRateLimiter } from '../../src/edge/rate-limit.js';
import { analyticsRoutes } from '../../src/edge/routes/analytics.js';
import { Analytics } from '../../src/metrics/analytics.js';
import { shareMetrics } from '../../src/metrics/shared-metrics.js';
import { createMemoryCache } from '../../src/storage/cache/memory-cache.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { createPostgresMetrics } from '../../src/storage/events/postgres-metrics.js';
import { silentTelemetry } from '../../src/telemetry.js';
import type { Site } from '../../src/websites/site.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { generateEvents, randomOf } from '../support/metrics-events.js';
import { encodeRow, SITE } from './event-rows.js';

const NOW = Date.parse('2026-11-02T03:37:12.345Z');
const UUID = '0b7b9ad0-5f0c-4c55-8f0e-1f2a3b4c5d6e';
const EMPTY = '85f1a2b3c4d5e6f708192a3d';

const site = (siteId: string): Site => ({
  id: UUID,
  siteId,
  ownerId: UUID,
  name: 'Example',
  host: 'example.com',
  isActive: true,
  allowedHosts: [],
  automationEnabled: false,
  funnelEnabled: false,
  heatmapEnabled: false,
  replayEnabled: false,
  replaySamplingRate: 0,
  heatmapIncludePatterns: null,
  heatmapExcludePatterns: null,
  replayIncludePatterns: null,
  replayExcludePatterns: null,
});
const SITES = new Map([
  [SITE, site(SITE)],
  [UUID, site(SITE)],
  [EMPTY, site(EMPTY)],
]);

async function openStores(kind: 'clickhouse' | 'postgres') {
  const telemetry = silentTelemetry();
  if (kind === 'clickhouse') {
    const { url, database, drop } = await freshClickhouse();
    const clickhouse = { url, database };
    return {
      events: createClickhouseEventStore({ clickhouse, telemetry }),
      metrics: createClickhouseMetrics(clickhouse),
      drop,
    };
  }
  const { url, drop } = await freshPostgres();
  const options = { url, maxConnections: 4, minConnections: 0, telemetry };
  return { events: createPostgresEventStore(options), metrics: createPostgresMetrics(options), drop };
}

describe.each(['clickhouse', 'postgres'] as const)('analytics routes on %s', (kind) => {
  let opened: Awaited<ReturnType<typeof openStores>>;
  let app: ReturnType<typeof createApp>;
  let base = '';
  const telemetry = silentTelemetry();
  let routes: ReturnType<typeof analyticsRoutes> = [];

  beforeAll(async () => {
    opened = await openStores(kind);
    await opened.events.migrate();
    const { events } = generateEvents(randomOf(1), NOW, 120);
    await opened.events.insertRows('events', events.map(encodeRow), 'all', Date.now() + 60_000);
    const analytics = new Analytics(shareMetrics(opened.metrics, { telemetry }));
    routes = analyticsRoutes({ analytics, clock: () => NOW });
    const cache = createMemoryCache({ telemetry });
    app = createApp({
      telemetry,
      routes,
      rateLimiter: createRateLimiter({
        cache,
        telemetry,
        limits: { ingest: 0, auth: 0, api: 0, admin: 0, internal: 0 },
      }),
      cors: { allowedOrigins: [], production: true },
      trustedProxies: { trust: [] },
      authenticate: async () => ({ kind: 'account', userId: UUID, email: 'a@example.com', role: 'user' }),
      resolveSite: async (id) => SITES.get(id) ?? null,
      authorize: (_principal, _site, action) => action === 'read',
    });
    base = `http://127.0.0.1:${await app.listen(0, '127.0.0.1')}/api/v1/analytics`;
  });
  afterAll(async () => {
    await app.close();
    await opened.metrics.close();
    await opened.events.close();
    await opened.drop();
  });

  const get = async (path: string) => {
    const response = await fetch(`${base}/${path}`, { headers: { authorization: 'Bearer x' } });
    // biome-ignore lint/suspicious/noExplicitAny: a JSON answer, looked into by the assertions below
    const body: any = await response.json();
    return { status: response.status, body };
  };
  const names = [
    'dashboard',
    'daily-stats',
    'hourly-stats',
    'top-pages',
    'top-referrers',
    'top-sources',
    'top-countries',
    'top-browsers',
    'top-devices',
    'top-os',
    'top-resolutions',
    'geolocation-breakdown',
    'visitor-insights',
    'traffic-summary',
    'activity-trends',
    'custom-events',
    'event-properties',
    'web-vitals',
    'user-retention',
    'live-visitors',
  ];

  it.each(names)('%s has its declared shape for a site with and one without events', async (name) => {
    const declared = routes.find((route) => route.path === `/api/v1/analytics/${name}/:website_id`);
    const schema = declared?.responses[200];
    if (!schema) throw new Error(`${name} is not declared`);
    for (const id of [SITE, EMPTY]) {
      const { status, body } = await get(`${name}/${id}?days=30&timezone=Asia/Kolkata&event=click`);
      expect(status).toBe(200);
      expect(Check(schema, body), JSON.stringify([...Errors(schema, body)].slice(0, 3))).toBe(true);
    }
  });

  it('echoes the id as given, but the canonical one on the dashboard', async () => {
    expect((await get(`top-pages/${UUID}`)).body.website_id).toBe(UUID);
    expect((await get(`dashboard/${UUID}`)).body.website_id).toBe(SITE);
  });

  it('answers an empty site with zeros and empty lists', async () => {
    const { body } = await get(`dashboard/${EMPTY}`);
    expect(body).toMatchObject({
      date_range: 7,
      total_visitors: 0,
      unique_visitors: 0,
      bounce_rate: 0,
      session_duration: 0,
      top_pages: [],
      geolocation: { countries: [], cities: [] },
      comparison: { visitor_change: null, current_period: { pages_per_session: 0 } },
    });
    expect((await get(`daily-stats/${EMPTY}`)).body.daily_stats).toHaveLength(30);
    expect((await get(`top-os/${EMPTY}`)).body.top_os).toEqual([]);
  });

  it('fills days and hours', async () => {
    const days = (await get(`daily-stats/${SITE}?days=5&timezone=America/New_York`)).body.daily_stats;
    expect(days.map((day: { date: string }) => day.date)).toEqual([
      '2026-10-28',
      '2026-10-29',
      '2026-10-30',
      '2026-10-31',
      '2026-11-01',
    ]);
    const hours = (await get(`hourly-stats/${SITE}?days=30&timezone=America/New_York`)).body.hourly_stats;
    expect(hours).toHaveLength(25);
    expect(hours[0]).toMatchObject({
      hour: '2026-11-01 00:00:00',
      hour_label: '00:00',
      timestamp: '2026-11-01T04:00:00.000Z',
    });
    const past = await get(`hourly-stats/${SITE}?from=2026-10-25&to=2026-10-26&timezone=Europe/Berlin`);
    expect(past.body.hourly_stats).toHaveLength(49);
  });

  it.each([
    'dashboard/{site}?days=0',
    'top-pages/{site}?limit=1001',
    'daily-stats/{site}?timezone=Nowhere/Land',
    'live-visitors/{site}?timezone=Nowhere/Land',
    'dashboard/{site}?from=2026-01-01',
    'page-utm-breakdown/{site}',
    'event-properties/{site}',
    `event-properties/{site}?event=click&property=${'x'.repeat(257)}`,
    'hourly-stats/{site}?from=2026-01-01&to=2026-03-01',
  ])('refuses %s', async (path) => {
    const { status, body } = await get(path.replace('{site}', SITE));
    expect(status).toBe(400);
    expect(body).toMatchObject({ code: 'invalid_parameter', error: body.message });
  });

  it.each([
    "top-pages/{site}?country=');DROP TABLE events--&city=\\",
    'dashboard/{site}?browser={p0:String}&os=%27%22%60&page_path=%25_%5C',
    'event-properties/{site}?event=%27%5C&property=%27%7Bp0:String%7D%5C%22%60%F0%9F%98%80',
    'top-pages/{site}?page_path=~%F0%9F%98%80&source=__proto__&channel=constructor',
  ])('takes any text for a filter: %s', async (path) => {
    expect((await get(path.replace('{site}', SITE))).status).toBe(200);
  });
});
