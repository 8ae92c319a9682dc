import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { createMemoryCache } from '../../src/storage/cache/memory-cache.js';
import { createRedisCache } from '../../src/storage/cache/redis-cache.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshName, freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const KEYS = '/api/v1/user/api-keys';
const SITES = '/api/v1/user/websites';
const KEY = /^sk_seentics_[A-Za-z0-9_-]{43}$/;
const UNKNOWN = '00000000-0000-4000-8000-000000000000';

let database: Awaited<ReturnType<typeof freshPostgres>>;
let node: Node;
let client: pg.Client;
beforeAll(async () => {
  database = await freshPostgres();
  node = await startNode({ databaseUrl: database.url });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await signUp(node, 'first@example.com');
});
afterAll(async () => {
  await client.end();
  await node.stop();
  await database.drop();
});

let accounts = 0;
let owner: { token: string; id: string };
beforeEach(async () => {
  owner = await signUp(node, `owner-${accounts++}@example.com`);
});

const createSite = async (token: string): Promise<{ id: string; site_id: string }> =>
  (await node.call('POST', SITES, { token, body: { name: 'Shop', url: 'shop.example' } })).body.data;
const make = (body: object, token = owner.token) => node.call('POST', KEYS, { token, body });
const key = async (scopes: readonly string[], more: object = {}): Promise<{ id: string; key: string }> =>
  (await make({ name: 'Reports', scopes, ...more })).body.data;
const codeOf = async (method: string, path: string, token: string, body?: object) => {
  const answer = await node.call(method, path, { token, ...(body === undefined ? {} : { body }) });
  return `${answer.status} ${answer.body?.code ?? ''}`.trim();
};

describe('API keys of an account', () => {
  it('are made, shown once, listed without their secret and deleted', async () => {
    const site = await createSite(owner.token);
    const { status, body } = await make({
      name: ' Reports ',
      scopes: ['read', 'write'],
      websites: [site.site_id, site.id],
      expires_at: '2036-01-01T00:00:00+01:00',
    });
    expect(status).toBe(201);
    const { key: secret, ...shown } = body.data;
    expect(secret).toMatch(KEY);
    expect(shown).toEqual({
      id: expect.any(String),
      name: 'Reports',
      prefix: secret.slice(0, 16),
      scopes: ['read', 'write'],
      websites: [site.id],
      created_at: expect.any(String),
      expires_at: '2035-12-31T23:00:00.000Z',
      last_used_at: null,
    });
    expect((await node.call('GET', KEYS, { token: owner.token })).body).toEqual({ data: [shown] });
    // Nothing in the database opens anything.
    const { rows } = await client.query('SELECT k::text AS line FROM api_keys k WHERE user_id = $1', [
      owner.id,
    ]);
    expect(rows).toHaveLength(1);
    expect(rows[0].line).not.toContain(secret.slice(16));

    expect(await codeOf('DELETE', `${KEYS}/${shown.id}`, owner.token)).toBe('200');
    expect(await codeOf('DELETE', `${KEYS}/${shown.id}`, owner.token)).toBe('404 not_found');
    expect((await node.call('GET', KEYS, { token: owner.token })).body).toEqual({ data: [] });
  });

  it('are nobody else’s to see, to delete or to bind to websites', async () => {
    const { id } = await key(['read']);
    const site = await createSite(owner.token);
    const stranger = await signUp(node, `stranger-${accounts}@example.com`);
    expect((await node.call('GET', KEYS, { token: stranger.token })).body.data).toEqual([]);
    expect(await codeOf('DELETE', `${KEYS}/${id}`, stranger.token)).toBe('404 not_found');
    const bound = { name: 'x', scopes: ['read'], websites: [site.id] };
    expect((await make(bound, stranger.token)).body.code).toBe('website_not_found');
    expect((await make({ ...bound, websites: [UNKNOWN] })).body.code).toBe('website_not_found');
  });

  it('need a name, known scopes and a time to come', async () => {
    for (const body of [
      { name: ' ', scopes: ['read'] },
      { name: 'x', scopes: [] },
      { name: 'x', scopes: ['admin'] },
      { name: 'x', scopes: ['read'], websites: [] },
      { name: 'x', scopes: ['read'], expires_at: 'tomorrow' },
      { name: 'x', scopes: ['read'], expires_at: '2020-01-01T00:00:00Z' },
    ]) {
      expect((await make(body)).status, JSON.stringify(body)).toBe(400);
    }
    expect(await codeOf('DELETE', `${KEYS}/x`, owner.token)).toBe('400 invalid_parameter');
  });

  it('are at most 50, also when several are made at once', async () => {
    await client.query(
      `INSERT INTO api_keys (id, user_id, name, prefix, secret_hash, scopes)
       SELECT gen_random_uuid(), $1, 'x', 'x', sha256(random()::text::bytea), '{read}' FROM generate_series(1, 48)`,
      [owner.id],
    );
    const answers = await Promise.all(Array.from({ length: 4 }, () => make({ name: 'x', scopes: ['read'] })));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, 400, 400]);
    expect(answers.find(({ status }) => status === 400)?.body.code).toBe('limit_reached');
  });

  it('are made once by a repeated request, whose secret is not shown again', async () => {
    const request = {
      token: owner.token,
      body: { name: 'x', scopes: ['read'] },
      headers: { 'idempotency-key': 'once' },
    };
    expect((await node.call('POST', KEYS, request)).status).toBe(201);
    expect((await node.call('POST', KEYS, request)).body.code).toBe('conflict');
    expect((await node.call('GET', KEYS, { token: owner.token })).body.data).toHaveLength(1);
  });
});

