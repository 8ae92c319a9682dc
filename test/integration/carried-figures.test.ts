/**
 * Answers that are carried on from what was counted before, beside answers computed from raw events, while events arrive out of order,
 * periods move on and rows are removed.
 */
import { setMaxListeners } from 'node:events';
import { type ClickHouseClient, createClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EventRow } from '../../src/events/row-decoder.js';
import { type Filter, parseFilters } from '../../src/metrics/filters.js';
import type { MetricsStore, Scope } from '../../src/metrics/metrics-store.js';
import { openClickhouse } from '../../src/storage/clickhouse.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import { ClickhouseReader } from '../../src/storage/events/clickhouse-reader.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { CarriedFigures } from '../../src/storage/events/metrics/carried/figures.js';
import type { Sql } from '../../src/storage/events/metrics/clickhouse-rows.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse } from '../support/fresh.js';
import { generateEvents, randomOf } from '../support/metrics-events.js';
import { encodeRow, SITE } from './event-rows.js';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const NOW = Date.parse('2026-11-02T03:37:13Z');
const TODAY = Date.parse('2026-11-02T00:00:00Z');
const never = new AbortController().signal;
setMaxListeners(0, never);

const FILTERS: readonly (readonly Filter[])[] = [
  [],
  parseFilters({ country: 'de', browser: '!Firefox' }),
  parseFilters({ page_path: '~docs' }),
];

let admin: ClickHouseClient;
let events: EventStore;
let carried: MetricsStore;
/** Too small to be carried: its answers serve until something arrives. */
let proved: MetricsStore;
let anew: MetricsStore;
/** Reads finished days from rows of sessions. */
let cold: MetricsStore;
let drop: () => Promise<void>;
let rows: readonly EventRow[];
let viewQuery = '';
/** What counts as settled; hours before the server's clock. */
let settledHours = 0;
/** Goes on when answers of before are to be asked again. */
let clock = 1;
let database: Awaited<ReturnType<typeof freshClickhouse>>;
/** The server's clock, as far as the test makes rows arrive by it. */
const serverMs = NOW;
const settled = () => Math.floor((serverMs - settledHours * HOUR) / 900_000) * 900_000;

beforeAll(async () => {
  const fresh = await freshClickhouse();
  database = fresh;
  drop = fresh.drop;
  admin = createClient({ url: fresh.url, database: fresh.database });
  events = createClickhouseEventStore({ clickhouse: fresh, telemetry: silentTelemetry() });
  await events.migrate();
  carried = createClickhouseMetrics(fresh, {
    carried: {
      ...{ minRows: 0, settled, clock: () => clock, finished: { minRows: 1e9 } },
      ...{ lookAhead: { share: 1, intervalMs: 100 }, shrinkMs: 100 },
    },
  });
  proved = createClickhouseMetrics(fresh, { carried: { minRows: 1e9, settled, clock: () => clock } });
  anew = createClickhouseMetrics(fresh, { rawOnly: true });
  rows = generateEvents(randomOf(7), NOW, 300).events;
  [viewQuery = ''] = await values(
    `SELECT as_select FROM system.tables WHERE name = 'session_slots_view' AND database = currentDatabase()`,
  );
});

afterAll(async () => {
  await Promise.all([carried.close(), proved.close(), anew.close(), events.close(), admin.close()]);
  await drop();
});

async function values(query: string): Promise<string[]> {
  const answer = await admin.query({ query, format: 'JSONCompactEachRow' });
  return (await answer.json<[unknown]>()).map(([value]) => String(value));
}

/** Inserts a share of the events as if it had arrived some hours ago. */
async function arrive(part: number, parts: number, hoursAgo: number): Promise<void> {
  const at = Math.floor((serverMs - hoursAgo * HOUR) / 1000);
  await admin.command({
    query: `ALTER TABLE session_slots_view MODIFY QUERY ${viewQuery.replace("now('UTC')", `toDateTime(${at}, 'UTC')`).replace('\uFFFD', '\\xFF')}`,
  });
  const share = rows.filter((_, i) => i % parts === part).map(encodeRow);
  await events.insertRows('events', share, `part-${part} of ${rows.length}`, Date.now() + 60_000);
}

/** Every carried question about a running period, the one before it and a finished one, beside the answer from raw events. */
async function compare(now: number): Promise<void> {
  clock += 60_000;
  const finished = { minRows: 0, batchRows: 3_000, isAwaited: true };
  // Knows nothing but what its predecessors have left in the store.
  cold = createClickhouseMetrics(database, { carried: { minRows: 0, settled, finished } });
  try {
    await compareStores(now);
  } finally {
    await cold.close();
  }
}

async function compareStores(now: number): Promise<void> {
  const running = { siteId: SITE, from: TODAY - 13 * DAY, to: now };
  for (const filters of FILTERS) await compareScope({ ...running, filters });
  const before = { siteId: SITE, from: TODAY - 27 * DAY, to: now - 14 * DAY, filters: [] };
  await compareScope(before);
  await compareScope({ ...running, from: TODAY - 5 * DAY - 15 * 60_000, to: TODAY - 2 * DAY, filters: [] });
  const weeks = Array.from({ length: 6 }, (_, i) => TODAY - (4 - i) * 7 * DAY);
  const pairs = (store: MetricsStore) => store.cohorts(SITE, weeks, never);
  const expected = ordered(await pairs(anew));
  expect(await pairs(carried).then(ordered)).toEqual(expected);
  expect(await pairs(cold).then(ordered)).toEqual(expected);
}

