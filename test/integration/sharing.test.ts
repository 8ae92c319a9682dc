import { Check } from 'typebox/value';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { sharingRoutes } from '../../src/edge/routes/sharing.js';
import { createRedisCache } from '../../src/storage/cache/redis-cache.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshName, freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';
import type { Answer } from './accounts-node.js';
import { openStores, type SharingNode, type Stores, startSharing, storeViews } from './sharing-node.js';

const NOW = Date.parse('2026-11-02T15:00:00.000Z');
const MINUTE = 60_000;
const PASSWORD = 'open sesame, please';
const OWNER = 'owner.of.the.shop@example.com';

const nobody = () => Promise.reject(new Error('only its declaration is used'));
const [, , , declared] = sharingRoutes({
  sharing: { get: nobody, change: nobody, open: nobody, unlock: nobody },
  reports: { of: nobody },
});

describe.each(['clickhouse', 'postgres'] as const)('public dashboards on %s', (kind) => {
  let stores: Stores;
  let database: Awaited<ReturnType<typeof freshPostgres>>;
  let node: SharingNode;
  let admin: { token: string; id: string };
  let owner: { token: string; id: string };

  beforeAll(async () => {
    [stores, database] = await Promise.all([openStores(kind), freshPostgres()]);
    node = await startSharing(stores, NOW, {
      ...{ databaseUrl: database.url, trust: ['loopback'], maxAttemptsInAll: 20 },
    });
    admin = await node.signUp('instance@example.com');
    owner = await node.signUp(OWNER);
  });
  afterAll(async () => {
    await node.stop();
    await stores.metrics.close();
    await stores.events.close();
    await Promise.all([database.drop(), stores.drop()]);
  });

  const share = async (site: { id: string }, body: object, at: Pick<SharingNode, 'call'> = node) =>
    (await at.call('PUT', `/api/v1/websites/${site.id}/sharing`, { token: owner.token, body })).body.data;
  const look = (id: string, query = '', token = '', at: Pick<SharingNode, 'call'> = node): Promise<Answer> =>
    at.call('GET', `/api/v1/public/analytics/${id}${query}`, {
      headers: token === '' ? {} : { 'x-share-token': token },
    });
  const unlock = (id: string, password: string, from = '127.0.0.1') =>
    node.call('POST', `/api/v1/public/analytics/${id}/access`, {
      body: { password },
      headers: { 'x-forwarded-for': from },
    });
  const outcome = ({ status, body }: Answer) => [status, body.code];
  const newSite = () => node.createSite(owner.token);

  it('show the figures at both addresses, and nothing of whose they are', async () => {
    const site = await newSite();
    await storeViews(stores, site.siteId, [
      { page: '/', at: NOW - 20 * MINUTE },
      { page: '/pricing', at: NOW - 10 * MINUTE },
      { page: '/', at: NOW - MINUTE },
      { page: '/old', at: NOW - 40 * 24 * 60 * MINUTE },
    ]);
    const { public_id, share_path } = await share(site, { enabled: true });
    expect(share_path).toBe(`/share/${public_id}`);
    const answer = await look(public_id);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toMatch(/^public, max-age=([1-9]|1\d)$/);
    expect(answer.body).toMatchObject({
      website_id: public_id,
      page_views: 3,
      unique_visitors: 3,
      live_visitors: 1,
      date_range: 7,
      top_pages: {
        top_pages: [
          { page: '/', visitors: 2 },
          { page: '/pricing', visitors: 1 },
        ],
      },
      top_sources: { top_referrers: [{ page_views: 3 }] },
      top_countries: { top_countries: [{ page_views: 3 }] },
      top_devices: { top_devices: [{ page_views: 3 }] },
      web_vitals: [],
    });
    expect(answer.body.daily_stats.daily_stats).toHaveLength(7);
    expect(answer.body.hourly_stats.hourly_stats).toHaveLength(24);
    const schema = declared?.responses[200];
    expect(schema !== undefined && Check(schema, answer.body)).toBe(true);
    const text = JSON.stringify(answer.body);
    for (const secret of [OWNER, owner.id, site.id, site.siteId, 'shop.example', 'settings'])
      expect(text).not.toContain(secret);
    const other = await node.call('GET', `/api/v1/analytics/public/dashboard/${public_id}?days=7`);
    expect(other.body).toEqual(answer.body);
    expect((await look(public_id, '?days=90')).body).toMatchObject({ page_views: 4, date_range: 90 });
  });

  it('show at most ninety days', async () => {
    const { public_id } = await share(await newSite(), { enabled: true });
    for (const days of ['91', '3650', '0', '-1', 'x'])
      expect(outcome(await look(public_id, `?days=${days}`))).toEqual([400, 'invalid_parameter']);
    expect(outcome(await look(public_id, '?timezone=Nowhere/Land'))).toEqual([400, 'invalid_parameter']);
  });

  it('are switched by whoever manages the site', async () => {
    const site = await newSite();
    const path = `/api/v1/websites/${site.siteId}/sharing`;
    const off = {
      website_id: site.id,
      enabled: false,
      public_id: null,
      share_path: null,
      has_password: false,
      created_at: null,
      updated_at: null,
    };
    expect((await node.call('GET', path, { token: owner.token })).body).toEqual({ data: off });
    for (const role of ['admin', 'viewer', null]) {
      const { token } = await node.signUp(`${role}-${site.siteId}@example.com`);
      const body = { email: `${role}-${site.siteId}@example.com`, role };
      if (role !== null) {
        const added = await node.call('POST', `/api/v1/user/websites/${site.id}/members`, {
          token: owner.token,
          body,
        });
        expect(added.status).toBe(201);
      }
      for (const [method, change] of [['GET'], ['PUT', { enabled: true }]] as const) {
        const answer = await node.call(method, path, {
          token,
          ...(change === undefined ? {} : { body: change }),
        });
        expect(outcome(answer), `${method} by ${role}`).toEqual([403, 'forbidden']);
      }
    }
    expect((await node.call('GET', path)).status).toBe(401);
    const on = await node.call('PUT', path, { token: admin.token, body: { enabled: true } });
    expect(on.body.data).toMatchObject({ enabled: true, has_password: false });
    expect(on.body.data.public_id).toMatch(/^[\w-]{22,}$/);
    expect((await node.call('GET', path, { token: owner.token })).body).toEqual(on.body);
  });

  it('die with their link: rotated, switched off, the site inactive or deleted, all with one answer', async () => {
    const site = await newSite();
    const first = (await share(site, { enabled: true })).public_id;
    expect((await share(site, { enabled: true })).public_id).toBe(first);
    expect((await look(first)).status).toBe(200);
    const second = (await share(site, { enabled: true, rotate: true })).public_id;
    const gone: Answer[] = [await look(first), await look('x'), await look('A'.repeat(32))];
    expect((await look(second)).status).toBe(200);
    await share(site, { enabled: false });
    gone.push(await look(second), await unlock(second, PASSWORD));
    const third = (await share(site, { enabled: true })).public_id;
    gone.push(await look(second));
    expect((await look(third)).status).toBe(200);
    const change = (body: object) =>
      node.call('PUT', `/api/v1/user/websites/${site.id}`, { token: owner.token, body });
    await change({ is_active: false });
    gone.push(await look(third));
    await change({ is_active: true });
    expect((await look(third)).status).toBe(200);
    await node.call('DELETE', `/api/v1/user/websites/${site.id}`, { token: owner.token });
    gone.push(await look(third));
    expect(new Set([first, second, third]).size).toBe(3);
    for (const answer of gone) {
      expect([answer.status, answer.body]).toEqual([404, gone[0]?.body]);
      expect(answer.headers.get('cache-control')).toBe('no-store');
    }
    expect(gone[0]?.body.code).toBe('not_found');
  });

  it('ask for their password, never with 401, and open for whoever knew it', async () => {
    const site = await newSite();
    const { public_id, has_password } = await share(site, { enabled: true, password: PASSWORD });
    expect(has_password).toBe(true);
    expect(outcome(await look(public_id))).toEqual([403, 'password_required']);
    expect(outcome(await unlock(public_id, 'something else'))).toEqual([400, 'invalid_credentials']);
    const opened = await unlock(public_id, PASSWORD);
    expect(opened.status).toBe(200);
    expect(Date.parse(opened.body.expires_at) - Date.now()).toBeLessThanOrEqual(3_600_000);
    const { token } = opened.body;
    const answer = await look(public_id, '', token);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toBe('private, no-store');
    for (const wrong of [`${token}x`, 'x.y', '', '.', 'zzzzzzzzz.'.concat(token.split('.')[1])])
      expect(outcome(await look(public_id, '', wrong))).toEqual([403, 'password_required']);

    const other = await share(await newSite(), { enabled: true, password: PASSWORD });
    expect(outcome(await look(other.public_id, '', token))).toEqual([403, 'password_required']);
    await share(site, { enabled: true, password: PASSWORD });
    expect(outcome(await look(public_id, '', token))).toEqual([403, 'password_required']);
    const again = (await unlock(public_id, PASSWORD)).body.token;
    const rotated = (await share(site, { enabled: true, rotate: true })).public_id;
    expect(outcome(await look(rotated, '', again))).toEqual([403, 'password_required']);
    expect((await share(site, { enabled: true, password: null })).has_password).toBe(false);
    expect((await look(rotated)).status).toBe(200);

    const { rows } = await node.sql.query('SELECT password_hash FROM site_shares WHERE public_id = $1', [
      other.public_id,
    ]);
    expect(rows[0].password_hash).toMatch(/^\$argon2id\$/);
    const short = await node.call('PUT', `/api/v1/websites/${site.id}/sharing`, {
      token: owner.token,
      body: { enabled: true, password: 'short' },
    });
    expect(short.status).toBe(400);
  });

  it('let nobody guess for long', async () => {
    const { public_id } = await share(await newSite(), { enabled: true, password: PASSWORD });
    const answers: number[] = [];
    for (let i = 0; i < 11; i++) answers.push((await unlock(public_id, `guess ${i}`)).status);
    expect(answers).toEqual([...Array.from({ length: 10 }, () => 400), 429]);
    expect(outcome(await unlock(public_id, PASSWORD))).toEqual([429, 'rate_limited']);
  });

  it('open for everybody who knows the password, however many there are and whoever guesses', async () => {
    const { public_id } = await share(await newSite(), { enabled: true, password: PASSWORD });
    const status = async (...call: [password: string, from: string]) =>
      (await unlock(public_id, ...call)).status;
    for (let i = 0; i < 25; i++) expect(await status(PASSWORD, `192.0.2.${i}`)).toBe(200);
    for (let i = 0; i < 20; i++) expect(await status('wrong password', `198.51.${i % 5}.${i}`)).toBe(400);
    expect(await status('wrong password', '198.51.0.99')).toBe(429);
    expect(await status(PASSWORD, '192.0.2.1')).toBe(200);
  });

  it('are told to the owner once for each link', async () => {
    const { token } = await node.signUp(`told-${kind}@example.com`);
    const site = await node.createSite(token);
    const path = `/api/v1/websites/${site.id}/sharing`;
    await node.call('PUT', path, { token, body: { enabled: true } });
    await node.call('PUT', path, { token, body: { enabled: true, password: PASSWORD } });
    const list = await until(
      async () => {
        const { body } = await node.call('GET', '/api/v1/user/notifications', { token });
        return body.length > 0 && body;
      },
      { what: 'the notification' },
    );
    expect(list).toEqual([
      expect.objectContaining({ type: 'site_shared', is_read: false, link: `/websites/${site.id}` }),
    ]);
  });
});

