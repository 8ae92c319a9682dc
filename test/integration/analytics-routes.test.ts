import { Check, Errors } from 'typebox/value';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import { createClickhouseHeat } from '../../src/storage/events/heat/clickhouse-heat.js';
import { createPostgresHeat } from '../../src/storage/events/heat/postgres-heat.js';
import { createPostgresMetrics } from '../../src/storage/events/postgres-metrics.js';
import { generateEvents, randomOf } from '../support/metrics-events.js';
import { encodeRow, encodeRowOf, makeHeatPoint, makeRow, SITE } from './event-rows.js';
import { openEventStore } from './event-stores.js';
import { type MetricsApp, openMetricsApp, UUID } from './metrics-app.js';

const NOW = Date.parse('2026-11-02T03:37:12.345Z');
const DAY = 86_400_000;
const EMPTY = '85f1a2b3c4d5e6f708192a3d';
/** Has more types of custom events than a list shows, all but the last twice. */
const MANY = '85f1a2b3c4d5e6f708192a3e';
const TYPES = 1_003;
const typeOf = (i: number) => `t${String(i).padStart(4, '0')}`;
const ORDERS = '85f1a2b3c4d5e6f708192a3f';
/** Was seen from a town with a comma in its name before the last 30 days. */
const TOWNS = '85f1a2b3c4d5e6f708192a40';
/** The last one is in an event with such a number. */
const LONG = ['"[12345678901234567890', '\\"', 'gid:12345678901234567890', 'z'];

function ownEvents(): Uint8Array[] {
  const events: Parameters<typeof makeRow>[0][] = [];
  const custom = { site_id: MANY, kind: 2, properties: '{"a":1}' };
  for (let i = 0; i < TYPES; i++) {
    const properties = i === 1 ? JSON.stringify({ a: 'x'.repeat(5_000) }) : custom.properties;
    events.push({ ...custom, event_type: typeOf(i), properties });
    if (i < TYPES - 1) events.push({ ...custom, event_type: typeOf(i), properties });
  }
  LONG.forEach((id, i) => {
    const properties = JSON.stringify({
      id,
      ...(i === LONG.length - 1 ? { number: 1.2345678901234567e19 } : {}),
    });
    events.push({ site_id: ORDERS, kind: 2, event_type: 'order', page: '', properties });
  });
  const here = { city: 'Washington, D.C.', utm_campaign: 'summer', referrer_host: 'direct.example.com' };
  events.push({ site_id: ORDERS, session_id: 'a', page: '/a,b', ...here });
  const there = { city: 'Rome', utm_campaign: '!sale', referrer_host: '' };
  events.push({ site_id: ORDERS, session_id: 'b', page: '/order', ...there });
  const elsewhere = { city: 'Washington', utm_campaign: 'sale', referrer_host: 'direct.example.com' };
  events.push({ site_id: ORDERS, session_id: 'c', page: '/c', ...elsewhere });
  const before = { city: 'Rome, Georgia', utm_campaign: '~summer', timestamp: NOW - 20 * DAY };
  events.push({ site_id: ORDERS, session_id: 'd', page: '/order,/c', ...before });
  events.push({ site_id: TOWNS, session_id: 'a', city: 'Paris, Texas', timestamp: NOW - 40 * DAY });
  events.push({ site_id: TOWNS, session_id: 'b', city: 'Paris' });
  return events.map((event, i) =>
    encodeRow(
      makeRow({ timestamp: NOW - DAY + i, ...event, event_id: (1e9 + i).toString(16).padStart(32, '0') }),
    ),
  );
}

const openStores = (kind: 'clickhouse' | 'postgres') =>
  openEventStore(kind, {
    clickhouse: (options) => ({
      metrics: createClickhouseMetrics(options),
      heat: createClickhouseHeat(options),
    }),
    postgres: (options) => ({ metrics: createPostgresMetrics(options), heat: createPostgresHeat(options) }),
  });