const ordered = <T>(list: readonly T[]): string[] => list.map((one) => JSON.stringify(one)).sort();

async function compareScope(scope: Scope): Promise<void> {
  const starts = Array.from({ length: 15 }, (_, i) => scope.from + i * DAY);
  const wanted = [
    { attribute: 'country_code', missing: '', limit: undefined },
    { attribute: 'channel', missing: 'Direct', limit: 3 },
    { attribute: 'resolution', missing: 'Unknown', limit: 10 },
  ] as const;
  const ask = (store: MetricsStore) =>
    Promise.all([
      store.totals(scope, never),
      store.returningVisitors(scope, never),
      store.timeline(scope, starts, never),
      store.breakdowns(scope, wanted, never),
      store.eventTypes(scope, 10, never),
      store.eventTypes(scope, 2, never),
      store.places(scope, 'city', 'Unknown', 4, never),
      store.places(scope, 'region', 'Unknown', 100, never),
      store.eventTimeline(scope, starts, never),
      store.pages(scope, 'visitors', 5, never),
      store.pages(scope, 'entries', 3, never),
      store.pages(scope, 'exits', 100, never),
    ]);
  const expected = await ask(anew);
  // What is proved does not depend on the filters.
  for (const store of scope.filters.length === 0 ? [carried, cold, proved] : [carried, cold])
    expect(await ask(store)).toEqual(expected);
}

describe('carried figures', () => {
  it('equal figures computed anew while events of all times arrive', async () => {
    await arrive(0, 3, 9);
    settledHours = 8;
    await compare(NOW - 3 * HOUR);
    await arrive(1, 3, 6);
    await compare(NOW - 3 * HOUR);
    const copies = await values('SELECT uniqExact(set_id) FROM changed_rows');
    expect(Number(copies[0])).toBeGreaterThan(0);
    expect(Number((await values('SELECT count() FROM finished_sessions'))[0])).toBeGreaterThan(100);
  }, 120_000);

  it('equal them when the period moves on, and when what was new is settled', async () => {
    await compare(NOW - 30 * 60_000);
    settledHours = 4;
    await compare(NOW - 10 * 60_000);
    await arrive(2, 3, 2);
    settledHours = 1;
    await compare(NOW);
    await compare(NOW);
  }, 120_000);

  it('need nothing but their own query when somebody has looked ahead, and are equal', async () => {
    const asked: string[] = [];
    class Recording extends ClickhouseReader {
      override rows(sql: Sql, signal: AbortSignal): Promise<unknown[][]> {
        asked.push(sql.text);
        return super.rows(sql, signal);
      }
      override copy(sql: Sql, signal: AbortSignal): Promise<void> {
        asked.push(sql.text);
        return super.copy(sql, signal);
      }
    }
    const reader = new Recording(openClickhouse(database));
    const figures = new CarriedFigures(reader, {
      ...{ minRows: 0, settled, finished: { minRows: 1e9 } },
      lookAhead: { share: 1, intervalMs: 20 },
    });
    const looks = () => asked.filter((text) => text.includes('system.mutations')).length;
    const running = { siteId: SITE, from: TODAY - 13 * DAY, to: NOW, filters: [] };
    const scopes = [running, { ...running, from: TODAY - 27 * DAY, to: NOW - 14 * DAY }];
    const ask = () => Promise.all(scopes.map((scope) => figures.totals(scope, never)));
    try {
      await ask();
      await ask();
      const before = await ask();
      rows = generateEvents(randomOf(8), NOW, 20).events;
      await arrive(0, 1, 0);
      // One may have begun before the events arrived.
      const last = looks() + 2;
      await expect.poll(looks).toBeGreaterThan(last);
      figures.answers.close();
      await expect.poll(() => reader.isBusy).toBe(false);
      asked.length = 0;
      const after = await ask();
      const expected = await Promise.all(scopes.map((scope) => anew.totals(scope, never)));
      expect(after.map((counts) => counts?.slice(0, 4))).toEqual(
        expected.map(({ views, visitors, sessions, bounces }) => [views, visitors, sessions, bounces]),
      );
      expect(after).not.toEqual(before);
      expect(asked.length).toBeGreaterThan(0);
      expect(asked.filter((text) => !text.includes('cell.1 AS part'))).toEqual([]);
    } finally {
      figures.answers.close();
      await reader.close();
    }
  }, 120_000);

  it('are counted anew when rows were removed', async () => {
    for (const [table, column] of [
      ['events', 'cityHash64(session_id)'],
      ['session_slots', 'session'],
    ] as const)
      await admin.command({
        query: `DELETE FROM ${table} WHERE site_id = '${SITE}' AND ${column} % 5 = 0`,
        clickhouse_settings: { lightweight_deletes_sync: '2', mutations_sync: '2' },
      });
    await compare(NOW);
  }, 120_000);
});