describe('a call with an API key', () => {
  it('is one of its account, by either header', async () => {
    const site = await createSite(owner.token);
    const { key: secret } = await key(['read']);
    for (const headers of [
      { authorization: `Bearer ${secret}` },
      { authorization: secret },
      { 'x-api-key': secret },
    ]) {
      const { status, body } = await node.call('GET', SITES, { headers });
      expect([status, body.data.map(({ id }: { id: string }) => id)]).toEqual([200, [site.id]]);
      expect((await node.call('GET', `${SITES}/${site.site_id}`, { headers })).status).toBe(200);
    }
  });

  it('may do what its scopes say and no more', async () => {
    const [read, write, manage] = [await key(['read']), await key(['write']), await key(['manage'])];
    const calls = async (secret: string) => {
      const { id } = await createSite(owner.token);
      return [
        await codeOf('GET', SITES, secret),
        await codeOf('GET', `${SITES}/${id}`, secret),
        await codeOf('PUT', `${SITES}/${id}`, secret, { name: 'x' }),
        await codeOf('POST', SITES, secret, { name: 'x', url: 'x.example' }),
        await codeOf('DELETE', `${SITES}/${id}`, secret),
      ];
    };
    const no = '403 insufficient_scope';
    expect(await calls(read.key)).toEqual(['200', '200', no, no, no]);
    expect(await calls(write.key)).toEqual([no, no, '200', no, no]);
    expect(await calls(manage.key)).toEqual([no, no, no, '201', '200']);
  });

  it('may never do what is about the account: its keys, its password, teams', async () => {
    const { id } = await createSite(owner.token);
    const { key: secret } = await key(['read', 'write', 'manage']);
    const members = `${SITES}/${id}/members`;
    const no = '403 insufficient_scope';
    expect(await codeOf('GET', KEYS, secret)).toBe(no);
    expect(await codeOf('POST', KEYS, secret, { name: 'x', scopes: ['read'] })).toBe(no);
    expect(await codeOf('DELETE', `${KEYS}/${UNKNOWN}`, secret)).toBe(no);
    expect(await codeOf('GET', '/api/v1/user/auth/me', secret)).toBe(no);
    expect(await codeOf('PUT', '/api/v1/user/users/change-password', secret, {})).toBe(no);
    expect(await codeOf('POST', members, secret, { email: 'x@example.com', role: 'viewer' })).toBe(no);
    expect(await codeOf('DELETE', `${members}/${UNKNOWN}`, secret)).toBe(no);
    expect(await codeOf('GET', members, secret)).toBe('200');
  });

  it('may never do what its account may not, then or now', async () => {
    const site = await createSite(owner.token);
    const viewer = await signUp(node, `viewer-${accounts}@example.com`);
    const { body } = await make({ name: 'x', scopes: ['read', 'write', 'manage'] }, viewer.token);
    const see = () => codeOf('GET', `${SITES}/${site.id}`, body.data.key);
    expect(await see()).toBe('403 forbidden');
    await node.call('POST', `${SITES}/${site.id}/members`, {
      token: owner.token,
      body: { email: `viewer-${accounts}@example.com`, role: 'viewer' },
    });
    expect(await see()).toBe('200');
    expect(await codeOf('PUT', `${SITES}/${site.id}`, body.data.key, { name: 'x' })).toBe('403 forbidden');
    await node.call('DELETE', `${SITES}/${site.id}/members/${viewer.id}`, { token: owner.token });
    expect(await see()).toBe('403 forbidden');
  });

  it('stays at the websites that the key is bound to, also when they are gone', async () => {
    const [one, two] = [await createSite(owner.token), await createSite(owner.token)];
    const { key: secret } = await key(['read', 'manage'], { websites: [one.site_id] });
    expect(await codeOf('GET', `${SITES}/${one.id}`, secret)).toBe('200');
    expect(await codeOf('GET', `${SITES}/${two.id}`, secret)).toBe('403 forbidden');
    expect(await codeOf('POST', SITES, secret, { name: 'x', url: 'x.example' })).toBe(
      '403 insufficient_scope',
    );
    const listed = async () => (await node.call('GET', SITES, { token: secret })).body.data;
    expect((await listed()).map(({ id }: { id: string }) => id)).toEqual([one.id]);
    expect(await codeOf('DELETE', `${SITES}/${one.id}`, secret)).toBe('200');
    expect(await listed()).toEqual([]);
    expect(await codeOf('GET', `${SITES}/${two.id}`, secret)).toBe('403 forbidden');
  });

  it('fails with a key that is expired, unknown, malformed or of an account that is gone', async () => {
    const { id, key: secret } = await key(['read']);
    const invalid = '401 invalid_token';
    expect(await codeOf('GET', SITES, `sk_seentics_${'x'.repeat(43)}`)).toBe(invalid);
    expect(await codeOf('GET', SITES, `${secret}x`)).toBe(invalid);
    expect(await codeOf('GET', SITES, 'sk_')).toBe(invalid);
    expect((await node.call('GET', SITES, { headers: { 'x-api-key': 'something' } })).body.code).toBe(
      'unauthorized',
    );
    await client.query("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $1", [id]);
    expect(await codeOf('GET', SITES, secret)).toBe(invalid);
    const gone = await key(['read']);
    await client.query('DELETE FROM users WHERE id = $1', [owner.id]);
    expect(await codeOf('GET', SITES, gone.key)).toBe(invalid);
  });

  it('is not looked up for a client that has sent many unknown ones, while keys in use go on', async () => {
    const guarded = await startNode({ databaseUrl: database.url });
    const see = async (token: string) => {
      const { status, headers, body } = await guarded.call('GET', SITES, { token });
      return { status, code: body.code, retryAfter: Number(headers.get('retry-after')) };
    };
    try {
      const [inUse, other] = [(await key(['read'])).key, (await key(['read'])).key];
      expect((await see(inUse)).status).toBe(200);
      const unknown = (n: number) => `sk_seentics_${String(n).padStart(43, 'x')}`;
      const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => see(unknown(n))));
      expect(answers.filter(({ status }) => status === 401)).toHaveLength(30);
      expect(answers.filter(({ code }) => code === 'rate_limited')).toHaveLength(10);
      // One that was found to be nobody's is known to be, without another look-up.
      expect((await see(unknown(0))).status).toBe(401);
      expect((await see(inUse)).status).toBe(200);
      const refused = await see(other);
      expect(refused.status).toBe(429);
      expect(refused.retryAfter).toBeGreaterThan(0);
      expect(refused.retryAfter).toBeLessThanOrEqual(60);
    } finally {
      await guarded.stop();
    }
  });

  it('says nothing on public routes, wherever the key stands', async () => {
    const { key: secret } = await key(['read']);
    expect(await codeOf('GET', '/api/v1/user/auth/setup-status', secret)).toBe('200');
    expect(await codeOf('GET', '/api/v1/user/auth/setup-status', 'sk_nonsense')).toBe('200');
  });

  it('is noted as the last use, in one write for many', async () => {
    const { id, key: secret } = await key(['read']);
    for (let n = 0; n < 3; n++) expect(await codeOf('GET', SITES, secret)).toBe('200');
    const used = async () => (await node.call('GET', KEYS, { token: owner.token })).body.data[0].last_used_at;
    expect(await used()).toBeNull();
    await node.keyUsage.flush();
    expect(Math.abs(Date.parse(await used()) - Date.now())).toBeLessThan(60_000);
    // An earlier use that is stored late takes nothing back.
    await client.query("UPDATE api_keys SET last_used_at = now() + interval '1 day' WHERE id = $1", [id]);
    expect(await codeOf('GET', SITES, secret)).toBe('200');
    await node.keyUsage.flush();
    expect(Date.parse(await used())).toBeGreaterThan(Date.now());
  });
});

