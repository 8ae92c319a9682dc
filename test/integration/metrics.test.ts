/**
 * One suite for the figures: the same events in both stores, every endpoint's answer over HTTP compared with the naive reference to the
 * last digit, from the rollup, from raw events and from Postgres. Goals and funnels have suites of their own.
 */
import { setMaxListeners } from 'node:events';
import { afterAll, beforeAll, describe, expect, it, onTestFailed } from 'vitest';
import type { EventRow } from '../../src/events/row-decoder.js';
import { Analytics } from '../../src/metrics/analytics.js';
import { FILTER_FIELDS } from '../../src/metrics/filters.js';
import type { MetricsStore } from '../../src/metrics/metrics-store.js';
import { type AnalyticsQuery, parseParameters } from '../../src/metrics/parameters.js';
import { publicDashboard } from '../../src/metrics/public-dashboard.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { createPostgresMetrics } from '../../src/storage/events/postgres-metrics.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { type ExpectedAnswers, expectedAnswers } from '../support/expected-answers.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { generateEvents, randomOf } from '../support/metrics-events.js';
import { type Case, FILTERS } from '../support/metrics-filters.js';
import { ReferenceData } from '../support/reference-data.js';
import { type ReferenceFilter, referenceFilter } from '../support/reference-filters.js';
import { periodOf, type ReferenceQuestion } from '../support/reference-period.js';
import { type SmallSite, smallQuestion, smallSite } from '../support/small-sites.js';
import { encodeRow, SITE } from './event-rows.js';
import { type MetricsApp, NO_HEAT, openMetricsApp, UUID } from './metrics-app.js';

/** Berlin left summer time eight days before, New York does on this very day, Lord Howe (half an hour) began it a month before. */
const CLOCK = Date.parse('2026-11-02T03:37:12.345Z');
/** A running period ends with the current second. */
const NOW = Date.parse('2026-11-02T03:37:12.999Z');
const DAY = 86_400_000;
const SEED = Number(process.env.METRICS_SEED ?? 20_261_102);
/** Makes some 20,000 events. */
const SESSIONS = 3_600;
const SMALL_SITES = 20;
/** About each of them. */
const SMALL_QUESTIONS = 3;

const RANGES: readonly (AnalyticsQuery & { readonly timezone: string })[] = [
  { days: '1', timezone: 'UTC' },
  { days: '7', timezone: 'UTC' },
  { days: '9', timezone: 'Europe/Berlin' },
  { days: '2', timezone: 'America/New_York' },
  { days: '30', timezone: 'Australia/Lord_Howe' },
  { days: '3', timezone: 'Asia/Kathmandu' },
  { days: '60', timezone: 'Pacific/Auckland' },
  { from: '2026-10-25', to: '2026-10-25', timezone: 'Europe/Berlin' },
  { from: '2026-10-20', to: '2026-11-05', timezone: 'America/St_Johns' },
  { from: '2026-12-01', to: '2026-12-02', timezone: 'UTC' },
];

const STORES = ['clickhouse', 'clickhouse, raw events only', 'postgres'] as const;
const apps = new Map<string, MetricsApp>();
const stores = new Map<string, MetricsStore>();
const opened: { close(): Promise<unknown> }[] = [];
let expected: ExpectedAnswers;
let endpoints: readonly string[] = [];
const small = new Map<string, SmallSite & { readonly data: ReferenceData }>();