describe('public dashboards on several nodes', () => {
  it('die on all of them within seconds, and have a limit of requests of their own', async () => {
    const prefix = `${freshName('sharing')}:`;
    const open = () =>
      createRedisCache({ url: inject('servers').redis, prefix, telemetry: silentTelemetry() });
    const [stores, database, ...caches] = await Promise.all([
      openStores('postgres'),
      freshPostgres(),
      open(),
      open(),
    ]);
    const [one, two] = await Promise.all(
      caches.map((cache) =>
        startSharing(stores, NOW, { databaseUrl: database.url, cache, limits: { public: 30 } }),
      ),
    );
    if (!one || !two) throw new Error('no nodes');
    const { token } = await one.signUp('owner@example.com');
    const site = await one.createSite(token);
    const change = (body: object) => one.call('PUT', `/api/v1/websites/${site.id}/sharing`, { token, body });
    const { public_id } = (await change({ enabled: true })).body.data;
    const look = (node: SharingNode) => node.call('GET', `/api/v1/public/analytics/${public_id}`);
    expect((await look(two)).status).toBe(200);
    await change({ enabled: false });
    expect((await look(one)).status).toBe(404);
    await until(async () => (await look(two)).status === 404, {
      what: 'the other node to know that the link is dead',
      timeoutMs: 4_000,
    });
    const limited = await until(
      async () => {
        const answer = await look(one);
        return answer.status === 429 && answer;
      },
      { what: 'the limit' },
    );
    expect(limited.headers.get('x-ratelimit-limit')).toBe('30');
    expect((await change({ enabled: false })).status).toBe(200);
    await Promise.all([one.stop(), two.stop()]);
    await Promise.all(caches.map((cache) => cache.close()));
    await stores.metrics.close();
    await stores.events.close();
    await Promise.all([database.drop(), stores.drop()]);
  });
});
