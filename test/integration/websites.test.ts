import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createRedisCache } from '../../src/storage/cache/redis-cache.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshName, freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const BASE = '/api/v1/user/websites';
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

let database: Awaited<ReturnType<typeof freshPostgres>>;
let client: pg.Client;
let node: Node;
const purged: string[] = [];
let purgeFails = false;
const accounts: Record<'admin' | 'owner' | 'editor' | 'viewer' | 'stranger', { token: string; id: string }> =
  {
    admin: { token: '', id: '' },
    owner: { token: '', id: '' },
    editor: { token: '', id: '' },
    viewer: { token: '', id: '' },
    stranger: { token: '', id: '' },
  };
type Who = keyof typeof accounts;

beforeAll(async () => {
  database = await freshPostgres();
  node = await startNode({
    databaseUrl: database.url,
    onDeleted: async (siteId) => {
      if (purgeFails) throw new Error('the event store is away');
      purged.push(siteId);
    },
  });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  // The first one becomes the instance's admin.
  for (const who of ['admin', 'owner', 'editor', 'viewer', 'stranger'] as const) {
    accounts[who] = await signUp(node, `${who}@example.com`);
  }
});
afterAll(async () => {
  await client.end();
  await node.stop();
  await database.drop();
});

const create = async (
  who: Who = 'owner',
  body: object = { name: 'Shop', url: 'https://www.Shop.example/x' },
) => (await node.call('POST', BASE, { token: accounts[who].token, body })).body.data;
const as = (who: Who, method: string, path: string, body?: unknown) =>
  node.call(method, path, { token: accounts[who].token, ...(body === undefined ? {} : { body }) });

/** A site of `owner` with `editor` and `viewer` in its team. */
async function createWithTeam() {
  const site = await create();
  for (const [who, role] of [
    ['editor', 'admin'],
    ['viewer', 'viewer'],
  ] as const) {
    await client.query('INSERT INTO website_members (website_id, user_id, role) VALUES ($1, $2, $3)', [
      site.id,
      accounts[who].id,
      role,
    ]);
  }
  return site;
}