beforeAll(async () => {
  const generated = generateEvents(randomOf(SEED), CLOCK, SESSIONS);
  expect(generated.events.length).toBeGreaterThan(19_000);
  expected = expectedAnswers(new ReferenceData(generated.events, SITE), UUID, SITE);
  endpoints = Object.keys(expected);
  for (let n = 0; n < SMALL_SITES; n++) {
    const id = (n + 1).toString(16).padStart(24, 'e');
    const site = smallSite(randomOf(SEED + n), id, CLOCK, 1_000_000 + 1_000 * n);
    small.set(id, { ...site, data: new ReferenceData(site.events, id) });
  }
  const telemetry = silentTelemetry();

  const { url, database, drop } = await freshClickhouse();
  const clickhouse = createClickhouseEventStore({
    clickhouse: { url, database },
    telemetry: silentTelemetry(),
  });
  stores.set('clickhouse', createClickhouseMetrics({ url, database }));
  stores.set('clickhouse, raw events only', createClickhouseMetrics({ url, database }, { rawOnly: true }));
  opened.push({ close: drop });

  const pg = await freshPostgres();
  const postgresOptions = { url: pg.url, maxConnections: 4, minConnections: 0, telemetry };
  const postgres = createPostgresEventStore(postgresOptions);
  stores.set('postgres', createPostgresMetrics(postgresOptions));
  opened.push({ close: pg.drop }, clickhouse, postgres, ...stores.values());

  for (const store of [clickhouse, postgres]) {
    await store.migrate();
    const ofSmallSites = [...small.values()].flatMap(({ events }) => events);
    await fill(store, [...generated.events, ...ofSmallSites], generated.bots);
  }
  for (const [name, store] of stores) {
    const app = await openMetricsApp(store, CLOCK, [SITE, ...small.keys()]);
    apps.set(name, app);
    opened.push(app);
  }
});

afterAll(async () => {
  for (const one of opened.reverse()) await one.close();
});

/** In blocks, each sent twice as after a lost answer: views over the table must not count it twice either. */
async function fill(
  store: EventStore,
  events: readonly EventRow[],
  bots: readonly EventRow[],
): Promise<void> {
  const blocks = 7;
  for (let block = 0; block < blocks; block++) {
    const rows = events.filter((_, i) => i % blocks === block).map(encodeRow);
    for (let time = 0; time < 2; time++)
      await store.insertRows('events', rows, `block-${block}`, Date.now() + 60_000);
  }
  await store.insertRows('bot_events', bots.map(encodeRow), 'bots', Date.now() + 60_000);
}

function question(query: AnalyticsQuery & { timezone: string }, { session, page }: Case): ReferenceQuestion {
  const { from, to, days, timezone, limit } = query;
  return {
    zone: timezone,
    now: NOW,
    range: from && to ? { from, to } : { days: Number(days) },
    limit: Number(limit ?? 10),
    ...(session ? { session } : {}),
    ...(page ? { page } : {}),
  };
}

/** With filters read by the reference. The site has the labels that were seen since the period before or 30 days before the period's end. */
function plainly(query: AnalyticsQuery & { timezone: string }, data: ReferenceData): ReferenceQuestion {
  const base = question(query, { query: {} });
  const { from, to } = periodOf(base);
  const since = Math.floor(Math.min(2 * from - to - DAY, to - 30 * DAY) / DAY) * DAY;
  const seen = { from: since, to: Number.POSITIVE_INFINITY };
  const has = (filter: ReferenceFilter) => data.views({ ...base, ...filter }, seen).length > 0;
  const filters = FILTER_FIELDS.flatMap((field) => {
    const text = query[field];
    return text === undefined ? [] : (referenceFilter(field, text, has) ?? []);
  });
  const sessions = filters.flatMap((filter) => ('session' in filter ? filter.session : []));
  const pages = filters.flatMap((filter) => ('page' in filter ? filter.page : []));
  return {
    ...base,
    ...(sessions.length > 0 ? { session: (one) => sessions.every((lets) => lets(one)) } : {}),
    ...(pages.length > 0 ? { page: (page) => pages.every((lets) => lets(page)) } : {}),
  };
}

/** The reference is slow: it answers a question for all stores at once. */
const answers = new Map<string, object>();

function answerOf(endpoint: string, query: AnalyticsQuery & { timezone: string }, filter: Case): object {
  const key = JSON.stringify([endpoint, query, filter.query]);
  const known = answers.get(key) ?? expected[endpoint]?.(question(query, filter));
  if (known === undefined) throw new Error(`nothing is expected of ${endpoint}`);
  answers.set(key, known);
  return known;
}

/** Answers of these endpoints beside the reference's. */
async function compare(
  store: string,
  query: AnalyticsQuery & { timezone: string },
  filter: Case,
  names: readonly string[] = endpoints,
): Promise<void> {
  onTestFailed(() => console.log(`METRICS_SEED=${SEED}`));
  const app = apps.get(store);
  if (!app) throw new Error(`${store} is not open`);
  await Promise.all(
    names.map(async (name) => {
      const [path = '', own = ''] = name.split('?');
      const parameters = new URLSearchParams(own);
      for (const [key, value] of Object.entries({ ...query, ...filter.query }))
        parameters.set(key, String(value));
      const answer = await app.get(`${path}/${UUID}?${parameters}`);
      expect(answer, name).toEqual({ status: 200, body: answerOf(name, query, filter) });
    }),
  );
}

