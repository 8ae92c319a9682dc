/** What becomes of privacy requests when the work behind them waits or fails, over HTTP. */
import pg from 'pg';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { privacyRoutes } from '../../src/edge/routes/privacy.js';
import type { Eraser } from '../../src/privacy/eraser.js';
import { erasureMetrics } from '../../src/privacy/erasure-metrics.js';
import { createPrivacyRequests, type PrivacyRequests } from '../../src/privacy/privacy-requests.js';
import { freshPostgres } from '../support/fresh.js';
import { type Node, signUp, startNode } from './accounts-node.js';

let database: Awaited<ReturnType<typeof freshPostgres>>;
let node: Node;
let client: pg.Client;
let requests: PrivacyRequests | undefined;
let owner: { token: string; id: string };
let visitor: Eraser['visitor'];
let siteData: Eraser['siteData'];

const unasked = () => Promise.reject(new Error('not asked here'));

beforeAll(async () => {
  database = await freshPostgres();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  node = await startNode({
    databaseUrl: database.url,
    routes({ metadata, telemetry }) {
      requests = createPrivacyRequests({
        ...{ metadata, log: telemetry.log, metrics: erasureMetrics(new Registry()), waitMs: 200 },
        eraser: {
          ...{ deletedSite: unasked, anonymise: unasked },
          visitor: (...call) => visitor(...call),
          siteData: (...call) => siteData(...call),
        },
      });
      const exports = {
        account: unasked,
        visitor() {
          throw new Error('not asked here');
        },
      };
      return privacyRoutes({ requests, exports, accountExists: async () => true });
    },
  });
  owner = await signUp(node, 'owner@example.com');
});
afterAll(async () => {
  await requests?.close();
  await node?.stop();
  await client?.end();
  await database?.drop();
});

const createSite = async (): Promise<{ id: string; site_id: string }> => {
  const body = { name: 'Shop', url: 'shop.example' };
  return (await node.call('POST', '/api/v1/user/websites', { token: owner.token, body })).body.data;
};
const erase = (site: { id: string }, name: string) =>
  node.call('DELETE', `/api/v1/websites/${site.id}/visitors/${name}`, { token: owner.token });

it('removes the data of the website that an instance admin names, and of no other', async () => {
  const stranger = await signUp(node, 'stranger@example.com');
  const body = { name: 'Theirs', url: 'theirs.example' };
  const made = await node.call('POST', '/api/v1/user/websites', { token: stranger.token, body });
  const { id, site_id } = made.body.data;
  await createSite();
  const erased: string[] = [];
  siteData = async (siteId) => void erased.push(siteId);
  const remove = (token: string) => node.call('DELETE', `/api/v1/privacy/delete/website/${id}`, { token });
  expect(await remove(owner.token)).toMatchObject({ status: 200, body: { status: 'completed' } });
  expect(await remove(stranger.token)).toMatchObject({ status: 200, body: { status: 'completed' } });
  expect(erased).toEqual([site_id, site_id]);
});

it('lets twenty visitors of a site wait and no more, and those of other sites as well', async () => {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  visitor = () => held;
  const [busy, quiet] = [await createSite(), await createSite()];
  try {
    const names = Array.from({ length: 22 }, (_, n) => `visitor-${n}`);
    const answers = await Promise.all(names.map((name) => erase(busy, name)));
    const refused = answers.filter(({ status }) => status === 400);
    expect(refused.map(({ body }) => body.code)).toEqual(['limit_reached', 'limit_reached']);
    expect((await erase(quiet, 'visitor')).status).toBeLessThan(300);
    const first = answers.findIndex(({ status }) => status < 300);
    expect((await erase(busy, names[first] ?? '')).status).toBeLessThan(300);
  } finally {
    release();
  }
});

it('forgets whom it was about when it gives up', async () => {
  visitor = unasked;
  const site = await createSite();
  await client.query(
    `INSERT INTO privacy_requests (id, user_id, type, site_id, visitor_id, salt, attempts)
     VALUES (gen_random_uuid(), $1, 'delete_visitor', $2, 'ada', 'x', $3)`,
    [owner.id, site.site_id, 98],
  );
  const kept = async () =>
    (
      await client.query(
        'SELECT status, visitor_id, salt IS NOT NULL AS salted FROM privacy_requests WHERE site_id = $1',
        [site.site_id],
      )
    ).rows;
  await erase(site, 'ada');
  expect(await kept()).toEqual([{ status: 'pending', visitor_id: 'ada', salted: true }]);
  await client.query('UPDATE privacy_requests SET due_at = now() WHERE site_id = $1', [site.site_id]);
  await erase(site, 'ada');
  expect(await kept()).toEqual([{ status: 'failed', visitor_id: null, salted: false }]);
});
