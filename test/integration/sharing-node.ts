/** A node with public dashboards over one of the event stores. */
import pg from 'pg';
import { composeSharing } from '../../src/compose/sharing.js';
import { Analytics } from '../../src/metrics/analytics.js';
import { shareMetrics } from '../../src/metrics/shared-metrics.js';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import { createPostgresMetrics } from '../../src/storage/events/postgres-metrics.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { type NodeOptions, SECRET, signUp, startNode } from './accounts-node.js';
import { encodeRow, makeRow } from './event-rows.js';
import { openEventStore } from './event-stores.js';
import { NO_HEAT } from './metrics-app.js';

export type Kind = 'clickhouse' | 'postgres';

/** Both sides of a migrated event store in a database of its own. */
export const openStores = (kind: Kind) =>
  openEventStore(kind, {
    clickhouse: (options) => ({ metrics: createClickhouseMetrics(options) }),
    postgres: (options) => ({ metrics: createPostgresMetrics(options) }),
  });

export type Stores = Awaited<ReturnType<typeof openStores>>;

/** @param now what the clock of the reports shows, ms since epoch */
export async function startSharing(
  stores: Pick<Stores, 'metrics'>,
  now: number,
  options: Pick<NodeOptions, 'databaseUrl' | 'cache' | 'limits' | 'trust' | 'maxAttemptsInAll'>,
) {
  const metrics = shareMetrics(stores.metrics, { telemetry: silentTelemetry(), ttlMs: 1 });
  const sql = new pg.Client({ connectionString: options.databaseUrl });
  const node = await startNode({
    ...options,
    routes: ({ metadata, cache, sites, passwords, notifications, telemetry }) =>
      composeSharing({
        ...{ metadata, cache, telemetry, notifier: notifications, clock: () => now },
        config: { JWT_SECRET: SECRET, DATA_DIR: '' },
        accounts: { sites, passwords },
        analytics: new Analytics(metrics, NO_HEAT),
        ...(options.maxAttemptsInAll === undefined ? {} : { maxAttemptsInAll: options.maxAttemptsInAll }),
      }),
  });
  await sql.connect();
  return {
    ...node,
    sql,
    signUp: (email: string) => signUp(node, email),
    async createSite(token: string): Promise<{ id: string; siteId: string }> {
      const body = { name: 'Shop', url: 'shop.example' };
      const answer = await node.call('POST', '/api/v1/user/websites', { token, body });
      return { id: String(answer.body.data.id), siteId: String(answer.body.data.site_id) };
    },
    async stop() {
      await sql.end();
      await node.stop();
    },
  };
}

export type SharingNode = Awaited<ReturnType<typeof startSharing>>;

let rows = 0;

/** Stores page views, each of a visitor and session of its own. */
export async function storeViews(
  { events }: Pick<Stores, 'events'>,
  siteId: string,
  views: readonly { readonly page: string; readonly at: number }[],
): Promise<void> {
  const made = views.map(({ page, at }) => {
    rows++;
    return makeRow({
      ...{ kind: 1, event_type: 'pageview', page, site_id: siteId, timestamp: at, received_at: at },
      ...{ visitor_id: `visitor ${rows}`, session_id: `session ${rows}` },
      event_id: rows.toString(16).padStart(32, '0'),
    });
  });
  await events.insertRows('events', made.map(encodeRow), `views ${rows}`, Date.now() + 60_000);
}