describe.each(STORES)('figures on %s', (store) => {
  it.each(store.includes('raw') ? RANGES.filter((_, i) => i % 3 === 0) : RANGES)(
    'equal the naive reference for $timezone, days $days, $from to $to',
    async (range) => {
      await compare(store, range, { query: {} });
    },
  );

  it('keep to the limit', async () => {
    const lists = endpoints.filter((name) => /top-|properties|utm|insights|geo/.test(name));
    for (const limit of ['2', '1000'])
      await compare(store, { days: '9', timezone: 'Europe/Berlin', limit }, { query: {} }, lists);
  });

  // A page filter is another thing for each endpoint; the other filters are the same for all of them, so these take turns.
  it.each(store.includes('raw') ? FILTERS.filter((_, i) => i % 6 === 0) : FILTERS)(
    'equal the naive reference with $query',
    async (filter) => {
      const turn = FILTERS.indexOf(filter);
      const names = endpoints
        .filter((name) => !(filter.page && name.startsWith('page-utm')))
        .filter(
          (name, i) =>
            name === 'traffic-summary' || i % 6 === turn % 6 || (filter.page && i % 2 === turn % 2),
        );
      await compare(store, { days: '14', timezone: 'America/New_York' }, filter, names);
    },
  );

  it('equal the naive reference for small sites made to go wrong', async () => {
    onTestFailed(() => console.log(`METRICS_SEED=${SEED}`));
    const app = apps.get(store);
    if (!app) throw new Error(`${store} is not open`);
    const asked = [...small].slice(0, store.includes('raw') ? SMALL_SITES / 4 : SMALL_SITES);
    await Promise.all(
      asked.map(async ([id, { zone, data }], n) => {
        const random = randomOf(SEED - n);
        const answers = expectedAnswers(data, id, id);
        for (let i = 0; i < SMALL_QUESTIONS; i++) {
          const name = Object.keys(answers)[(n * SMALL_QUESTIONS + i) % Object.keys(answers).length] ?? '';
          const query = smallQuestion(random, zone, NOW, data);
          const [path = '', own = ''] = name.split('?');
          const parameters = new URLSearchParams({
            ...Object.fromEntries(new URLSearchParams(own)),
            ...query,
          });
          if (name.startsWith('page-utm')) parameters.set('page_path', '/pricing');
          const answer = await app.get(`${path}/${id}?${parameters}`);
          const body = answers[name]?.(plainly(query, data));
          expect(answer, `${id} ${name} ${JSON.stringify(query)}`).toEqual({ status: 200, body });
        }
      }),
    );
  });

  it('make up a public dashboard', async () => {
    const metrics = stores.get(store);
    if (!metrics) throw new Error(`${store} is not open`);
    const query = { days: '7', timezone: 'Europe/Berlin' };
    const { signal } = new AbortController();
    setMaxListeners(100, signal);
    const asked = { ...parseParameters(query, 7, NOW), siteId: SITE, now: NOW, signal };
    const body = await publicDashboard(new Analytics(metrics, NO_HEAT), asked, UUID);
    const part = (name: string) => answerOf(name, query, { query: {} });
    expect(body).toMatchObject({
      ...part('web-vitals'),
      daily_stats: part('daily-stats'),
      hourly_stats: part('hourly-stats'),
      top_pages: part('top-pages'),
      top_sources: part('top-referrers'),
      top_countries: part('top-countries'),
      top_devices: part('top-devices'),
      geolocation: part('geolocation-breakdown'),
    });
    const {
      top_pages,
      top_sources,
      top_countries,
      top_resolutions,
      geolocation,
      metrics: _,
      ...figures
    } = Object.fromEntries(Object.entries(part('dashboard')));
    const { new_visitors, returning_visitors, ...shown } = figures;
    expect(body).toMatchObject({ ...shown, website_id: UUID });
    expect(body.top_sources.top_referrers[0]?.page_views).toBe(body.top_sources.top_referrers[0]?.views);
  });
});
