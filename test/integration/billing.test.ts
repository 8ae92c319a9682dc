import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createUsageService, startOfMonth } from '../../src/billing/usage.js';
import { billingRoutes } from '../../src/edge/routes/billing.js';
import { ByteWriter } from '../../src/enrich/byte-writer.js';
import type { Source } from '../../src/events/frame.js';
import { chunkIdOf, readPart, writeParts } from '../../src/replays/recording-row.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createClickhouseHeat } from '../../src/storage/events/heat/clickhouse-heat.js';
import { createPostgresHeat } from '../../src/storage/events/heat/postgres-heat.js';
import { createClickhouseReplays } from '../../src/storage/events/replays/clickhouse-replays.js';
import { createPostgresReplays } from '../../src/storage/events/replays/postgres-replays.js';
import { freshPostgres } from '../support/fresh.js';
import { type Node, signUp, startNode } from './accounts-node.js';
import { encodeRowOf, makeHeatPoint } from './event-rows.js';
import { openEventStore } from './event-stores.js';

const NOW = Date.parse('2026-11-20T15:00:00.000Z');
const USAGE = '/api/v1/user/billing/usage';

const openStores = (kind: EventStore['kind']) =>
  openEventStore(kind, {
    clickhouse: (options) => ({
      heat: createClickhouseHeat(options),
      replays: createClickhouseReplays(options),
    }),
    postgres: (options) => ({ heat: createPostgresHeat(options), replays: createPostgresReplays(options) }),
  });

