/** A node with goals and funnels over one of the event stores, and a team around its sites. */
import pg from 'pg';
import { funnelRoutes } from '../../src/edge/routes/funnels.js';
import { goalRoutes } from '../../src/edge/routes/goals.js';
import type { EventRow } from '../../src/events/row-decoder.js';
import { createFunnelService } from '../../src/funnels/funnel-service.js';
import { createGoalService } from '../../src/goals/goal-service.js';
import { shareMetrics } from '../../src/metrics/shared-metrics.js';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import { createPostgresMetrics } from '../../src/storage/events/postgres-metrics.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';
import { signUp, startNode } from './accounts-node.js';
import { encodeRow, makeRow } from './event-rows.js';
import { openEventStore } from './event-stores.js';

export const STORES = ['clickhouse', 'postgres'] as const;

const openStores = (kind: (typeof STORES)[number]) =>
  openEventStore(kind, {
    clickhouse: (options) => ({ metrics: createClickhouseMetrics(options) }),
    postgres: (options) => ({ metrics: createPostgresMetrics(options) }),
  });

export type Who = 'admin' | 'owner' | 'editor' | 'viewer' | 'stranger';

/** @param now what the clock of the reports shows, ms since epoch */
export async function startConversions(kind: (typeof STORES)[number], now: number) {
  const [database, stores] = await Promise.all([freshPostgres(), openStores(kind)]);
  const metrics = shareMetrics(stores.metrics, { telemetry: silentTelemetry(), ttlMs: 1 });
  const clock = () => now;
  const node = await startNode({
    databaseUrl: database.url,
    onDeleted: (siteId) => stores.events.deleteSite(siteId),
    routes: ({ metadata: { goals, funnels }, notices }) => [
      ...goalRoutes({ goals: createGoalService({ goals, notices }), metrics, clock }),
      ...funnelRoutes({ funnels: createFunnelService({ funnels, notices }), metrics, clock }),
    ],
  });
  const sql = new pg.Client({ connectionString: database.url });
  await sql.connect();
  const tokens: Record<Who, { token: string; id: string }> = {
    // The first one becomes the instance's admin.
    admin: await signUp(node, 'admin@example.com'),
    owner: await signUp(node, 'owner@example.com'),
    editor: await signUp(node, 'editor@example.com'),
    viewer: await signUp(node, 'viewer@example.com'),
    stranger: await signUp(node, 'stranger@example.com'),
  };
  const as = (who: Who, method: string, path: string, body?: unknown) =>
    node.call(method, path, { token: tokens[who].token, ...(body === undefined ? {} : { body }) });
  let rows = 0;
  return {
    ...node,
    events: stores.events,
    sql,
    databaseUrl: database.url,
    as,
    userId: (who: Who) => tokens[who].id,

    /** A site of `owner` with `editor` and `viewer` in its team. */
    async createSite(): Promise<{ id: string; siteId: string }> {
      const { body } = await as('owner', 'POST', '/api/v1/user/websites', {
        name: 'Shop',
        url: 'shop.example',
      });
      const insert = 'INSERT INTO website_members (website_id, user_id, role) VALUES ($1, $2, $3)';
      await sql.query(insert, [body.data.id, tokens.editor.id, 'admin']);
      await sql.query(insert, [body.data.id, tokens.viewer.id, 'viewer']);
      return { id: String(body.data.id), siteId: String(body.data.site_id) };
    },

    /** Stores events of a site; a session a visitor unless told otherwise. */
    async store(siteId: string, events: readonly Partial<EventRow>[]): Promise<void> {
      const made = events.map((event) => {
        rows++;
        const visitor = event.visitor_id ?? 'v';
        const received = event.timestamp ?? now;
        const kind = event.event_type === undefined || event.event_type === 'pageview' ? 1 : 2;
        const session = `session of ${visitor}`;
        return makeRow({
          kind,
          session_id: session,
          ...event,
          visitor_id: visitor,
          site_id: siteId,
          received_at: received,
          event_id: rows.toString(16).padStart(32, '0'),
        });
      });
      await stores.events.insertRows('events', made.map(encodeRow), `block ${rows}`, Date.now() + 60_000);
    },

    async stop() {
      await node.stop();
      await sql.end();
      await stores.metrics.close();
      await stores.events.close();
      await Promise.all([database.drop(), stores.drop()]);
    },
  };
}

export type ConversionsNode = Awaited<ReturnType<typeof startConversions>>;
