/** What the original let anybody do, tried on the running program as it is meant to be run: in production, behind a proxy. */
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { account, type Site } from '../support/api.js';
import { type Operation, operationsOf } from '../support/operations.js';
import type { Program } from '../support/program.js';
import { type Production, startProduction } from './production.js';

const HOSTILE = [
  "' OR 1=1; --",
  'a\u0000b',
  '9'.repeat(300),
  '\ud800',
  '00000000-0000-4000-8000-00000000000g',
];
/** The ones that matter where no id is expected. */
const IN_BODIES = HOSTILE.slice(1, 4);
/** What ends the account or its session, or mails. */
const ENDS = /\/(logout|forgot-password|contact)$|\/privacy\//;
const SITE_FIELD = /^(web)?site_?id$/i;
/** What only a driver, a stack trace or a file of ours would say. */
const INSIDES =
  /syntax|relation "|column "|violates|constraint|SQLSTATE|pg_|DB::|Code: \d+|invalid input|UTF8|\.js:\d+|node_modules|ECONN|\/src\//i;

describe('what the original let anybody do', () => {
  let production: Production;
  let program: Program;
  let operations: readonly Operation[];
  let site: Site;
  let token: string;

  beforeAll(async () => {
    production = await startProduction({
      JWT_SECRET: 'the secret of the safeguards, which is long enough',
      CORS_ALLOWED_ORIGINS: 'https://dashboard.example',
      TRUSTED_PROXIES: 'loopback',
      RATE_LIMIT_AUTH: '20',
    });
    ({ program, site, token } = production);
    operations = (await operationsOf(program.url)).filter(({ access }) => access !== 'internal');
  });

  beforeEach(() => onTestFailed(() => program.showLog()));

  afterAll(() => production?.stop());

  let clients = 0;
  /** Each call comes from somewhere else, as far as the proxy says. */
  const call = async (
    method: string,
    path: string,
    { body, headers }: { body?: unknown; headers?: Record<string, string> } = {},
  ) => {
    const from = clients++;
    const answer = await fetch(program.url + path, {
      method,
      headers: {
        'x-forwarded-for': `198.18.${from >> 8}.${from & 255}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  };
  const login = async () => {
    const { text } = await call('POST', '/api/v1/auth/login', { body: account });
    return JSON.parse(text).data;
  };
  const authorized = (operation: Operation): Record<string, string> =>
    operation.access === 'public' ? {} : { authorization: `Bearer ${token}` };

  test('A10: registration stays open; here the first account is the admin and closes it', async () => {
    const { text } = await call('POST', '/api/v1/user/auth/register', {
      body: { ...account, email: 'second@shop.example' },
    });
    expect(JSON.parse(text).code).toBe('registration_closed');
    expect((await login()).user.role).toBe('admin');
    const stats = await call('GET', '/api/v1/admin/audit', { headers: { authorization: `Bearer ${token}` } });
    expect(stats.status).toBe(200);
  });

  test('A17: paths that end in /pulse skip the check', async () => {
    const open: string[] = [];
    for (const operation of operations.filter(({ access }) => access !== 'public')) {
      const { path } = operation.request(site.id);
      const [bare, query] = path.split('?');
      const target = `${bare}/pulse${query === undefined ? '' : `?${query}`}`;
      for (const tried of [target, `${bare?.replace(/[^/]+$/, 'pulse')}`]) {
        const { status } = await call(operation.method, tried);
        if (![401, 404, 405].includes(status)) open.push(`${operation.method} ${tried}: ${status}`);
      }
    }
    expect(open).toEqual([]);
  });

  test('A18: pages of localhost read the API in production, through any cache', async () => {
    for (const origin of ['http://localhost:3000', 'http://127.0.0.1', 'https://evil.example']) {
      const { headers } = await call('GET', '/api/v1/user/websites', { headers: { origin } });
      expect(headers.get('access-control-allow-origin')).toBeNull();
      expect(headers.get('vary')).toMatch(/\borigin\b/i);
    }
    const { headers } = await call('GET', '/api/v1/user/websites', {
      headers: { origin: 'https://dashboard.example' },
    });
    expect(headers.get('access-control-allow-origin')).toBe('https://dashboard.example');
    expect(headers.get('vary')).toMatch(/\borigin\b/i);
  });

  test('A20: forgotten passwords, resets and codes are tried without a limit of their own', async () => {
    for (const [path, body] of [
      ['/api/v1/auth/login', { email: 'x@shop.example', password: 'wrong password' }],
      ['/api/v1/auth/forgot-password', { email: 'x@shop.example' }],
      ['/api/v1/auth/reset-password', { token: 'x', newPassword: 'battery staple' }],
      ['/api/v1/auth/login/2fa', { challenge: 'x', code: '123456' }],
    ] as const) {
      const headers = { 'x-forwarded-for': `203.0.113.${clients++ % 250}` };
      const statuses: number[] = [];
      for (let n = 0; n < 21; n++) statuses.push((await call('POST', path, { body, headers })).status);
      // A window may have ended in between, so that two have counted.
      if (!statuses.includes(429))
        for (let n = 0; n < 21; n++) statuses.push((await call('POST', path, { body, headers })).status);
      expect(statuses, path).toContain(429);
      expect(statuses.slice(0, 10), path).not.toContain(429);
    }
  });

  test('A8: what was handed out lives on when its account has gone', async () => {
    const sql = new pg.Client({ connectionString: production.databaseUrl });
    await sql.connect();
    await sql.query(
      `INSERT INTO users (name, email, password_hash, avatar_url)
       SELECT 'Gone', 'gone@shop.example', password_hash, '' FROM users WHERE email = $1`,
      [account.email],
    );
    await sql.end();
    const login = await call('POST', '/api/v1/auth/login', {
      body: { ...account, email: 'gone@shop.example' },
    });
    const authorization = `Bearer ${JSON.parse(login.text).data.tokens.access_token}`;
    const made = await call('POST', '/api/v1/user/api-keys', {
      headers: { authorization },
      body: { name: 'x', scopes: ['read'] },
    });
    const headers = { 'x-api-key': String(JSON.parse(made.text).data.key) };
    expect((await call('GET', '/api/v1/user/websites', { headers })).status).toBe(200);
    const gone = await call('DELETE', '/api/v1/user/me', {
      headers: { authorization },
      body: { password: account.password },
    });
    expect(gone.status).toBe(200);
    expect((await call('GET', '/api/v1/user/websites', { headers })).status).toBe(401);
  });

  test('A9: addresses, passwords, tokens and keys stand in the log', async () => {
    const { tokens } = await login();
    const made = await call('POST', '/api/v1/user/api-keys', {
      headers: { authorization: `Bearer ${token}` },
      body: { name: 'x', scopes: ['read'] },
    });
    const { key } = JSON.parse(made.text).data;
    await call('GET', '/api/v1/user/websites', { headers: { 'x-api-key': key } });
    await call('POST', '/api/v1/auth/login', { body: { ...account, password: 'wrong password' } });
    await call('POST', '/api/v1/auth/forgot-password', { body: { email: account.email } });
    const log = await program.log();
    expect(log).toContain('API key made');
    for (const secret of [account.email, account.password, 'wrong password', key, tokens.access_token])
      expect(log).not.toContain(secret);
    expect(log).not.toMatch(/eyJ[\w-]{10,}\.|sk_seentics_|198\.18\./);
  });

  test('A19: raw errors of databases reach the caller; here answers are those that are declared', {
    timeout: 120_000,
  }, async () => {
    const wrong: string[] = [];
    const undeclared = new Set<string>();
    const check = async (operation: Operation, path: string, body?: unknown) => {
      const answer = await call(operation.method, path, {
        headers: authorized(operation),
        ...(body === undefined ? {} : { body }),
      });
      if (answer.status >= 500 || (answer.status >= 400 && INSIDES.test(answer.text)))
        wrong.push(
          `${operation.method} ${path} ${JSON.stringify(body ?? '')}: ${answer.status} ${answer.text.slice(0, 200)}`,
        );
      if (answer.status < 400) {
        const type = answer.headers.get('content-type') ?? '';
        const problem = operation.problemOf(answer.status, type, answer.text);
        if (problem !== undefined)
          undeclared.add(`${operation.method} ${operation.path}: ${answer.status} ${problem}`);
      }
    };
    for (const operation of operations.filter((it) => !ENDS.test(it.path))) {
      const { path, body } = operation.request(site.id);
      const json = operation.example === undefined ? undefined : body;
      await check(operation, path, json);
      for (const hostile of HOSTILE) {
        const encoded = encodeURIComponent(hostile.replace(/\p{Surrogate}/gu, '?'));
        const [bare = '', query] = path.split('?');
        if (bare.includes(site.id)) await check(operation, path.replace(site.id, encoded), json);
        if (query !== undefined)
          await check(operation, `${bare}?${query.replaceAll(/=[^&]*/g, `=${encoded}`)}`, json);
        if (!IN_BODIES.includes(hostile)) continue;
        for (const spoilt of spoiltOnes(operation.example, hostile, site))
          await check(operation, path, spoilt);
      }
    }
    // Not because nobody was let in.
    const me = await call('GET', '/api/v1/user/auth/me', { headers: { authorization: `Bearer ${token}` } });
    expect(me.status).toBe(200);
    expect(wrong).toEqual([]);
    expect([...undeclared]).toEqual([]);
  });
});

/** A body with a hostile text in place of one of its own texts, for each of them; the website stays named. */
function spoiltOnes(value: unknown, hostile: string, site: Site): unknown[] {
  if (typeof value === 'string') return [hostile];
  if (Array.isArray(value))
    return value.flatMap((item, at) => spoiltOnes(item, hostile, site).map((it) => value.with(at, it)));
  if (typeof value !== 'object' || value === null) return [];
  const whole = Object.fromEntries(
    Object.entries(value).map(([name, it]) => [name, SITE_FIELD.test(name) ? site.id : it]),
  );
  return Object.entries(whole).flatMap(([name, it]) =>
    SITE_FIELD.test(name)
      ? []
      : spoiltOnes(it, hostile, site).map((spoilt) => ({ ...whole, [name]: spoilt })),
  );
}
