import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adminRoutes } from '../../src/edge/routes/admin.js';
import type { EventRow } from '../../src/events/row-decoder.js';
import { createInstanceStats, type InstanceStatsStore } from '../../src/metrics/instance-stats.js';
import { createClickhouseInstanceStats } from '../../src/storage/events/clickhouse-instance-stats.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createPostgresInstanceStats } from '../../src/storage/events/postgres-instance-stats.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';
import { type Node, signUp, startNode } from './accounts-node.js';
import { encodeRowOf, makeRow } from './event-rows.js';
import { openEventStore } from './event-stores.js';

const TODAY = Date.parse('2026-11-20T00:00:00.000Z');
const NOW = TODAY + 15 * 3_600_000;
const PATH = '/api/v1/admin/analytics/stats';
const [ONE, TWO] = ['a'.repeat(24), 'b'.repeat(24)];

const openStores = (kind: EventStore['kind']) =>
  openEventStore(kind, {
    clickhouse: (options) => ({ stats: createClickhouseInstanceStats(options) }),
    postgres: (options) => ({ stats: createPostgresInstanceStats(options) }),
  });

describe.each(['clickhouse', 'postgres'] as const)('totals over all websites on %s', (kind) => {
  let stores: Awaited<ReturnType<typeof openStores>>;
  let database: Awaited<ReturnType<typeof freshPostgres>>;
  let node: Node;
  let now = NOW;

  beforeAll(async () => {
    [stores, database] = await Promise.all([openStores(kind), freshPostgres()]);
    node = await startNode({
      databaseUrl: database.url,
      routes: ({ telemetry }) =>
        adminRoutes(createInstanceStats({ store: stores.stats, telemetry, ttlMs: 1, clock: () => now })),
    });
  });
  afterAll(async () => {
    await node.stop();
    await stores.stats.close();
    await stores.events.close();
    await Promise.all([database.drop(), stores.drop()]);
  });

  let serial = 0;
  const store = (table: 'events' | 'bot_events', rows: readonly Partial<EventRow>[]) =>
    stores.events.insertRows(
      table,
      rows.map((row) => {
        const event_id = (++serial).toString(16).padStart(32, '0');
        return encodeRowOf(table, makeRow({ event_id, received_at: row.timestamp ?? NOW, ...row }));
      }),
      `block ${++serial}`,
      Date.now() + 60_000,
    );
  const event = (site_id: string, visitor_id: string, timestamp: number, more: Partial<EventRow> = {}) => ({
    ...{ site_id, visitor_id, timestamp, kind: 1, event_type: 'pageview' },
    ...more,
  });

  it('are counted for the admin of the instance, and for nobody else', async () => {
    const admin = await signUp(node, 'admin@x.example');
    const other = await signUp(node, 'other@x.example');
    const stats = async () => (await node.call('GET', PATH, { token: admin.token })).body;
    /** An answer serves for some time. */
    const become = async (total: number) => {
      const what = `${total} events`;
      return until(
        async () => {
          const answer = await stats();
          return answer.total_events === total && answer;
        },
        { what, timeoutMs: 20_000 },
      );
    };
    expect(await stats()).toEqual({
      ...{ total_events: 0, events_today: 0, unique_visitors_today: 0, total_pageviews: 0 },
    });
    await store('events', [
      event(ONE, 'ann', NOW),
      event(ONE, 'ann', NOW - 60_000),
      event(ONE, 'bob', TODAY),
      event(ONE, 'bob', TODAY - 1),
      event(TWO, 'ann', NOW, { kind: 2, event_type: 'signup' }),
      // Sent late: it did not happen today. Received a moment before midnight by our clock: it did.
      event(TWO, 'cid', TODAY - 7_200_000, { received_at: NOW }),
      event(TWO, 'dan', TODAY + 20_000, { received_at: TODAY - 10_000 }),
    ]);
    await store('bot_events', [event(ONE, 'bot', NOW)]);
    expect(await become(7)).toEqual({
      ...{ total_events: 7, events_today: 5, unique_visitors_today: 4, total_pageviews: 6 },
    });
    await stores.events.deleteSite(TWO);
    expect(await become(4)).toEqual({
      ...{ total_events: 4, events_today: 3, unique_visitors_today: 2, total_pageviews: 4 },
    });
    now = NOW + 86_400_000;
    expect(await stats()).toMatchObject({ total_events: 4, events_today: 0, unique_visitors_today: 0 });
    const refused = await node.call('GET', PATH, { token: other.token });
    expect([refused.status, refused.body.code]).toEqual([403, 'forbidden']);
    expect((await node.call('GET', PATH)).status).toBe(401);
  });
});

describe('totals over all websites', () => {
  it('are counted once for all who ask, again when they are old or the day is over, and after a failure', async () => {
    let [asked, now, fails] = [0, NOW, false];
    const store: InstanceStatsStore = {
      async totals() {
        asked++;
        if (fails) throw new Error('away');
        return { events: asked, pageViews: 0, eventsToday: 0, visitorsToday: 0 };
      },
      close: async () => {},
    };
    const stats = createInstanceStats({
      ...{ store, telemetry: silentTelemetry(), ttlMs: 60_000, clock: () => now },
    });
    const both = await Promise.all([stats.totals(), stats.totals()]);
    expect(both.map(({ events }) => events)).toEqual([1, 1]);
    expect((await stats.totals()).events).toBe(1);
    now += 86_400_000;
    fails = true;
    await expect(stats.totals()).rejects.toThrow('away');
    fails = false;
    expect((await stats.totals()).events).toBe(3);
  });
});