describe('a deleted API key', () => {
  it('ends at once on its node, also when no other can be told', async () => {
    const cache = createMemoryCache({ telemetry: silentTelemetry() });
    const alone = await startNode({
      databaseUrl: database.url,
      cache: Object.assign(cache, { publish: () => Promise.reject(new Error('away')) }),
    });
    try {
      const { id, key: secret } = await key(['read']);
      const status = async () => (await alone.call('GET', SITES, { token: secret })).status;
      expect(await status()).toBe(200);
      expect((await alone.call('DELETE', `${KEYS}/${id}`, { token: owner.token })).status).toBe(200);
      expect(await status()).toBe(401);
    } finally {
      await alone.stop();
    }
  });

  it('ends at once on its node and within seconds on another', async () => {
    const telemetry = silentTelemetry();
    const open = () => createRedisCache({ url: inject('servers').redis, prefix, telemetry });
    const prefix = `${freshName('keys')}:`;
    const caches = [await open(), await open()];
    const nodes = await Promise.all(caches.map((cache) => startNode({ databaseUrl: database.url, cache })));
    const [here, there] = nodes;
    if (here === undefined || there === undefined) throw new Error('two nodes');
    try {
      const { id, key: secret } = await key(['read']);
      const status = async (at: Node) => (await at.call('GET', SITES, { token: secret })).status;
      expect([await status(here), await status(there)]).toEqual([200, 200]);
      await here.call('DELETE', `${KEYS}/${id}`, { token: owner.token });
      expect(await status(here)).toBe(401);
      const begun = Date.now();
      await until(async () => (await status(there)) === 401, { what: 'the other node to forget the key' });
      // The notice did it, not the ten seconds of the cache.
      expect(Date.now() - begun).toBeLessThan(5_000);
    } finally {
      await Promise.all(nodes.map((it) => it.stop()));
      await Promise.all(caches.map((cache) => cache.close()));
    }
  });
});
