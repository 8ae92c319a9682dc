import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { adminRoutes } from '../../src/edge/routes/admin.js';
import { AppError } from '../../src/errors.js';
import type { EventRow } from '../../src/events/row-decoder.js';
import { createInstanceStats, type InstanceStatsStore } from '../../src/metrics/instance-stats.js';
import { createSiteStats, type SiteTotalsStore } from '../../src/metrics/site-stats.js';
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
const BASE = '/api/v1/user/websites';
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
  let client: Client;
  let now = NOW;

  beforeAll(async () => {
    [stores, database] = await Promise.all([openStores(kind), freshPostgres()]);
    client = new Client({ connectionString: database.url });
    await client.connect();
    node = await startNode({
      databaseUrl: database.url,
      siteStats: createSiteStats({
        ...{ store: stores.stats, telemetry: silentTelemetry(), ttlMs: 0, waitMs: 10_000, clock: () => now },
      }),
      routes: ({ telemetry }) =>
        adminRoutes(createInstanceStats({ store: stores.stats, telemetry, ttlMs: 1, clock: () => now })),
    });
  });
  afterAll(async () => {
    await client.end();
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
        { what },
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

  it('stand beside each website, of its last 30 days', async () => {
    now = NOW;
    const { token } = await signUp(node, 'owner@x.example');
    const create = async (name: string) =>
      (await node.call('POST', BASE, { token, body: { name, url: `https://${name}.example` } })).body.data;
    const [shop, blog] = [await create('shop'), await create('blog')];
    expect(shop).not.toHaveProperty('stats');
    const first = TODAY - 29 * 86_400_000;
    const at = (visitor: string, timestamp: number, more: Partial<EventRow> = {}) =>
      event(shop.site_id, visitor, timestamp, { session_id: `of ${visitor}`, ...more });
    await store('events', [
      // Began before: its view counts, not the session.
      at('ann', first - 1),
      at('ann', first),
      at('bob', NOW - 30_000),
      at('bob', NOW, { kind: 3, event_type: 'page_exit', time_on_page: 10 }),
      at('cid', NOW - 60_000),
      // Seen whole, also after the running quarter of an hour.
      at('cid', NOW + 940_000, { kind: 3, event_type: 'scroll_depth' }),
      at('cid', NOW - 50_000),
      // The other website has the same session and visitor.
      event(blog.site_id, 'cid', NOW, { session_id: 'of cid' }),
      at('dan', NOW - 60_000, { kind: 2, event_type: 'signup' }),
    ]);
    const ofShop = {
      totalPageviews: 4,
      uniqueVisitors: 3,
      averageSessionDuration: 343.33,
      bounceRate: 33.33,
    };
    const ofBlog = { totalPageviews: 1, uniqueVisitors: 1, averageSessionDuration: 0, bounceRate: 100 };
    const list = (await node.call('GET', BASE, { token })).body.data;
    expect(list.map(({ stats }: { stats: unknown }) => stats)).toEqual([ofBlog, ofShop]);
    for (const path of [shop.id, `by-site-id/${shop.site_id}`])
      expect((await node.call('GET', `${BASE}/${path}`, { token })).body.data.stats).toEqual(ofShop);
    // A guest is listed what is shared with them, and its figures only with a role that reads.
    const guest = await signUp(node, 'guest@x.example');
    const join = (site: { id: string }, role: string) =>
      client.query('INSERT INTO website_members (website_id, user_id, role) VALUES ($1, $2, $3)', [
        ...[site.id, guest.id, role],
      ]);
    await join(shop, 'viewer');
    await join(blog, 'passer-by');
    const shared = (await node.call('GET', BASE, { token: guest.token })).body.data;
    expect(shared.map(({ name, stats }: { name: string; stats: unknown }) => [name, stats])).toEqual([
      ['blog', undefined],
      ['shop', ofShop],
    ]);
    await stores.events.deleteSite(shop.site_id);
    await stores.events.deleteSite(blog.site_id);
  });
});