describe('websites', () => {
  it('are created with all the keys of the original, and settings', async () => {
    const answer = await as('owner', 'POST', BASE, {
      name: ' My shop ',
      url: 'https://www.Shop.example:8443/path?x',
      userId: 'ignored',
    });
    expect(answer.status).toBe(201);
    expect(answer.body.message).toBe('Website created successfully');
    const { data } = answer.body;
    expect(data).toEqual({
      id: expect.stringMatching(UUID),
      site_id: expect.stringMatching(/^[0-9a-f]{24}$/),
      user_id: accounts.owner.id,
      name: 'My shop',
      url: 'shop.example',
      tracking_id: expect.stringMatching(/^ST-[0-9a-f]{16}$/),
      is_active: true,
      is_verified: false,
      automation_enabled: true,
      funnel_enabled: true,
      heatmap_enabled: true,
      heatmap_include_patterns: null,
      heatmap_exclude_patterns: null,
      replay_enabled: true,
      replay_sampling_rate: 1,
      replay_include_patterns: null,
      replay_exclude_patterns: null,
      verification_token: '',
      settings: {
        allowedOrigins: [],
        trackingEnabled: true,
        dataRetentionDays: 365,
        useIpAnonymization: false,
        ipHandling: 'drop',
        respectDoNotTrack: false,
        allowRawDataExport: false,
      },
      created_at: expect.stringMatching(/^\d{4}-.*Z$/),
      updated_at: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    const members = await client.query('SELECT role FROM website_members WHERE website_id = $1', [data.id]);
    expect(members.rows).toEqual([{ role: 'owner' }]);
  });

  it('are found by either id under either path, in any case', async () => {
    const site = await create();
    for (const id of [site.id, site.site_id, site.id.toUpperCase(), site.site_id.toUpperCase()]) {
      for (const path of [`${BASE}/${id}`, `${BASE}/by-site-id/${id}`]) {
        expect((await as('owner', 'GET', path)).body).toEqual({ data: site });
      }
    }
  });

  it('are listed in pages on demand', async () => {
    const { token } = await signUp(node, 'pages@example.com');
    for (const name of ['One', 'Two', 'Three'])
      await node.call('POST', BASE, { token, body: { name, url: `${name}.example` } });
    const first = (await node.call('GET', `${BASE}?limit=2`, { token })).body;
    const rest = (await node.call('GET', `${BASE}?limit=2&cursor=${first.next_cursor}`, { token })).body;
    const names = [...first.data, ...rest.data].map((site: { name: string }) => site.name);
    expect(names).toEqual(['Three', 'Two', 'One']);
    expect(rest.next_cursor).toBeNull();
    expect((await node.call('GET', BASE, { token })).body).not.toHaveProperty('next_cursor');
    expect((await node.call('GET', `${BASE}?cursor=junk`, { token })).body.code).toBe('invalid_parameter');
  });

  it('are listed newest first, shared ones included, [] for none', async () => {
    const first = await createWithTeam();
    const second = await create();
    const list = async (who: Who) =>
      (await as(who, 'GET', BASE)).body.data.map(({ id }: { id: string }) => id);
    expect((await list('owner')).slice(0, 2)).toEqual([second.id, first.id]);
    expect(await list('viewer')).toEqual([first.id]);
    expect((await as('stranger', 'GET', BASE)).body).toEqual({ data: [] });
  });

  it('change as the dashboard asks: both spellings, null leaves, the host stays bare', async () => {
    const site = await create();
    const change = async (body: object, id = site.id) =>
      (await as('owner', 'PUT', `${BASE}/${id}`, body)).body.data;
    expect(
      await change({
        name: 'Renamed',
        url: 'https://New.example/',
        user_id: accounts.stranger.id,
        is_active: false,
        heatmapEnabled: false,
        replay_sampling_rate: 0.25,
        replay_include_patterns: '/a\n/b*',
        heatmap_exclude_patterns: '',
        settings: {
          allowedOrigins: ['https://app.example', ' *.cdn.example ', 'https://app.example'],
          dataRetentionDays: 90,
          junk: 'x',
        },
      }),
    ).toMatchObject({
      user_id: accounts.owner.id,
      name: 'Renamed',
      url: 'new.example',
      is_active: false,
      heatmap_enabled: false,
      replay_sampling_rate: 0.25,
      replay_include_patterns: '/a\n/b*',
      heatmap_exclude_patterns: '',
      settings: {
        allowedOrigins: ['https://app.example', '*.cdn.example'],
        dataRetentionDays: 90,
        trackingEnabled: true,
      },
    });
    const after = await change(
      { name: null, is_active: true, isActive: false, settings: { respectDoNotTrack: true } },
      site.site_id,
    );
    expect(after).toMatchObject({
      name: 'Renamed',
      is_active: true,
      heatmap_enabled: false,
      settings: { dataRetentionDays: 90, respectDoNotTrack: true },
    });
    expect(Date.parse(after.updated_at)).toBeGreaterThan(Date.parse(site.updated_at));
    expect((await as('owner', 'GET', `${BASE}/${site.id}`)).body.data).toEqual(after);
    const stored = await client.query('SELECT settings FROM websites WHERE id = $1', [site.id]);
    expect(stored.rows[0].settings).not.toHaveProperty('junk');
  });

  it('disappear at once when deleted, under both ids, with their data', async () => {
    const site = await create();
    await client.query("INSERT INTO funnels (website_id, user_id, name) VALUES ($1, 'u', 'F')", [
      site.site_id,
    ]);
    expect((await as('owner', 'GET', `${BASE}/${site.site_id}`)).status).toBe(200);
    const answer = await as('owner', 'DELETE', `${BASE}/${site.id}`, { userId: 'x' });
    expect(answer).toMatchObject({ status: 200, body: { message: 'Website deleted successfully' } });
    for (const id of [site.id, site.site_id]) {
      const gone = await as('owner', 'GET', `${BASE}/${id}`);
      expect(gone).toMatchObject({
        status: 404,
        body: { code: 'website_not_found', error: 'Website not found', message: 'Website not found' },
      });
      expect((await as('owner', 'DELETE', `${BASE}/${id}`)).status).toBe(404);
    }
    expect(purged).toContain(site.site_id);
    const left = await client.query('SELECT 1 FROM funnels WHERE website_id = $1', [site.site_id]);
    expect(left.rowCount).toBe(0);
  });

  it('are purged later when the other stores were away', async () => {
    const site = await create();
    purgeFails = true;
    expect((await as('owner', 'DELETE', `${BASE}/${site.id}`)).status).toBe(200);
    expect(await node.service.resumePurges()).toBe(1);
    purgeFails = false;
    expect(await node.service.resumePurges()).toBe(0);
    expect(purged.filter((id) => id === site.site_id)).toHaveLength(1);
    expect(await node.service.resumePurges()).toBe(0);
    expect(purged.filter((id) => id === site.site_id)).toHaveLength(1);
  });

  it.each([
    ['no name', { url: 'a.example' }],
    ['a blank name', { name: ' ', url: 'a.example' }],
    ['a long name', { name: 'x'.repeat(256), url: 'a.example' }],
    ['no url', { name: 'A' }],
    ['no host', { name: 'A', url: 'https://' }],
    ['another scheme', { name: 'A', url: 'javascript://a.example' }],
    ['a host beyond the DNS', { name: 'A', url: `${'a'.repeat(250)}.example` }],
    ['NUL', { name: 'A\u0000', url: 'a.example' }],
    ['a number', { name: 1, url: 'a.example' }],
  ])('are not created with %s', async (_what, body) => {
    const answer = await as('owner', 'POST', BASE, body);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({
      error: expect.any(String),
      message: answer.body.error,
      code: expect.stringMatching(/^invalid_/),
    });
  });

  it.each([
    { replay_sampling_rate: 1.5 },
    { replay_sampling_rate: '1' },
    { is_active: 'false' },
    { url: 'a b' },
    { name: '' },
    { settings: { dataRetentionDays: 0 } },
    { settings: { dataRetentionDays: 1.5 } },
    { settings: { allowedOrigins: ['*'] } },
    { settings: { allowedOrigins: ['a b'] } },
    { settings: { allowedOrigins: Array.from({ length: 101 }, () => 'a.example') } },
    { settings: [] },
    { replay_include_patterns: 'x'.repeat(10_001) },
  ])('do not take what does not fit (%#)', async (body) => {
    const site = await create();
    expect((await as('owner', 'PUT', `${BASE}/${site.id}`, body)).status).toBe(400);
    expect((await as('owner', 'GET', `${BASE}/${site.id}`)).body.data).toEqual(site);
  });

  it.each([
    '%00',
    'x',
    '..%2f..%2fetc',
    "' OR 1=1 --",
    '%F0%9F%92%A9',
    'a'.repeat(3_000),
    `${'0'.repeat(24)}%0a`,
  ])('are not found by what cannot be an id (%#)', async (id) => {
    const { status } = await as('owner', 'GET', `${BASE}/${id}`);
    expect([400, 404, 414, 431]).toContain(status);
  });
});

describe('who may do what', () => {
  const actions = {
    read: (who: Who, id: string) => as(who, 'GET', `${BASE}/${id}`),
    write: (who: Who, id: string) => as(who, 'PUT', `${BASE}/${id}`, { name: `By ${who}` }),
    manage: (who: Who, id: string) => as(who, 'DELETE', `${BASE}/${id}`),
  };
  const allowed: [Who, (keyof typeof actions)[]][] = [
    ['owner', ['read', 'write', 'manage']],
    ['admin', ['read', 'write', 'manage']],
    ['editor', ['read', 'write']],
    ['viewer', ['read']],
    ['stranger', []],
  ];
  it.each(allowed)('%s: %j, by either id', async (who, may) => {
    for (const form of ['id', 'site_id'] as const) {
      const site = await createWithTeam();
      for (const action of ['read', 'write', 'manage'] as const) {
        const { status, body } = await actions[action](who, site[form]);
        expect(status, action).toBe(may.includes(action) ? 200 : 403);
        if (status === 403) expect(body).toMatchObject({ code: 'forbidden', error: body.message });
      }
      const left = await client.query('SELECT name FROM websites WHERE id = $1', [site.id]);
      if (may.includes('manage')) expect(left.rows).toEqual([]);
      else expect(left.rows).toEqual([{ name: may.includes('write') ? `By ${who}` : site.name }]);
    }
  });

  describe('what an owner decides about the data of visitors', () => {
    const decisions = [
      { dataRetentionDays: 1 },
      { ipHandling: 'keep' },
      { useIpAnonymization: true },
      { allowRawDataExport: true },
    ];
    it.each(decisions)('%j is changed by who may manage the site only', async (settings) => {
      const site = await createWithTeam();
      const scoped = async (scopes: readonly string[]): Promise<string> =>
        (await as('owner', 'POST', '/api/v1/user/api-keys', { name: 'x', scopes })).body.data.key;
      const keyed = { token: await scoped(['write']), body: { name: 'By key', settings } };
      const refused = [
        await as('editor', 'PUT', `${BASE}/${site.id}`, { name: 'By editor', settings }),
        await node.call('PUT', `${BASE}/${site.id}`, keyed),
      ];
      for (const { status, body } of refused) expect([status, body.code]).toEqual([403, 'forbidden']);
      expect((await as('owner', 'GET', `${BASE}/${site.id}`)).body.data).toEqual(site);
      const both = { ...keyed, token: await scoped(['write', 'manage']) };
      for (const { status, body } of [
        await node.call('PUT', `${BASE}/${site.id}`, both),
        await as('owner', 'PUT', `${BASE}/${site.id}`, { settings }),
      ])
        expect([status, body.data.settings]).toEqual([200, { ...site.settings, ...settings }]);
    });

    it('is sent along unchanged by others, whose other changes are taken', async () => {
      const site = await createWithTeam();
      await as('owner', 'PUT', `${BASE}/${site.id}`, {
        settings: { dataRetentionDays: 30, ipHandling: 'truncate', allowRawDataExport: true },
      });
      const { settings } = (await as('editor', 'GET', `${BASE}/${site.id}`)).body.data;
      const wanted = { ...settings, respectDoNotTrack: true, allowedOrigins: ['app.example'] };
      const answer = await as('editor', 'PUT', `${BASE}/${site.id}`, { settings: wanted });
      expect([answer.status, answer.body.data.settings]).toEqual([200, wanted]);
    });
  });

  it('nobody without a token', async () => {
    const site = await create();
    for (const [method, path] of [
      ['GET', BASE],
      ['POST', BASE],
      ['GET', `${BASE}/${site.id}`],
      ['PUT', `${BASE}/${site.id}`],
      ['DELETE', `${BASE}/${site.id}`],
    ] as const) {
      expect((await node.call(method, path)).status).toBe(401);
    }
  });
});

describe('what the tracker asks for at page load', () => {
  const config = (id: string, headers: Record<string, string> = {}) =>
    node.call('GET', `/api/v1/tracker/config/${id}`, {
      headers: { 'content-type': 'application/json', ...headers },
    });

  it('is the configuration with exactly the keys of the original, for either id', async () => {
    const site = await create();
    const goal =
      'INSERT INTO goals (website_id, name, type, identifier, selector) VALUES ($1, $2, $3, $4, $5)';
    await client.query(goal, [site.id, 'Buy button', 'event', 'buy', '#buy']);
    await client.query(goal, [site.id, 'No selector', 'event', 'none', null]);
    await client.query(goal, [site.id, 'Empty selector', 'event', 'empty', '']);
    await client.query(goal, [site.id, 'Page', 'pageview', '/thanks', '#x']);
    const wanted = {
      site_id: site.site_id,
      automation_enabled: true,
      funnel_enabled: true,
      heatmap_enabled: true,
      heatmap_include_patterns: null,
      heatmap_exclude_patterns: null,
      max_heatmaps: -1,
      tracked_urls: [],
      replay_enabled: true,
      replay_sampling_rate: 1,
      replay_include_patterns: null,
      replay_exclude_patterns: null,
      goals: [{ id: expect.stringMatching(UUID), name: 'buy', selector: '#buy' }],
    };
    for (const id of [site.id, site.site_id]) {
      const { status, body, headers } = await config(id, { origin: 'https://shop.example' });
      expect([status, body]).toEqual([200, wanted]);
      expect(headers.get('access-control-allow-origin')).toBe('https://shop.example');
      expect(headers.get('access-control-allow-credentials')).toBe('true');
      expect(headers.get('cache-control')).toBe('public, max-age=60');
      expect(headers.get('content-type')).toMatch(/^application\/json/);
    }
  });

  it('is given to pages of the site only: its host, subdomains and allowed origins', async () => {
    const site = await create('owner', { name: 'Shop', url: 'shop.example' });
    await as('owner', 'PUT', `${BASE}/${site.id}`, {
      settings: { allowedOrigins: ['https://www.partner.example'] },
    });
    const status = async (headers: Record<string, string>) => (await config(site.id, headers)).status;
    for (const origin of [
      'https://shop.example',
      'https://www.shop.example',
      'http://SHOP.example:8080',
      'https://blog.shop.example',
      'https://partner.example',
    ]) {
      expect(await status({ origin }), origin).toBe(200);
      expect(await status({ referer: `${origin}/page?x` }), origin).toBe(200);
    }
    expect(await status({})).toBe(200);
    for (const origin of [
      'https://evil.example',
      'https://shop.example.evil.example',
      'https://notshop.example',
      'http://localhost:3000',
    ]) {
      const answer = await config(site.id, { origin });
      expect(answer, origin).toMatchObject({
        status: 404,
        body: { code: 'website_not_found', error: 'Website not found or domain mismatch' },
      });
      // The page may read why.
      expect(answer.headers.get('access-control-allow-origin')).toBe(origin);
      expect(await status({ referer: `${origin}/` }), origin).toBe(404);
    }
    expect((await config('0'.repeat(24))).body).toMatchObject({
      error: 'Website not found or domain mismatch',
    });
  });

  it('follows a change at once, also when the site is inactive, and costs no body when it is the same', async () => {
    const site = await create();
    const first = await config(site.site_id);
    const etag = first.headers.get('etag') ?? '';
    expect(await config(site.site_id, { 'if-none-match': `"other", ${etag}` })).toMatchObject({
      status: 304,
      body: null,
    });
    await as('owner', 'PUT', `${BASE}/${site.id}`, {
      is_active: false,
      replay_enabled: false,
      heatmap_include_patterns: '/a',
    });
    const second = await config(site.site_id, { 'if-none-match': etag });
    expect(second).toMatchObject({
      status: 200,
      body: { replay_enabled: false, heatmap_include_patterns: '/a' },
    });
    expect(second.headers.get('etag')).not.toBe(etag);
  });

  it('is the list of active funnels, without their owner', async () => {
    const site = await create();
    const insert = `INSERT INTO funnels (website_id, user_id, name, is_active, created_at) VALUES ($1, 'secret owner', $2, $3, now() - $4::interval) RETURNING id`;
    const { rows } = await client.query(insert, [site.site_id, 'Checkout', true, '1 day']);
    await client.query(insert, [site.site_id, 'Paused', false, '0']);
    await client.query(insert, [site.site_id, 'Empty', true, '2 days']);
    const step =
      'INSERT INTO funnel_steps (funnel_id, name, step_order, step_type, page_path, event_type, match_type) VALUES ($1, $2, $3, $4, $5, $6, $7)';
    await client.query(step, [rows[0].id, 'Pay', 2, 'event', '', 'pay', null]);
    await client.query(step, [rows[0].id, 'Cart', 1, 'page_view', '/cart', null, 'starts_with']);
    const active = (query: string, headers: Record<string, string> = {}) =>
      node.call('GET', `/api/v1/funnels/active${query}`, { headers });
    const { status, body } = await active(`?website_id=${site.id}`, { origin: 'https://shop.example' });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      total: 2,
      funnels: [{ name: 'Checkout' }, { name: 'Empty', description: '', steps: [] }],
    });
    expect(body.funnels[0].steps).toEqual([
      {
        id: expect.any(String),
        funnelId: rows[0].id,
        name: 'Cart',
        order: 1,
        stepType: 'page_view',
        pagePath: '/cart',
        matchType: 'starts_with',
      },
      {
        id: expect.any(String),
        funnelId: rows[0].id,
        name: 'Pay',
        order: 2,
        stepType: 'event',
        eventType: 'pay',
        matchType: '',
      },
    ]);
    expect(JSON.stringify(body)).not.toContain('secret owner');
    expect(await active('')).toMatchObject({ status: 400, body: { error: 'website_id is required' } });
    expect(await active(`?website_id=${'0'.repeat(24)}`)).toMatchObject({
      status: 404,
      body: { error: 'website not found' },
    });
    expect(await active(`?website_id=${site.site_id}`, { origin: 'https://evil.example' })).toMatchObject({
      status: 403,
      body: { error: 'domain mismatch', code: 'origin_not_allowed' },
    });
    await as('owner', 'PUT', `${BASE}/${site.id}`, { funnel_enabled: false });
    expect((await active(`?website_id=${site.id}`)).body).toEqual({ funnels: [], total: 0 });
  });

  it('may be asked for from any origin, with a preflight', async () => {
    for (const path of ['tracker/config/x', 'funnels/active']) {
      const { status, headers } = await node.call('OPTIONS', `/api/v1/${path}`, {
        headers: { origin: 'https://shop.example', 'access-control-request-method': 'GET' },
      });
      expect(status).toBe(204);
      expect(headers.get('access-control-allow-origin')).toBe('https://shop.example');
    }
  });
});

