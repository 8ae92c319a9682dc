/**
 * Every SQL text that the figures can make: both engines accept it, nothing of a request stands in it, and the limits of time and
 * memory hold for it.
 */
import { setMaxListeners } from 'node:events';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseFilters, SESSION_ATTRIBUTES } from '../../src/metrics/filters.js';
import type { MetricsStore, Scope } from '../../src/metrics/metrics-store.js';
import { openClickhouse } from '../../src/storage/clickhouse.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import { ClickhouseReader } from '../../src/storage/events/clickhouse-reader.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { createPostgresMetrics } from '../../src/storage/events/postgres-metrics.js';
import { PostgresReader } from '../../src/storage/events/postgres-reader.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { generateEvents, randomOf } from '../support/metrics-events.js';
import { encodeRow, SITE } from './event-rows.js';

const NOW = Date.parse('2026-11-02T03:37:13Z');
const FROM = Date.parse('2026-10-20T00:00:00Z');
const LIMIT = 737;
const never = new AbortController().signal;
setMaxListeners(0, never);
/** What must stand in no text: ids, words, instants in seconds, the limit. */
const FROM_REQUEST = [SITE, 'zebra', `${FROM / 1000}`, `${Math.floor(NOW / 1000)}`, `${LIMIT}`];

const FILTERS = [
  [],
  parseFilters({
    country: 'zebra,de',
    browser: '!zebra',
    referrer: 'zebra',
    source: 'zebra',
    utm_campaign: '~zebra',
    page_path: '~zebra',
  }),
  parseFilters({ page_path: '!/zebra', device: 'zebra' }),
];

/** Every method; `from` decides between the rollup and raw events. */
async function askAll(store: MetricsStore, from: number): Promise<void> {
  for (const filters of FILTERS) {
    const scope: Scope = { siteId: SITE, from, to: NOW, filters };
    const starts = [from, from + 86_400_000, NOW];
    const wanted = SESSION_ATTRIBUTES.map((attribute) => ({ attribute, missing: 'zebra', limit: LIMIT }));
    await Promise.all([
      store.totals(scope, never),
      store.returningVisitors(scope, never),
      store.timeline(scope, starts, never),
      store.breakdown(scope, 'region', 'zebra', undefined, never),
      store.breakdowns(scope, wanted, never),
      store.places(scope, 'city', 'zebra', LIMIT, never),
      ...(['visitors', 'entries', 'exits'] as const).map((order) => store.pages(scope, order, LIMIT, never)),
    ]);
    await Promise.all([
      store.eventTypes(scope, LIMIT, never),
      store.oneEventType(scope, 'zebra', never),
      store.countEventTypes(scope, never),
      store.eventTimeline(scope, starts, never),
      store.properties(scope, 'zebra', LIMIT, never),
      store.propertyValues(scope, 'zebra', 'zebra', LIMIT, never),
      store.webVitals(scope, never),
      store.goals(
        scope,
        [
          { on: 'event', type: 'zebra' },
          { on: 'page', how: 'exact', path: '/zebra' },
          { on: 'page', how: 'wildcard', path: '/zebra*' },
        ],
        never,
      ),
      ...(['ordered', 'strict', 'unordered'] as const).map((order) =>
        store.funnel(
          scope,
          {
            steps: [
              { on: 'page', how: 'exact', text: '/zebra' },
              { on: 'page', how: 'contains', text: 'zebra' },
              { on: 'page', how: 'regex', text: '^/zebra.*' },
              { on: 'event', type: 'zebra' },
            ],
            order,
            windowMs: 86_400_000,
            ...(order === 'ordered'
              ? { breakdown: { attribute: 'channel', missing: 'zebra' } as const }
              : {}),
          },
          never,
        ),
      ),
    ]);
  }
  await store.cohorts(SITE, [from, from + 86_400_000, NOW - (NOW % 900_000)], never);
  await store.live(SITE, FROM, never);
}

async function fill(store: EventStore): Promise<void> {
  await store.migrate();
  const rows = generateEvents(randomOf(3), NOW, 30).events.map(encodeRow);
  await store.insertRows('events', rows, 'all', Date.now() + 60_000);
}

function expectBound(texts: Iterable<string>): void {
  for (const text of texts) for (const word of FROM_REQUEST) expect(text).not.toContain(word);
}

