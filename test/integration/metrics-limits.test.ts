import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MetricsStore, Scope } from '../../src/metrics/metrics-store.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { createPostgresMetrics } from '../../src/storage/events/postgres-metrics.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';
import { encodeRow, makeRow, SITE } from './event-rows.js';

const scope: Scope = { siteId: SITE, from: 0, to: Date.now(), filters: [] };
const BIG = '85f1a2b3c4d5e6f708192a3d';
const never = new AbortController().signal;
/** Thirty million rows of nothing: a query over them takes seconds. */
const MANY = 30_000_000;

describe('ClickHouse', () => {
  let fresh: Awaited<ReturnType<typeof freshClickhouse>>;
  const admin = () =>
    createClient({ url: fresh.url, database: fresh.database, log: { level: ClickHouseLogLevel.OFF } });

  beforeAll(async () => {
    fresh = await freshClickhouse();
    const store = createClickhouseEventStore({ clickhouse: fresh, telemetry: silentTelemetry() });
    await store.migrate();
    await store.close();
    // A table as big as none of a test, at no cost: what is read from it is made up while reading.
    const client = admin();
    await client.command({ query: 'RENAME TABLE session_slots TO small_slots' });
    await client.command({
      query: `CREATE VIEW session_slots AS SELECT '${SITE}' AS site_id, toDateTime(now() - 3600, 'UTC') AS slot,
          number AS session, number AS visitor, now64(3, 'UTC') AS first_ts, first_ts AS last_ts, first_ts AS last_view,
          toUInt32(1) AS page_views, toUInt32(0) AS customs, toUInt64(0) AS last_exit, [first_ts] AS view_ts,
          '' AS place, '' AS agent, '' AS source, [''] AS view_page,
          [first_ts] AS custom_ts, [''] AS custom_type, toDateTime(now(), 'UTC') AS arrived
        FROM numbers(${MANY})`,
    });
    await client.close();
  });
  afterAll(() => fresh.drop());

  const running = async (): Promise<number> => {
    const client = admin();
    const answer = await client.query({
      query: `SELECT count() FROM system.processes WHERE current_database = currentDatabase() AND query NOT LIKE '%system.processes%'`,
      format: 'JSONCompactEachRow',
    });
    const rows = await answer.json<[string]>();
    await client.close();
    return Number(rows[0]?.[0]);
  };

  it('ends a query when its caller leaves', async () => {
    const store = createClickhouseMetrics(fresh);
    const caller = new AbortController();
    const asked = store.totals(scope, caller.signal);
    asked.catch(() => {});
    await until(async () => (await running()) > 0, { what: 'the query to run', everyMs: 5 });
    caller.abort(new Error('gone'));
    await expect(asked).rejects.toThrow('gone');
    await until(async () => (await running()) === 0, { what: 'the query to end' });
    await store.close();
  });

  it('ends a query that takes too long or too much', async () => {
    const slow = createClickhouseMetrics(fresh, { maxExecutionMs: 300 });
    await expect(slow.totals(scope, never)).rejects.toMatchObject({ code: 'timeout' });
    await slow.close();
    const greedy = createClickhouseMetrics(fresh, { maxMemoryBytes: 20_000_000 });
    await expect(greedy.totals(scope, never)).rejects.toMatchObject({ code: 'query_too_expensive' });
    await greedy.close();
  });

  it('says so when the server is away', async () => {
    const store = createClickhouseMetrics({ url: 'http://127.0.0.1:1' });
    await expect(store.live(SITE, 0, never)).rejects.toMatchObject({ code: 'storage_unavailable' });
    await store.close();
  });
});

describe('Postgres', () => {
  let fresh: Awaited<ReturnType<typeof freshPostgres>>;
  const stores: MetricsStore[] = [];
  const own = () => ({ url: fresh.url, maxConnections: 2, minConnections: 0, telemetry: silentTelemetry() });
  const open = (options: { maxExecutionMs?: number } = {}): MetricsStore => {
    const store = createPostgresMetrics({ ...own(), ...options });
    stores.push(store);
    return store;
  };
  const administer = async (sql: string): Promise<unknown[]> => {
    const client = new pg.Client({ connectionString: fresh.url });
    await client.connect();
    const { rows } = await client.query<Record<string, unknown>>(sql);
    await client.end();
    return rows;
  };

  beforeAll(async () => {
    fresh = await freshPostgres();
    const store = createPostgresEventStore(own());
    await store.migrate();
    await store.close();
    await administer('ALTER TABLE events RENAME TO small_events');
    await administer(`CREATE VIEW events AS
      SELECT '${SITE}' AS site_id, number::text AS session_id, 'v' AS visitor_id, 1 AS kind, 'pageview' AS event_type, '/' AS page,
        0 AS time_on_page, now() - interval '1 day' AS timestamp, now() AS received_at
      FROM generate_series(1, ${MANY}) AS number`);
  });
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await fresh.drop();
  });

  const running = async (): Promise<number> =>
    (
      await administer(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()",
      )
    ).length;

  it('ends a query when its caller leaves', async () => {
    const store = open();
    const caller = new AbortController();
    const asked = store.totals(scope, caller.signal);
    asked.catch(() => {});
    await until(async () => (await running()) > 0, { what: 'the query to run', everyMs: 5 });
    caller.abort(new Error('gone'));
    await expect(asked).rejects.toThrow('gone');
    await until(async () => (await running()) === 0, { what: 'the query to end' });
  });

  it('finds the latest of more properties than fit into memory', async () => {
    const { from, to, filters } = scope;
    const big = { siteId: BIG, from, to, filters };
    const store = open();
    await administer('ALTER VIEW events RENAME TO many_events; ALTER TABLE small_events RENAME TO events');
    const event = makeRow({ site_id: BIG, kind: 2, event_type: 'sign', properties: '{"a":1}' });
    const events = createPostgresEventStore(own());
    await events.insertRows('events', [encodeRow(event)], 'big', Date.now() + 60_000);
    await events.close();
    // Compressed they are small; 140 of 8 MB in one array are more than Postgres can have.
    const others = Object.keys(event).filter((name) => !/event_id|timestamp|properties/.test(name));
    const copy = `INSERT INTO events (event_id, timestamp, properties, ${others.join(', ')})`;
    await administer(`${copy} SELECT gen_random_uuid(), timestamp - interval '1 hour', repeat('x', 8000000), ${others.join(', ')}
      FROM events WHERE site_id = '${BIG}'`);
    await administer(`${copy} SELECT gen_random_uuid(), timestamp - interval '1 second' * number, properties, ${others.join(', ')}
      FROM events, generate_series(1, 140) AS number WHERE site_id = '${BIG}' AND length(properties) > 10`);
    const counts = { count: 142, visitors: 1, properties: '{"a":1}' };
    expect(await store.eventTypes(big, 10, never)).toEqual([{ type: 'sign', ...counts }]);
    expect(await store.goals(big, [{ on: 'event', type: 'sign' }], never)).toEqual([counts]);
    await administer('ALTER TABLE events RENAME TO small_events; ALTER VIEW many_events RENAME TO events');
  });

  it('ends a query that takes too long', async () => {
    const store = open({ maxExecutionMs: 300 });
    await expect(store.totals(scope, never)).rejects.toMatchObject({ code: 'timeout' });
  });
});