describe('two nodes with one Redis', () => {
  it('know of a change at the other one', async () => {
    const prefix = `${freshName('sites')}:`;
    const open = () =>
      createRedisCache({ url: inject('servers').redis, prefix, telemetry: silentTelemetry() });
    const caches = await Promise.all([open(), open()]);
    const [one, two] = await Promise.all(
      caches.map((cache) => startNode({ databaseUrl: database.url, cache })),
    );
    if (!one || !two) throw new Error('no nodes');
    const site = await create();
    const { token } = accounts.owner;
    const path = `/api/v1/tracker/config/${site.site_id}`;
    expect((await two.call('GET', path)).body.replay_enabled).toBe(true);
    await one.call('PUT', `${BASE}/${site.id}`, { token, body: { replay_enabled: false } });
    await until(async () => (await two.call('GET', path)).body.replay_enabled === false, {
      what: 'the other node to know of the change',
      timeoutMs: 5_000,
    });
    await one.call('DELETE', `${BASE}/${site.id}`, { token });
    await until(async () => (await two.call('GET', path)).status === 404, {
      what: 'the other node to know of the deletion',
      timeoutMs: 5_000,
    });
    await Promise.all([one.stop(), two.stop()]);
    await Promise.all(caches.map((cache) => cache.close()));
  });
});