describe.each(['clickhouse', 'postgres'] as const)('usage on %s', (kind) => {
  let stores: Awaited<ReturnType<typeof openStores>>;
  let database: Awaited<ReturnType<typeof freshPostgres>>;
  let node: Node;

  beforeAll(async () => {
    [stores, database] = await Promise.all([openStores(kind), freshPostgres()]);
    node = await startNode({
      databaseUrl: database.url,
      routes: ({ metadata, telemetry }) => {
        const counts = metadata.accountCounts;
        const clock = () => NOW;
        const usage = createUsageService({ counts, ...stores, telemetry, clock, ttlMs: 1 });
        return billingRoutes({ usage, clock });
      },
    });
  });
  afterAll(async () => {
    await node.stop();
    await stores.heat.close();
    await stores.replays.close();
    await stores.events.close();
    await Promise.all([database.drop(), stores.drop()]);
  });

  const newSite = async (token: string): Promise<{ id: string; site_id: string }> =>
    (await node.call('POST', '/api/v1/user/websites', { token, body: { name: 'Shop', url: 'shop.example' } }))
      .body.data;
  const usageOf = async (token: string) => (await node.call('GET', USAGE, { token })).body.data.usage;
  const unlimited = (current: number) => ({ current, limit: -1, canCreate: true });
  let serial = 0;
  const nextId = () => (++serial).toString(16).padStart(32, '0');

  const book = (siteId: string, hour: number, source: Source, stored: number) =>
    stores.events.addToBooks(
      [
        {
          ...{ siteId, hour, source, stored, received: stored + 5 },
          ...{ duplicate: 1, bot: 4, rejected: 0, quarantined: 0 },
        },
      ],
      nextId(),
    );
  const point = (siteId: string, page: string) =>
    stores.events.insertRows(
      'heat_points',
      [encodeRowOf('heat_points', makeHeatPoint({ event_id: nextId(), site_id: siteId, page }))],
      nextId(),
      Date.now() + 60_000,
    );
  const record = async (siteId: string, sessionId: string, sequence: number) => {
    const out = new ByteWriter(1_024);
    const data = Buffer.from(`${sessionId} ${sequence}`);
    const chunk = {
      ...{ siteId, sessionId, sequence, receivedAt: NOW, firstMs: NOW - 1_000, lastMs: NOW, page: '/' },
      ...{ count: 1, rawBytes: 10, browser: '', os: '', device: '', countryCode: '' },
      ...{ hasFullSnapshot: true, clicks: 0, rageClicks: 0, errors: 0 },
    };
    writeParts(out, chunk, chunkIdOf(siteId, sessionId, sequence, data), data, 0);
    // Behind the length of the record and its flags.
    const part = readPart(new Uint8Array(out.take()).subarray(5));
    await stores.replays.insertParts([{ part, objectKey: 'o', offset: 0 }], nextId(), Date.now() + 60_000);
  };

  it('counts what there is on the own websites, and limits nothing', async () => {
    const [owner, other] = [await signUp(node, 'owner@x.example'), await signUp(node, 'other@x.example')];
    const nothing = await node.call('GET', USAGE, { token: owner.token });
    expect(nothing.body).toEqual({
      data: {
        ...{ id: owner.id, plan: 'self-hosted', status: 'active' },
        usage: {
          ...{ websites: unlimited(0), workflows: unlimited(0), funnels: unlimited(0) },
          ...{ heatmaps: unlimited(0), replays: unlimited(0), monthlyEvents: unlimited(0) },
        },
        features: expect.arrayContaining(['heatmaps', 'replays']),
        ...{ isActive: true, isCustomPlan: true, priceMonthly: 0 },
        currentPeriodEnd: '2026-12-01T00:00:00.000Z',
      },
    });
    const [one, two, foreign] = [
      await newSite(owner.token),
      await newSite(owner.token),
      await newSite(other.token),
    ];
    // To see a website is not to own it.
    const member = { email: 'owner@x.example', role: 'admin' };
    await node.call('POST', `/api/v1/user/websites/${foreign.id}/members`, {
      token: other.token,
      body: member,
    });
    const month = startOfMonth(NOW);
    await book(one.site_id, month, 'event', 3);
    await book(one.site_id, NOW - (NOW % 3_600_000), 'batch', 40);
    await book(two.site_id, month + 3_600_000, 'import', 500);
    await book(two.site_id, month, 'heatmap', 7_000);
    await book(two.site_id, month - 3_600_000, 'event', 60_000);
    await book(foreign.site_id, month, 'event', 900_000);
    for (const page of ['/', '/', '/a']) await point(one.site_id, page);
    for (const site of [two, foreign]) await point(site.site_id, '/');
    for (const [session, sequence] of [
      ['s', 0],
      ['s', 1],
      ['t', 0],
    ] as const)
      await record(two.site_id, session, sequence);
    await record(foreign.site_id, 'u', 0);
    const create = `INSERT INTO automations (website_id, user_id, name, trigger_type) VALUES ($1, $2, 'A', 'click')`;
    const funnel = `INSERT INTO funnels (website_id, user_id, name) VALUES ($1, $2, 'F')`;
    await sql(create, [one.site_id, owner.id]);
    await sql(create, [foreign.site_id, owner.id]);
    await sql(funnel, [one.site_id, owner.id]);
    await sql(funnel, [two.site_id, owner.id]);
    await sql(funnel, [foreign.site_id, other.id]);
    expect(await usageOf(owner.token)).toEqual({
      websites: unlimited(2),
      workflows: unlimited(1),
      funnels: unlimited(2),
      heatmaps: unlimited(3),
      replays: unlimited(2),
      monthlyEvents: unlimited(543),
    });
    expect((await usageOf(other.token)).monthlyEvents.current).toBe(900_000);
    await node.call('DELETE', `/api/v1/user/websites/${two.id}`, { token: owner.token });
    expect(await usageOf(owner.token)).toMatchObject({ websites: unlimited(1), funnels: unlimited(1) });
    expect((await node.call('GET', USAGE)).status).toBe(401);
  });

  it('has nothing to sell', async () => {
    const { token } = await signUp(node, 'buyer@x.example');
    const call = (name: string) =>
      node.call('POST', `/api/v1/user/billing/${name}`, { token, body: { plan: 'pro' } });
    expect(await call('select-free')).toMatchObject({ status: 200, body: { success: true } });
    for (const name of ['checkout', 'portal', 'cancel']) {
      const { status, body } = await call(name);
      expect([status, body.code, body.message]).toEqual([
        409,
        'conflict',
        expect.stringContaining('nothing to pay'),
      ]);
    }
  });

  async function sql(query: string, values: readonly unknown[]): Promise<void> {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query(query, [...values]);
    await client.end();
  }
});