describe('figures beside websites', () => {
  it('are counted once for all who ask, wait for nobody long, and are left out when they cannot be had', async () => {
    const asked: (readonly string[])[] = [];
    let answer: (views: number) => void = () => {};
    const store: SiteTotalsStore = {
      ofSites(siteIds) {
        asked.push(siteIds);
        return new Promise((resolve, reject) => {
          answer = (views) => {
            if (views < 0) reject(new Error('away'));
            else
              resolve(new Map([[ONE, { views, visitors: 2, sessions: 3, bounces: 1, durationMs: 4_500 }]]));
          };
        });
      },
    };
    const stats = createSiteStats({ store, telemetry: silentTelemetry(), ttlMs: 0, waitMs: 5 });
    expect(await stats.of([ONE, TWO])).toEqual(new Map());
    expect(await stats.of([ONE])).toEqual(new Map());
    expect(asked).toEqual([[ONE, TWO]]);
    const waiting = stats.of([ONE, TWO]);
    answer(7);
    const nothing = { totalPageviews: 0, uniqueVisitors: 0, averageSessionDuration: 0, bounceRate: 0 };
    const figures = { totalPageviews: 7, uniqueVisitors: 2, averageSessionDuration: 1.5, bounceRate: 33.33 };
    expect(Object.fromEntries(await waiting)).toEqual({ [ONE]: figures, [TWO]: nothing });
    const again = stats.of([ONE]);
    await until(() => asked.length === 2, { what: 'the second query', everyMs: 1 });
    answer(-1);
    expect(Object.fromEntries(await again)).toEqual({ [ONE]: figures });
    const many = Array.from({ length: 450 }, (_, i) => `site ${i}`);
    for (const count of [3, 4, 5]) {
      await Promise.all([stats.of(many), stats.of(many)]);
      expect(asked).toHaveLength(count);
      answer(1);
    }
    expect(asked.slice(2).map(({ length }) => length)).toEqual([200, 200, 50]);
  });

  it('are not asked for again for a minute after a failure', async () => {
    let asked = 0;
    const store: SiteTotalsStore = {
      async ofSites() {
        asked++;
        throw new AppError('storage_unavailable', 'away');
      },
    };
    const common = { store, telemetry: silentTelemetry(), ttlMs: 0 };
    const stats = createSiteStats(common);
    for (let i = 0; i < 3; i++) expect(await stats.of([ONE, TWO])).toEqual(new Map());
    expect(asked).toBe(1);
    const impatient = createSiteStats({ ...common, telemetry: silentTelemetry(), restMs: 1 });
    const tries = async () => {
      await impatient.of([ONE, TWO]);
      return asked >= 4;
    };
    await until(tries, { what: 'further queries when the time is over', everyMs: 5 });
  });

  it.each(['query_too_expensive', 'timeout'] as const)(
    'are had of the others where one website is too large (%s), which is asked for alone from then on',
    async (code) => {
      const asked: (readonly string[])[] = [];
      const store: SiteTotalsStore = {
        async ofSites(siteIds) {
          asked.push(siteIds);
          if (siteIds.includes(ONE)) throw new AppError(code, 'too much');
          return new Map();
        },
      };
      const many = Array.from({ length: 199 }, (_, i) => `site ${i}`);
      const sites = [...many.slice(0, 60), ONE, ...many.slice(60)];
      const stats = createSiteStats({
        ...{ store, telemetry: silentTelemetry(), ttlMs: 0, waitMs: 10_000, restMs: 0 },
      });
      expect([...(await stats.of(sites)).keys()].sort()).toEqual([...many].sort());
      const first = asked.splice(0);
      expect(first.length).toBeLessThan(20);
      expect(first.filter((ids) => ids.includes(ONE)).map(({ length }) => length)).toEqual([
        ...[200, 100, 50, 25, 13, 6, 3, 2, 1],
      ]);
      const again = async () => {
        expect((await stats.of(sites)).size).toBe(199);
        return asked.some((ids) => ids.includes(ONE));
      };
      await until(again, { what: 'the large one being asked for again', everyMs: 5 });
      expect(asked.filter((ids) => ids.includes(ONE))).toEqual([[ONE]]);
    },
  );

  it('are given up after two minutes of parts, and left alone for long where failing takes long', async () => {
    let [ms, asked] = [0, 0];
    const now = vi.spyOn(performance, 'now').mockImplementation(() => ms);
    try {
      const store: SiteTotalsStore = {
        async ofSites() {
          asked++;
          ms += 30_000;
          throw new AppError('timeout', 'too long');
        },
      };
      const stats = createSiteStats({ store, telemetry: silentTelemetry(), waitMs: 10_000 });
      await stats.of(Array.from({ length: 200 }, (_, i) => `site ${i}`));
      expect(asked).toBe(4);
      // Among others first, and then alone.
      await stats.of([ONE]);
      expect(asked).toBe(6);
      ms += 599_999;
      await stats.of([ONE]);
      expect(asked).toBe(6);
      ms += 1;
      await stats.of([ONE]);
      expect(asked).toBe(7);
    } finally {
      now.mockRestore();
    }
  });

  it('are had of others at once while a large website is counted alone, which rests as long as it took', async () => {
    let ms = 0;
    const now = vi.spyOn(performance, 'now').mockImplementation(() => ms);
    try {
      const asked: (readonly string[])[] = [];
      let isSlow = false;
      const store: SiteTotalsStore = {
        ofSites(siteIds) {
          asked.push(siteIds);
          if (siteIds.includes(ONE)) ms += 3_000;
          return isSlow && siteIds.includes(ONE) ? new Promise(() => {}) : Promise.resolve(new Map());
        },
      };
      const stats = createSiteStats({ store, telemetry: silentTelemetry(), ttlMs: 1_000, waitMs: 50 });
      const look = async (...sites: readonly string[]) => {
        expect([...(await stats.of(sites)).keys()]).toEqual(sites);
        return asked.splice(0);
      };
      expect(await look(ONE, TWO, 'c')).toEqual([[ONE, TWO, 'c']]);
      expect(await look(ONE, TWO, 'c')).toEqual([[ONE, TWO], ['c']]);
      expect(await look(ONE, TWO)).toEqual([[ONE], [TWO]]);
      isSlow = true;
      ms += 59_999;
      expect(await look(ONE, TWO, 'd')).toEqual([[TWO, 'd']]);
      ms += 1;
      // What is known is answered while it is counted anew.
      expect(await look(ONE)).toEqual([[ONE]]);
      expect(await look(ONE, 'e')).toEqual([['e']]);
    } finally {
      now.mockRestore();
    }
  });
});

describe('totals over all websites', () => {
  it('are counted once for all who ask, again when they are old or the day is over, and after a failure', async () => {
    let [asked, now, fails] = [0, NOW, false];
    const store: Pick<InstanceStatsStore, 'totals'> = {
      async totals() {
        asked++;
        if (fails) throw new Error('away');
        return { events: asked, pageViews: 0, eventsToday: 0, visitorsToday: 0 };
      },
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