describe.each(['clickhouse', 'postgres'] as const)('analytics routes on %s', (kind) => {
  let opened: Awaited<ReturnType<typeof openStores>>;
  let app: MetricsApp;

  beforeAll(async () => {
    opened = await openStores(kind);
    const { events } = generateEvents(randomOf(1), NOW, 120);
    await opened.events.insertRows('events', events.map(encodeRow), 'all', Date.now() + 60_000);
    await opened.events.insertRows('events', ownEvents(), 'own', Date.now() + 60_000);
    const points = [
      { point_type: 'rage_click', count: 70_000, timestamp: NOW - 2 * DAY },
      { point_type: 'rage_click', count: 2, timestamp: NOW, page: '/other' },
      { point_type: 'dead_click', count: 3, timestamp: NOW - 6 * DAY },
      { point_type: 'dead_click', count: 5, timestamp: NOW - 8 * DAY },
      { point_type: 'click', count: 7, timestamp: NOW },
      { point_type: 'dead_click', count: 11, timestamp: NOW, site_id: EMPTY },
    ].map((point, i) => makeHeatPoint({ ...point, event_id: i.toString(16).padStart(32, '0') }));
    await opened.events.insertRows(
      'heat_points',
      points.map((point) => encodeRowOf('heat_points', point)),
      'heat',
      Date.now() + 60_000,
    );
    app = await openMetricsApp(opened.metrics, NOW, [SITE, EMPTY, MANY, ORDERS, TOWNS], opened.heat);
  });
  afterAll(async () => {
    await app.close();
    await opened.metrics.close();
    await opened.heat.close();
    await opened.events.close();
    await opened.drop();
  });

  const get = async (path: string) => {
    const { status, body } = await app.get(path);
    // biome-ignore lint/suspicious/noExplicitAny: a JSON answer, looked into by the assertions below
    const answer: any = body;
    return { status, body: answer };
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
    const declared = app.routes.find((route) => route.path === `/api/v1/analytics/${name}/:website_id`);
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
    ['hourly-stats', 'days=0&limit=0'],
    ['hourly-stats', 'days=0&from=2026-11-01&to=2026-11-01'],
    ['activity-trends', 'days=5000&from=x&limit=0'],
    ['live-visitors', `days=5000&from=x&limit=0&city=${'x'.repeat(3000)}`],
    ['user-retention', `days=0&from=x&limit=0&city=${'x'.repeat(3000)}`],
    ['top-pages', 'days=0&from=2026-11-01&to=2026-11-01'],
  ])('lets say to %s what it does not heed: %s', async (name, query) => {
    expect((await get(`${name}/${SITE}?${query}`)).status).toBe(200);
  });

  it('gives a comparison as many days as there may be', async () => {
    for (const days of [3652, 7300]) {
      const { body } = await get(`daily-stats/${EMPTY}?days=${days}`);
      expect(body.daily_stats).toHaveLength(3650);
      expect(body.daily_stats.at(-1).date).toBe('2026-11-02');
    }
  });

  it('counts more types of custom events than it lists, with samples of the first ones', async () => {
    const { body } = await get(`custom-events/${MANY}`);
    expect(body.top_events).toHaveLength(1000);
    expect(body).toMatchObject({ total_events: 2 * TYPES - 1, unique_events: TYPES });
    const samples = body.top_events.map((row: { sample_properties: object }) => row.sample_properties);
    expect(samples.slice(0, 3)).toEqual([{ a: 1 }, {}, { a: 1 }]);
    expect(samples.filter((sample: object) => Object.keys(sample).length > 0)).toHaveLength(99);
    const last = await get(`event-properties/${MANY}?event=${typeOf(TYPES - 1)}`);
    expect(last.body).toMatchObject({
      count: 1,
      unique_visitors: 1,
      properties: [{ name: 'a', count: 1, percentage: 100 }],
    });
    expect((await get(`event-properties/${MANY}?event=none`)).body).toMatchObject({
      count: 0,
      properties: [],
    });
  });

  it('reads properties with long numbers in their texts, not with such numbers', async () => {
    const { body } = await get(`event-properties/${ORDERS}?event=order&property=id`);
    expect(body.values.map(({ value }: { value: string }) => value)).toEqual(LONG.slice(0, -1));
  });

  it.each([
    ['page_path=/a,b', ['/a,b']],
    ['page_path=order', ['/order']],
    ['city=Washington, D.C.', ['/a,b']],
    ['city=!washington, d.c.', ['/c', '/order']],
    ['city=Washington,Rome', ['/c', '/order']],
    ['city=Rome, Georgia', []],
    ['utm_campaign=\\!sale', ['/order']],
    ['utm_campaign=!sale', ['/order']],
    ['utm_campaign=!sale,summer', ['/order']],
    ['utm_campaign=!summer', ['/c', '/order']],
    ['utm_campaign=~sale', ['/c', '/order']],
    ['utm_campaign=~summer', []],
    ['utm_campaign=!~summer', ['/a,b', '/c', '/order']],
    ['page_path=/order,/c', []],
    ['page_path=/order,/c&days=30', ['/order,/c']],
    ['page_path=/order,/a,b', ['/a,b', '/order']],
    ['referrer=Direct', ['/order']],
    ['referrer=https://www.Direct.example.com/x', ['/a,b', '/c']],
  ])('finds by %s what lists show so', async (query, pages) => {
    const { body } = await get(`top-pages/${ORDERS}?${new URLSearchParams(query)}`);
    expect(body.top_pages.map(({ page }: { page: string }) => page).sort()).toEqual(pages);
  });

  it('means the same by a filter in the period before', async () => {
    const { body } = await get(`dashboard/${TOWNS}?days=30&city=Paris, Texas`);
    expect(body.comparison).toMatchObject({
      current_period: { sessions: 0, page_views: 0 },
      previous_period: { sessions: 1, page_views: 1 },
    });
    const list = await get(`dashboard/${TOWNS}?days=30&city=Paris,Texas`);
    expect(list.body.comparison).toMatchObject({
      current_period: { sessions: 1 },
      previous_period: { sessions: 0 },
    });
  });

  it('tells the clicks of annoyed visitors among the custom events, from heatmaps', async () => {
    const signals = async (path: string) =>
      (await get(path)).body.top_events.flatMap(
        ({ event_type, count }: { event_type: string; count: number }) =>
          /rage|dead/.test(event_type) ? [[event_type, count]] : [],
      );
    expect(await signals(`custom-events/${SITE}?days=7`)).toEqual([
      ['rage_click', 70_002],
      ['dead_click', 3],
    ]);
    expect(await signals(`custom-events/${SITE}?days=1`)).toEqual([['rage_click', 2]]);
    expect(await signals(`custom-events/${EMPTY}?days=9`)).toEqual([['dead_click', 11]]);
    expect(await signals(`custom-events/${SITE}?days=7&country=DE`)).toEqual([]);
  });

  it.each([
    'dashboard/{site}?days=0',
    'dashboard/{site}?days=3652',
    'daily-stats/{site}?days=7301',
    'hourly-stats/{site}?from=2026-01-01',
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