describe('ClickHouse', () => {
  let fresh: Awaited<ReturnType<typeof freshClickhouse>>;
  let events: EventStore;
  beforeAll(async () => {
    fresh = await freshClickhouse();
    events = createClickhouseEventStore({ clickhouse: fresh, telemetry: silentTelemetry() });
    await fill(events);
  });
  afterAll(async () => {
    vi.restoreAllMocks();
    await events.close();
    await fresh.drop();
  });

  it('explains every query, with bound parameters only', async () => {
    const asked = vi.spyOn(ClickhouseReader.prototype, 'rows');
    const copied = vi.spyOn(ClickhouseReader.prototype, 'copy');
    const finished = { minRows: 0, isAwaited: true };
    const settled = (serverMs: number) => Math.ceil(serverMs / 900_000) * 900_000;
    for (const options of [
      {},
      { rawOnly: true },
      { carried: { minRows: 0, finished: { minRows: 1e9 } } },
      { carried: { minRows: 0, finished, settled } },
    ]) {
      const store = createClickhouseMetrics(fresh, options);
      await askAll(store, FROM);
      if (!options.rawOnly) await askAll(store, FROM + 60_000);
      await store.close();
    }
    const queries = new Map([...asked.mock.calls, ...copied.mock.calls].map(([sql]) => [sql.text, sql]));
    expect(copied).toHaveBeenCalled();
    vi.restoreAllMocks();
    expect(queries.size).toBeGreaterThan(80);
    expectBound(queries.keys());
    expect([...queries.keys()].some((text) => text.startsWith('INSERT INTO finished_sessions'))).toBe(true);
    const reader = new ClickhouseReader(openClickhouse(fresh));
    for (const { text, params } of queries.values())
      expect(
        await reader.rows({ text: `EXPLAIN ${text.slice(text.search(/SELECT|WITH/))}`, params }, never),
      ).not.toHaveLength(0);
    await reader.close();
  }, 90_000);

  it('limits time and memory of every query, and leaves nothing to write', async () => {
    const reader = new ClickhouseReader(openClickhouse(fresh), {
      maxExecutionMs: 7_000,
      maxMemoryBytes: 1e9,
    });
    const names = [
      'max_execution_time',
      'max_memory_usage',
      'max_bytes_before_external_group_by',
      'readonly',
    ];
    const text = `SELECT ${names.map((name) => `toFloat64(getSetting('${name}'))`).join(', ')}`;
    expect(await reader.rows({ text, params: {} }, never)).toEqual([[7, 1e9, 2.5e8, 2]]);
    await expect(reader.rows({ text: 'TRUNCATE TABLE events', params: {} }, never)).rejects.toThrow();
    await reader.close();
  });
});

describe('Postgres', () => {
  let fresh: Awaited<ReturnType<typeof freshPostgres>>;
  const options = () => ({
    url: fresh.url,
    maxConnections: 4,
    minConnections: 0,
    telemetry: silentTelemetry(),
  });
  beforeAll(async () => {
    fresh = await freshPostgres();
    const events = createPostgresEventStore(options());
    await fill(events);
    await events.close();
  });
  afterAll(async () => {
    vi.restoreAllMocks();
    await fresh.drop();
  });

  it('explains every query, with bound parameters only', async () => {
    const asked = vi.spyOn(PostgresReader.prototype, 'rows');
    const store = createPostgresMetrics(options());
    await askAll(store, FROM);
    await store.close();
    const queries = new Map(asked.mock.calls.map(([sql]) => [sql.text, sql]));
    vi.restoreAllMocks();
    expect(queries.size).toBeGreaterThan(40);
    expectBound(queries.keys());
    const reader = new PostgresReader('explain', options());
    for (const { text, values } of queries.values())
      expect(await reader.rows({ text: `EXPLAIN ${text}`, values }, never)).not.toHaveLength(0);
    await reader.close();
  }, 90_000);

  it('limits time and memory of every query, and leaves nothing to write', async () => {
    const reader = new PostgresReader('limits', { ...options(), maxExecutionMs: 7_000 });
    const text = "SELECT current_setting('statement_timeout'), current_setting('work_mem')";
    expect(await reader.rows({ text, values: [] }, never)).toEqual([['7s', '64MB']]);
    await expect(reader.rows({ text: 'TRUNCATE events', values: [] }, never)).rejects.toThrow();
    await reader.close();
  });
});
