import bcrypt from 'bcryptjs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createRedisCache } from '../../src/storage/cache/redis-cache.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshName, freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const PREFIXES = ['/api/v1/auth', '/api/v1/user/auth'];
const account = { name: 'Ann', email: 'Ann@Example.com', password: 'correct horse' };
const credentials = { email: account.email, password: account.password };

describe('the life of an account', () => {
  let database: Awaited<ReturnType<typeof freshPostgres>>;
  let node: Node;
  beforeAll(async () => {
    database = await freshPostgres();
    node = await startNode({ databaseUrl: database.url, allowRegistration: false, refreshGraceMs: 0 });
  });
  afterAll(async () => {
    await node.stop();
    await database.drop();
  });
  const login = async (given = credentials) =>
    (await node.call('POST', '/api/v1/user/auth/login', { body: given })).body.data;
  const me = (token: string) => node.call('GET', '/api/v1/user/auth/me', { token });
  const refresh = (refresh_token: string) =>
    node.call('POST', '/api/v1/auth/refresh', { body: { refresh_token } });

  it('begins with setup: two first registrations at once make one admin, then registration is closed', async () => {
    const status = () => node.call('GET', '/api/v1/user/auth/setup-status');
    expect((await status()).body).toEqual({ data: { setupComplete: false, registrationOpen: true } });
    const answers = await Promise.all(
      PREFIXES.map((prefix, n) =>
        node.call('POST', `${prefix}/register`, {
          body: { ...account, email: n === 0 ? ' Ann@Example.com ' : 'Ann@example.com' },
        }),
      ),
    );
    expect(answers.map((answer) => answer.status).sort()).toEqual([201, 403]);
    const [created, refused] = answers[0]?.status === 201 ? answers : answers.toReversed();
    expect(refused?.body).toMatchObject({
      code: 'registration_closed',
      error: expect.any(String),
      message: expect.any(String),
    });
    const { message, data } = created?.body ?? {};
    expect(message).toBe('User registered successfully');
    expect(data.user).toMatchObject({
      name: 'Ann',
      role: 'admin',
      avatar: '',
      isActive: true,
      _id: data.user.id,
    });
    expect(data.user.email).toMatch(/^Ann@example\.com$/i);
    expect(Object.keys(data.user).join()).not.toMatch(/password|hash/i);
    expect((await status()).body).toEqual({ data: { setupComplete: true, registrationOpen: false } });
    expect((await me(data.tokens.accessToken)).body.data.user).toEqual(data.user);
  });

  it.each(PREFIXES)('signs in under %s with both spellings of the tokens', async (prefix) => {
    const { status, body } = await node.call('POST', `${prefix}/login`, {
      body: { email: ' ANN@example.COM', password: account.password },
    });
    expect(status).toBe(200);
    expect(body.message).toBe('Logged in successfully');
    const { tokens } = body.data;
    expect(tokens.access_token).toBe(tokens.accessToken);
    expect(tokens.refresh_token).toBe(tokens.refreshToken);
    expect((await me(tokens.access_token)).status).toBe(200);
  });

  it('takes the token without its scheme, as the original', async () => {
    const { tokens } = await login();
    const { status } = await node.call('GET', '/api/v1/user/auth/me', {
      headers: { authorization: tokens.accessToken },
    });
    expect(status).toBe(200);
  });

  it('answers a wrong password and an unknown account alike, and not with 401', async () => {
    const wrong = await node.call('POST', '/api/v1/auth/login', {
      body: { ...credentials, password: 'wrong' },
    });
    const unknown = await node.call('POST', '/api/v1/auth/login', {
      body: { email: 'nobody@example.com', password: 'wrong' },
    });
    expect(wrong.status).toBe(400);
    expect(wrong.body).toEqual(unknown.body);
    expect(wrong.body).toMatchObject({
      code: 'invalid_credentials',
      error: 'invalid email or password',
      message: 'invalid email or password',
    });
  });

  it('refreshes once a token; a second use ends the whole session, and no other', async () => {
    const other = (await login()).tokens;
    const first = (await login()).tokens;
    const { status, body: second } = await refresh(first.refresh_token);
    expect(status).toBe(200);
    expect(second).toMatchObject({
      access_token: second.accessToken,
      refresh_token: second.refreshToken,
      tokens: { access_token: second.accessToken, refresh_token: second.refreshToken },
    });
    expect(second.refresh_token).not.toBe(first.refresh_token);
    expect((await me(second.access_token)).status).toBe(200);

    const again = await refresh(first.refresh_token);
    expect(again.status).toBe(401);
    expect(again.body).toMatchObject({ code: 'invalid_token', error: 'invalid or expired refresh token' });
    expect((await refresh(second.refresh_token)).status).toBe(401);
    expect((await me(second.access_token)).status).toBe(401);
    expect((await me(other.access_token)).status).toBe(200);
    expect((await refresh(other.refresh_token)).status).toBe(200);
  });

  it('gives a new pair to one of ten simultaneous uses at most', async () => {
    const { tokens } = await login();
    const answers = await Promise.all(Array.from({ length: 10 }, () => refresh(tokens.refresh_token)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    const won = answers.find(({ status }) => status === 200);
    expect((await refresh(won?.body.refresh_token)).status).toBe(401);
  });

  it('lets two tabs refresh at the same moment, and ends the session when the token comes back later', async () => {
    const tolerant = await startNode({ databaseUrl: database.url });
    const { tokens } = await login();
    const use = () =>
      tolerant.call('POST', '/api/v1/auth/refresh', { body: { refresh_token: tokens.refresh_token } });
    const tabs = await Promise.all([use(), use()]);
    expect(tabs.map(({ status }) => status)).toEqual([200, 200]);
    for (const { body } of tabs) {
      expect((await tolerant.call('GET', '/api/v1/user/auth/me', { token: body.access_token })).status).toBe(
        200,
      );
    }
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query("UPDATE refresh_tokens SET used_at = used_at - interval '11 seconds'");
    await client.end();
    expect((await use()).status).toBe(401);
    expect(
      (await tolerant.call('GET', '/api/v1/user/auth/me', { token: tabs[0]?.body.access_token })).status,
    ).toBe(401);
    await tolerant.stop();
  });

  it('keeps the two kinds of token apart', async () => {
    const { tokens } = await login();
    expect((await me(tokens.refresh_token)).status).toBe(401);
    expect((await refresh(tokens.access_token)).status).toBe(401);
    expect((await refresh(tokens.refresh_token)).status).toBe(200);
  });

  it.each(PREFIXES)('signs out under %s: access and refresh token end at once', async (prefix) => {
    const { tokens } = await login();
    expect((await me(tokens.access_token)).status).toBe(200);
    const { status, body } = await node.call('POST', `${prefix}/logout`, {
      body: { refresh_token: tokens.refresh_token },
    });
    expect([status, body.success]).toEqual([200, true]);
    expect((await me(tokens.access_token)).status).toBe(401);
    expect((await refresh(tokens.refresh_token)).status).toBe(401);

    const next = (await login()).tokens;
    expect((await node.call('POST', `${prefix}/logout`, { token: next.access_token })).status).toBe(200);
    expect((await refresh(next.refresh_token)).status).toBe(401);
    expect((await node.call('POST', `${prefix}/logout`, { body: { refresh_token: 'rubbish' } })).status).toBe(
      200,
    );
  });

  it('stores no token that could be used', async () => {
    const { tokens } = await login();
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const { rows } = await client.query("SELECT encode(token_hash, 'escape') AS text FROM refresh_tokens");
    await client.end();
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.some(({ text }) => text.includes(tokens.refresh_token.slice(-20)))).toBe(false);
  });

  it('says 401 with code and texts without a token or with rubbish and on the paths that the original left open', async () => {
    const missing = await node.call('GET', '/api/v1/user/auth/me');
    expect(missing.status).toBe(401);
    expect(missing.body).toMatchObject({ code: 'unauthorized', error: 'Authorization header required' });
    for (const token of ['rubbish', 'a.b.c', 'x'.repeat(5_000)]) {
      expect(await me(token)).toMatchObject({ status: 401, body: { code: 'invalid_token' } });
    }
    expect((await node.call('GET', '/api/v1/user/auth/me/pulse')).status).toBe(404);
  });

  it.each([
    ['no body', undefined],
    ['no name', { ...account, name: undefined }],
    ['an empty name', { ...account, name: '  ' }],
    ['no e-mail address', { ...account, email: 'ann' }],
    ['an e-mail address with a line break', { ...account, email: 'ann@example.com\n' + 'Bcc: x@y.zz' }],
    ['a short password', { ...account, password: '1234567' }],
    ['a password beyond 256', { ...account, password: 'x'.repeat(257) }],
    ['a number', { ...account, password: 12345678 }],
    ['NUL', { ...account, name: 'A\u0000nn' }],
    ['a list', []],
    ['a mountain', { ...account, name: 'x'.repeat(20_000) }],
  ])('refuses a registration with %s', async (_what, body) => {
    const answer = await node.call('POST', '/api/v1/auth/register', { body });
    expect([400, 413]).toContain(answer.status);
    expect(answer.body).toMatchObject({
      error: expect.any(String),
      message: answer.body.error,
      code: expect.any(String),
    });
  });

  it('survives hostile logins', async () => {
    for (const raw of [
      '{',
      'null',
      '[]',
      '{"email":"a@b.cc","password":"\\u0000"}',
      '{"email":{"$gt":""},"password":{"$gt":""}}',
      '{"email":"\' OR 1=1 --","password":"\' OR 1=1 --"}',
      '{"email":"\\ud800@example.com","password":"\\ud800"}',
      `{"email":"a@b.cc","password":"${'x'.repeat(10_000)}"}`,
      '{"__proto__":{"email":"a@b.cc"},"password":"12345678"}',
    ]) {
      const answer = await node.call('POST', '/api/v1/auth/login', { raw });
      expect(answer.status, raw.slice(0, 60)).toBe(400);
    }
  });
});

describe('accounts of the original', () => {
  let database: Awaited<ReturnType<typeof freshPostgres>>;
  let node: Node;
  let client: pg.Client;
  beforeAll(async () => {
    database = await freshPostgres();
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
    // As the original's migrations leave it (limits 4.1), with rows that it could have written.
    await client.query(`
      CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar(255) NOT NULL,
        email varchar(255) NOT NULL UNIQUE, password_hash text, role varchar(50) NOT NULL DEFAULT 'user', avatar_url text,
        reset_token text, reset_token_expiry timestamptz, created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now());
      CREATE TABLE websites (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), site_id varchar(64) NOT NULL UNIQUE,
        user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE, name varchar(255) NOT NULL, url varchar(255) NOT NULL,
        tracking_id varchar(50) NOT NULL UNIQUE, is_active boolean DEFAULT true, is_verified boolean DEFAULT false,
        created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());`);
    const insert = `INSERT INTO users (name, email, password_hash, created_at) VALUES ($1, $2, $3, now() - $4::interval)`;
    await client.query(insert, [
      'First',
      'first@example.com',
      await bcrypt.hash('correct horse', 10),
      '3 days',
    ]);
    await client.query(insert, ['Twin', 'TWIN@example.com', await bcrypt.hash('upper horse', 10), '2 days']);
    await client.query(insert, ['Twin', 'twin@example.com', await bcrypt.hash('lower horse', 10), '1 day']);
    await client.query(insert, ['Synced', 'synced@example.com', null, '1 day']);
    await client.query(`INSERT INTO websites (site_id, user_id, name, url, tracking_id, is_active)
      SELECT 'abcdefabcdefabcdefabcdef', id, 'Old', 'https://WWW.Old.example/shop', 'ST-1', NULL FROM users WHERE name = 'First'`);
    node = await startNode({ databaseUrl: database.url });
  });
  afterAll(async () => {
    await client.end();
    await node.stop();
    await database.drop();
  });
  const login = (email: string, password: string) =>
    node.call('POST', '/api/v1/auth/login', { body: { email, password } });
  const hashOf = async (email: string) =>
    (await client.query('SELECT password_hash FROM users WHERE email = $1', [email])).rows[0].password_hash;

  it('sign in with their bcrypt password, which becomes argon2id, and again after', async () => {
    expect((await login('first@example.com', 'wrong horse')).status).toBe(400);
    expect(await hashOf('first@example.com')).toMatch(/^\$2/);
    expect((await login('first@example.com', 'correct horse')).status).toBe(200);
    expect(await hashOf('first@example.com')).toMatch(/^\$argon2id\$/);
    expect((await login('first@example.com', 'correct horse')).status).toBe(200);
  });

  it('have their first as admin, who finds the old website with defaults and a bare host', async () => {
    const { body } = await login('first@example.com', 'correct horse');
    expect(body.data.user.role).toBe('admin');
    const list = await node.call('GET', '/api/v1/user/websites', { token: body.data.tokens.access_token });
    expect(list.body.data).toMatchObject([
      { site_id: 'abcdefabcdefabcdefabcdef', url: 'old.example', is_active: true, replay_sampling_rate: 1 },
    ]);
  });

  it('that differ in case only stay apart, and no third may come', async () => {
    expect((await login('TWIN@example.com', 'upper horse')).status).toBe(200);
    expect((await login('twin@example.com', 'lower horse')).status).toBe(200);
    const third = await node.call('POST', '/api/v1/auth/register', {
      body: { ...account, email: 'Twin@example.com' },
    });
    expect(third).toMatchObject({ status: 409, body: { code: 'email_taken' } });
  });

  it('without a password cannot sign in', async () => {
    expect((await login('synced@example.com', '')).status).toBe(400);
    expect(await login('synced@example.com', 'null')).toMatchObject({
      body: { code: 'invalid_credentials' },
    });
  });
});

describe('two nodes with one Redis', () => {
  it('end a session for both at once, and count failed logins together', async () => {
    const database = await freshPostgres();
    const prefix = `${freshName('auth')}:`;
    const open = () =>
      createRedisCache({ url: inject('servers').redis, prefix, telemetry: silentTelemetry() });
    const caches = await Promise.all([open(), open()]);
    const [one, two] = await Promise.all(
      caches.map((cache) => startNode({ databaseUrl: database.url, cache, maxAttempts: 4 })),
    );
    if (!one || !two) throw new Error('no nodes');
    const { token } = await signUp(one, 'ann@example.com');
    const me = (node: Node) => node.call('GET', '/api/v1/user/auth/me', { token });
    expect((await me(two)).status).toBe(200);
    await one.call('POST', '/api/v1/auth/logout', { token });
    expect((await me(one)).status).toBe(401);
    await until(async () => (await me(two)).status === 401, {
      what: 'the other node to know',
      timeoutMs: 5_000,
    });

    const fail = (node: Node, password: string) =>
      node.call('POST', '/api/v1/auth/login', { body: { email: 'Ann@example.com', password } });
    for (const node of [one, two, one, two]) expect((await fail(node, 'wrong')).status).toBe(400);
    const refused = await fail(one, 'correct horse');
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate_limited' } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(60);

    await Promise.all([one.stop(), two.stop()]);
    await Promise.all(caches.map((cache) => cache.close()));
    await database.drop();
  });

  it('counts by household and over all networks, and keeps nobody out who does not guess', async () => {
    const database = await freshPostgres();
    const node = await startNode({
      ...{ databaseUrl: database.url, maxAttempts: 4, maxAttemptsInAll: 12, trust: ['loopback'] },
    });
    const email = 'ann@example.com';
    await signUp(node, email);
    const login = async (from: string, password = 'wrong password', name = email) => {
      const body = { email: name, password };
      const headers = { 'x-forwarded-for': from };
      return (await node.call('POST', '/api/v1/auth/login', { body, headers })).status;
    };
    const owner = '2001:db8:99:1::1';
    expect(await login(owner, 'a slip')).toBe(400);
    // One household has 2^64 addresses.
    for (let n = 1; n <= 4; n++) expect(await login(`2001:db8:1:1::${n}`)).toBe(400);
    expect(await login('2001:db8:1:1::5')).toBe(429);
    // Its provider may have given it more of them: twelve wrong guesses in all.
    for (let n = 2; n <= 8; n++) expect(await login(`2001:db8:1:${n}::1`)).toBe(400);
    expect(await login('2001:db8:1:9::1')).toBe(429);
    expect(await login('2001:db8:1:9::1', 'wrong password', 'else@example.com')).toBe(400);
    // Others still have their slips.
    expect(await login('192.0.2.1')).toBe(400);
    expect(await login(owner, 'correct horse')).toBe(200);

    await node.stop();
    await database.drop();
  });
});
