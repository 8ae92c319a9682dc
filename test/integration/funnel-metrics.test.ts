import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EventRow } from '../../src/events/row-decoder.js';
import { parseFilters } from '../../src/metrics/filters.js';
import type { StepMatch } from '../../src/metrics/funnel-metrics.js';
import type { GoalMatch } from '../../src/metrics/goal-metrics.js';
import type { MetricsStore, Scope } from '../../src/metrics/metrics-store.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { createPostgresMetrics } from '../../src/storage/events/postgres-metrics.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { generateEvents, PAGES, type Random, randomOf } from '../support/metrics-events.js';
import {
  ReferenceConversions,
  type ReferenceCounts,
  type ReferenceFunnel,
  type ReferenceStep,
} from '../support/reference-funnels.js';
import type { ReferenceSession } from '../support/reference-sessions.js';
import { encodeRow, makeRow, SITE } from './event-rows.js';

const NOW = Date.parse('2026-11-02T03:37:12.345Z');
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Another site, in which much happens at once. */
const DENSE = '95f1a2b3c4d5e6f708192a3e';
const signal = new AbortController().signal;

const stores: Record<string, MetricsStore> = {};
const opened: { close(): Promise<unknown> }[] = [];
const references: Record<string, ReferenceConversions> = {};

/** Few pages, few instants, sessions of several visitors: equal times, repeated steps and window edges all the time. */
function denseEvents(random: Random): EventRow[] {
  const pick = <T>(values: readonly T[]): T | undefined => values[Math.floor(random() * values.length)];
  return Array.from({ length: 3_000 }, (_, id) => {
    const kind = pick([1, 1, 1, 2, 3]) ?? 1;
    const visitor = Math.floor(random() * 250);
    return makeRow({
      event_id: (id + 1).toString(16).padStart(32, '0'),
      site_id: DENSE,
      kind,
      event_type: kind === 1 ? 'pageview' : kind === 2 ? (pick(['buy', 'click']) ?? '') : 'scroll_depth',
      visitor_id: `v${visitor}`,
      session_id: `s${visitor % 240}-${Math.floor(random() * 2)}`,
      page: pick(['/a', '/b', '/a/b', '/c']) ?? '',
      device: pick(['Desktop', 'Mobile', '']) ?? '',
      timestamp: NOW - 2 * HOUR + Math.floor(random() * 12) * 10_000,
    });
  });
}

beforeAll(async () => {
  const { events, bots } = generateEvents(randomOf(20_261_103), NOW, 700);
  const dense = denseEvents(randomOf(77));
  references[SITE] = new ReferenceConversions(events, SITE);
  references[DENSE] = new ReferenceConversions(dense, DENSE);
  const telemetry = silentTelemetry();
  const { url, database, drop } = await freshClickhouse();
  const clickhouse = createClickhouseEventStore({
    clickhouse: { url, database },
    telemetry: silentTelemetry(),
  });
  stores.clickhouse = createClickhouseMetrics({ url, database });
  const pg = await freshPostgres();
  const options = { url: pg.url, maxConnections: 4, minConnections: 0, telemetry };
  const postgres = createPostgresEventStore(options);
  stores.postgres = createPostgresMetrics(options);
  opened.push({ close: drop }, { close: pg.drop }, clickhouse, postgres, ...Object.values(stores));
  for (const store of [clickhouse, postgres]) {
    await store.migrate();
    const deadline = Date.now() + 60_000;
    await store.insertRows('events', [...events, ...dense].map(encodeRow), 'all', deadline);
    await store.insertRows('bot_events', bots.map(encodeRow), 'bots', deadline);
  }
});

afterAll(async () => {
  for (const one of opened.reverse()) await one.close();
});

const stepMatch = (step: ReferenceStep): StepMatch =>
  'event' in step ? { on: 'event', type: step.event } : { on: 'page', how: step.how, text: step.page };

function reference(site: string): ReferenceConversions {
  const found = references[site];
  if (!found) throw new Error(`no reference for ${site}`);
  return found;
}

