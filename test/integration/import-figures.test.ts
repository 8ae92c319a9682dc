/** Figures that were computed before are right again when old events are imported, and when the import is undone. */
import { setMaxListeners } from 'node:events';
import { type ClickHouseClient, createClient } from '@clickhouse/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EventRow } from '../../src/events/row-decoder.js';
import type { MetricsStore, Scope } from '../../src/metrics/metrics-store.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createClickhouseImported } from '../../src/storage/events/transfer/clickhouse-imported.js';
import { silentTelemetry } from '../../src/telemetry.js';
import type { ImportedRows } from '../../src/transfer/imported-rows.js';
import { freshClickhouse } from '../support/fresh.js';
import { generateEvents, randomOf } from '../support/metrics-events.js';
import { encodeRow, SITE } from './event-rows.js';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const TODAY = Math.floor(Date.now() / DAY) * DAY;
const NOW = TODAY - HOUR;
const IMPORT = '0198a6c0-0000-7000-8000-000000000001';
const never = new AbortController().signal;
setMaxListeners(0, never);

let admin: ClickHouseClient;
let events: EventStore;
let imported: ImportedRows;
let warm: MetricsStore;
let anew: MetricsStore;
let drop: () => Promise<void>;
let clock = 1;

beforeAll(async () => {
  const fresh = await freshClickhouse();
  drop = fresh.drop;
  admin = createClient({ url: fresh.url, database: fresh.database });
  events = createClickhouseEventStore({ clickhouse: fresh, telemetry: silentTelemetry() });
  await events.migrate();
  imported = createClickhouseImported(fresh);
  const finished = { minRows: 0, batchRows: 3_000, isAwaited: true };
  warm = createClickhouseMetrics(fresh, { carried: { minRows: 0, clock: () => clock, finished } });
  anew = createClickhouseMetrics(fresh, { rawOnly: true });
});

afterAll(async () => {
  await Promise.all([warm?.close(), anew?.close(), imported?.close(), events?.close(), admin?.close()]);
  await drop?.();
});

const view = async (): Promise<string> => {
  const answer = await admin.query({
    query: `SELECT as_select FROM system.tables WHERE name = 'session_slots_view' AND database = currentDatabase()`,
    format: 'JSONCompactEachRow',
  });
  const [row] = await answer.json<[string]>();
  return row?.[0] ?? '';
};

/** Inserts events that were there since some hours. */
async function wereThere(rows: readonly EventRow[]): Promise<void> {
  const query = await view();
  const at = Math.floor((Date.now() - 5 * HOUR) / 1_000);
  const modify = (text: string) =>
    admin.command({
      query: `ALTER TABLE session_slots_view MODIFY QUERY ${text.replace('\uFFFD', '\\xFF')}`,
    });
  await modify(query.replace("now('UTC')", `toDateTime(${at}, 'UTC')`));
  await events.insertRows('events', rows.map(encodeRow), 'before', Date.now() + 60_000);
  await modify(query);
}

const ask = async (store: MetricsStore): Promise<unknown> => {
  clock += 60_000;
  const scopes: Scope[] = [
    { siteId: SITE, from: TODAY - 20 * DAY, to: NOW, filters: [] },
    { siteId: SITE, from: TODAY - 12 * DAY, to: TODAY - 3 * DAY, filters: [] },
  ];
  return Promise.all(
    scopes.flatMap((scope) => {
      const starts = Array.from({ length: 10 }, (_, i) => scope.from + i * DAY);
      return [
        store.totals(scope, never),
        store.returningVisitors(scope, never),
        store.timeline(scope, starts, never),
        store.breakdowns(scope, [{ attribute: 'country_code', missing: '', limit: undefined }], never),
        store.eventTypes(scope, 10, never),
        store.pages(scope, 'visitors', 5, never),
      ];
    }),
  );
};

it('figures of finished days notice an import of old events, and its end', { timeout: 120_000 }, async () => {
  const rows = generateEvents(randomOf(31), NOW, 200).events.filter(({ site_id }) => site_id === SITE);
  const old = rows.filter((_, n) => n % 3 === 0);
  await wereThere(rows.filter((_, n) => n % 3 !== 0));
  const before = await ask(anew);
  expect(await ask(warm)).toEqual(before);
  expect(await ask(warm)).toEqual(before);

  const added = old.map((row) => ({
    id: row.event_id,
    timestamp: row.timestamp,
    visitorId: row.visitor_id,
    sessionId: row.session_id,
  }));
  // A chunk may turn out to be longer than what was noted of it.
  await imported.note(SITE, IMPORT, 0, added.slice(0, 5));
  await imported.note(SITE, IMPORT, 0, added.slice(0, 5));
  await imported.note(SITE, IMPORT, 0, added.slice(5));
  expect((await imported.noted(SITE, IMPORT, 0)).size).toBe(added.length);
  await events.insertRows('events', old.map(encodeRow), 'imported', Date.now() + 60_000);
  const whole = await ask(anew);
  expect(whole).not.toEqual(before);
  expect(await ask(warm)).toEqual(whole);

  await imported.undo(SITE, IMPORT);
  expect(await ask(anew)).toEqual(before);
  expect(await ask(warm)).toEqual(before);
  const ids = added.map(({ id }) => id);
  const others = Array.from({ length: 9_000 }, (_, n) => n.toString(16).padStart(32, 'f'));
  expect((await imported.added(SITE, ['other', IMPORT], [...others, ...ids])).size).toBe(ids.length);
  expect((await imported.added(SITE, ['other'], ids)).size).toBe(0);
  expect(await imported.imports()).toEqual([{ siteId: SITE, importId: IMPORT }]);
  await imported.forget(SITE, IMPORT);
  expect(await imported.imports()).toEqual([]);
});
