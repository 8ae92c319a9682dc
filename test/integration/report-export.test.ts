import { Check } from 'typebox/value';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportRoutes } from '../../src/edge/routes/export.js';
import { Analytics } from '../../src/metrics/analytics.js';
import { shareMetrics } from '../../src/metrics/shared-metrics.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { createPostgresMetrics } from '../../src/storage/events/postgres-metrics.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { signUp, startNode } from './accounts-node.js';
import { encodeRow, makeRow } from './event-rows.js';
import { NO_HEAT } from './metrics-app.js';

const NOW = Date.parse('2026-11-02T15:00:00.000Z');
const MINUTE = 60_000;
const DAY = 86_400_000;

async function openStores(kind: 'clickhouse' | 'postgres') {
  const telemetry = silentTelemetry();
  if (kind === 'clickhouse') {
    const { url, database, drop } = await freshClickhouse();
    const clickhouse = { url, database };
    const events = createClickhouseEventStore({ clickhouse, telemetry });
    return { events, metrics: createClickhouseMetrics(clickhouse), drop };
  }
  const { url, drop } = await freshPostgres();
  const options = { url, maxConnections: 4, minConnections: 0, telemetry };
  return { events: createPostgresEventStore(options), metrics: createPostgresMetrics(options), drop };
}

describe.each(['clickhouse', 'postgres'] as const)('the file of figures on %s', (kind) => {
  let stores: Awaited<ReturnType<typeof openStores>>;
  let database: Awaited<ReturnType<typeof freshPostgres>>;
  let node: Awaited<ReturnType<typeof startNode>>;
  let routes: ReturnType<typeof exportRoutes>;
  let owner: { token: string };
  let site: { id: string; site_id: string };

  beforeAll(async () => {
    [stores, database] = await Promise.all([openStores(kind), freshPostgres()]);
    await stores.events.migrate();
    const metrics = shareMetrics(stores.metrics, { telemetry: silentTelemetry(), ttlMs: 1 });
    routes = exportRoutes({ analytics: new Analytics(metrics, NO_HEAT), clock: () => NOW });
    node = await startNode({ databaseUrl: database.url, routes: () => routes });
    await signUp(node, 'admin@example.com');
    owner = await signUp(node, 'owner@example.com');
    const { body } = await node.call('POST', '/api/v1/user/websites', {
      token: owner.token,
      body: { name: 'Shop', url: 'shop.example' },
    });
    site = body.data;
    const view = (visitor: string, page: string, ago: number, id: number) =>
      encodeRow(
        makeRow({
          ...{ kind: 1, event_type: 'pageview', visitor_id: visitor, session_id: `of ${visitor}`, page },
          ...{ site_id: site.site_id, timestamp: NOW - ago, received_at: NOW - ago },
          event_id: id.toString(16).padStart(32, '0'),
        }),
      );
    const pages = Array.from({ length: 120 }, (_, i) => view('many', `/page/${i}`, 3 * DAY - i * 1_000, i));
    const rows = [
      ...pages,
      view('a', '/', 20 * MINUTE, 1_000),
      view('b', '/=1+1', 20 * MINUTE, 1_001),
      view('b', '/', 19 * MINUTE, 1_002),
    ];
    await stores.events.insertRows('events', rows, 'all', Date.now() + 60_000);
  });
  afterAll(async () => {
    await node.stop();
    await stores.metrics.close();
    await stores.events.close();
    await Promise.all([database.drop(), stores.drop()]);
  });

  const get = async (query: string, token = owner.token) => {
    const authorization: Record<string, string> = token === '' ? {} : { authorization: `Bearer ${token}` };
    const url = `${node.url}/api/v1/analytics/export/${site.id}${query}`;
    const answer = await fetch(url, { headers: authorization });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  };

  it('is a table of five figures', async () => {
    const { status, headers, text } = await get('?days=1&format=csv');
    expect(status).toBe(200);
    expect(headers.get('content-type')).toMatch(/^text\/csv/);
    expect(headers.get('content-disposition')).toBe(`attachment; filename="analytics-${site.id}-1-days.csv"`);
    expect(text).toBe(
      'Metric,Value\nTotal Visitors,2\nUnique Visitors,2\nPage Views,3\nAvg Session Duration,30.00\nBounce Rate,50.00\n',
    );
  });

  it('is a document with lists of at most a hundred, of seven days unless told otherwise', async () => {
    const { status, headers, text } = await get('');
    expect(status).toBe(200);
    expect(headers.get('content-type')).toMatch(/^application\/json/);
    expect(headers.get('content-disposition')).toBe(
      `attachment; filename="analytics-${site.id}-7-days.json"`,
    );
    expect(text).toContain('\n  "website_id"');
    const body = JSON.parse(text);
    const schema = routes[0]?.responses[200];
    expect(schema !== undefined && Check(schema, body)).toBe(true);
    expect(body).toMatchObject({ website_id: site.site_id, period_days: 7 });
    expect(body.metrics).toMatchObject({ total_visitors: 3, page_views: 123 });
    expect(body.top_pages).toHaveLength(100);
    expect(body.top_sources).toHaveLength(1);
    expect(Math.abs(Date.parse(body.exported_at) - NOW)).toBeLessThanOrEqual(1_000);
  });

  it('takes dates, a time zone and filters', async () => {
    const dates = '?from=2026-10-30&to=2026-10-30&timezone=UTC';
    expect(JSON.parse((await get(dates)).text).metrics).toMatchObject({
      unique_visitors: 1,
      page_views: 120,
    });
    expect(JSON.parse((await get('?days=1&page_path=/=1%2B1')).text).metrics.unique_visitors).toBe(1);
    expect((await get('?days=0')).status).toBe(400);
  });

  it('is for those who may read the site', async () => {
    const stranger = await signUp(node, 'stranger@example.com');
    expect((await get('', stranger.token)).status).toBe(403);
    expect((await get('', '')).status).toBe(401);
  });
});