/** Funnels of all kinds over few pages, so that events serve several steps, and steps are equal. */
function randomFunnel(random: Random, pages: readonly string[], events: readonly string[]): ReferenceFunnel {
  const pick = <T>(values: readonly [T, ...T[]] | readonly T[]): T => {
    const value = values[Math.floor(random() * values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  };
  const step = (): ReferenceStep => {
    const page = pick(pages);
    return pick<ReferenceStep>([
      { page, how: 'exact' },
      { page, how: 'exact' },
      { page: page.slice(0, 3), how: 'starts_with' },
      { page: `${page}/`, how: 'starts_with' },
      { page: page.slice(-2), how: 'contains' },
      { page: `^${page.slice(0, 3).replace('%', '.')}[^x]*$`, how: 'regex' },
      { event: pick(events) },
      { event: pick(events) },
    ]);
  };
  return {
    steps: Array.from({ length: 1 + Math.floor(random() * 4) }, step),
    order: pick(['ordered', 'ordered', 'strict', 'unordered']),
    windowMs: pick([0, 10_000, 30_000, HOUR, 7 * DAY]),
    from: 0,
    to: 0,
  };
}

const FILTERS: readonly { query: object; lets: (one: ReferenceSession) => boolean }[] = [
  { query: {}, lets: () => true },
  { query: { device: 'Mobile' }, lets: (one) => one.device === 'Mobile' },
  { query: { channel: '!Direct' }, lets: (one) => !['Direct', ''].includes(one.channel) },
  {
    query: { page_path: '/docs,/a' },
    lets: (one) => one.views.some(({ page }) => ['/docs', '/a'].includes(page)),
  },
];

describe.each(['clickhouse', 'postgres'])('funnels on %s', (name) => {
  const store = (): MetricsStore => {
    const found = stores[name];
    if (!found) throw new Error(`${name} is not open`);
    return found;
  };

  it.each([
    { site: DENSE, pages: ['/a', '/b', '/a/b', '/c'], events: ['buy', 'click', 'scroll_depth', 'pageview'] },
    { site: SITE, pages: PAGES, events: ['signup', 'click', 'Größe', 'page_exit'] },
  ])('equal the naive reference, with filters and breakdown, on $site', async ({ site, pages, events }) => {
    const random = randomOf(4711);
    let entered = 0;
    let completed = 0;
    for (let round = 0; round < (site === DENSE ? 36 : 20); round++) {
      const { query, lets } = FILTERS[round % FILTERS.length] ?? { query: {}, lets: () => true };
      const [from, to] =
        site === DENSE
          ? [NOW - 2 * HOUR + (round % 3) * 20_000, NOW - 2 * HOUR + 70_000]
          : [Math.floor((NOW - 20 * DAY) / HOUR) * HOUR, round % 2 === 0 ? NOW : NOW - 3 * DAY];
      const funnel = { ...randomFunnel(random, pages, events), from, to, lets };
      const scope: Scope = { siteId: site, from, to, filters: parseFilters(query) };
      const { order, windowMs } = funnel;
      const question = { steps: funnel.steps.map(stepMatch), order, windowMs };
      const [counts] = await store().funnel(scope, question, signal);
      const expected = reference(site).funnel(funnel);
      expect(counts?.steps, JSON.stringify({ round, ...question })).toEqual(expected);
      entered += expected[0]?.visitors ?? 0;
      completed += expected.length > 1 ? (expected.at(-1)?.visitors ?? 0) : 0;
      if (round % 3 !== 0) continue;
      const breakdown = { attribute: 'device', missing: 'Unknown' } as const;
      const rows = await store().funnel(scope, { ...question, breakdown }, signal);
      const found = new Map(
        rows.map(({ label, steps }): [string, readonly ReferenceCounts[]] => [label, steps]),
      );
      expect(found, JSON.stringify({ round, ...question })).toEqual(
        reference(site).breakdown(funnel, (one) => one.device || 'Unknown'),
      );
    }
    // Not all zeros.
    expect(entered).toBeGreaterThan(300);
    expect(completed).toBeGreaterThan(50);
  });

  it('have up to twenty steps', async () => {
    const steps: ReferenceStep[] = Array.from({ length: 20 }, (_, i) => ({
      page: i % 2 === 0 ? '/a' : '/',
      how: 'contains',
    }));
    for (const order of ['ordered', 'strict', 'unordered'] as const) {
      const funnel = { steps, order, windowMs: DAY, from: 0, to: NOW };
      const scope: Scope = { siteId: DENSE, from: 0, to: NOW, filters: [] };
      const [counts] = await store().funnel(
        scope,
        { steps: steps.map(stepMatch), order, windowMs: DAY },
        signal,
      );
      expect(counts?.steps).toEqual(reference(DENSE).funnel(funnel));
    }
  });

  it('are zeros where nobody came, also for steps that say nothing', async () => {
    const scope: Scope = { siteId: 'f'.repeat(24), from: 0, to: NOW, filters: [] };
    const steps: StepMatch[] = [{ on: 'event', type: 'x' }, { on: 'nothing' }];
    for (const order of ['ordered', 'strict', 'unordered'] as const) {
      const none = { visitors: 0, medianMs: null };
      expect(await store().funnel(scope, { steps, order, windowMs: DAY }, signal)).toEqual([
        { label: '', steps: [none, none] },
      ]);
      const breakdown = { attribute: 'channel', missing: 'Direct' } as const;
      expect(await store().funnel(scope, { steps, order, windowMs: DAY, breakdown }, signal)).toEqual([]);
    }
  });

  it('count goals as the naive reference does', async () => {
    const page = (event: EventRow) => (event.kind === 1 ? event.page : undefined);
    const goals: readonly [GoalMatch, (event: EventRow) => boolean][] = [
      [{ on: 'event', type: 'signup' }, (event) => event.event_type === 'signup'],
      [{ on: 'event', type: 'Größe' }, (event) => event.event_type === 'Größe'],
      [{ on: 'event', type: 'signup' }, (event) => event.event_type === 'signup'],
      [{ on: 'event', type: 'never' }, () => false],
      [{ on: 'page', how: 'exact', path: '/pricing' }, (event) => page(event) === '/pricing'],
      [{ on: 'page', how: 'exact', path: '/a%20b' }, (event) => page(event) === '/a%20b'],
      [{ on: 'page', how: 'wildcard', path: '/docs/*' }, (event) => /^\/docs\//.test(`${page(event)}/`)],
      [{ on: 'page', how: 'wildcard', path: '*ri*g' }, (event) => /^.*ri.*g$/.test(page(event) ?? '')],
      [{ on: 'page', how: 'wildcard', path: '*%20_' }, () => false],
      [{ on: 'page', how: 'wildcard', path: '/a\\*' }, () => false],
    ];
    for (const { query, lets } of FILTERS) {
      const [from, to] = [NOW - 9 * DAY, NOW];
      const scope: Scope = { siteId: SITE, from, to, filters: parseFilters(query) };
      const counted = await store().goals(
        scope,
        goals.map(([goal]) => goal),
        signal,
      );
      expect(counted).toEqual(goals.map(([, hits]) => reference(SITE).goal(hits, from, to, lets)));
    }
    expect(await store().goals({ siteId: SITE, from: 0, to: NOW, filters: [] }, [], signal)).toEqual([]);
  });
});
