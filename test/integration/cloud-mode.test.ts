import { spawnSync } from 'node:child_process';
import { request } from 'node:http';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { createTokens } from '../../src/auth/tokens.js';
import { isCloud } from '../../src/config.js';
import { readConfig } from '../../src/config-read.js';
import { freshPostgres } from '../support/fresh.js';
import { Guard, repositoryRoot } from '../support/guard.js';
import { operationsOf } from '../support/operations.js';
import { Program } from '../support/program.js';
import { until } from '../support/wait.js';

const KEY = 'the key of the gateway, which is long enough';
const BROWSER =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';
const SECRET = 'the secret of the cloud test, which is long enough';
const ADA = { id: '11111111-1111-4111-8111-111111111111', email: 'ada@cloud.example' };
const BOB = { id: '22222222-2222-4222-8222-222222222222', email: 'bob@cloud.example' };

let guard: Guard;
let program: Program;
let database: Awaited<ReturnType<typeof freshPostgres>>;
let sql: pg.Client;
beforeAll(async () => {
  [guard, database] = await Promise.all([Guard.start(), freshPostgres()]);
  sql = new pg.Client({ connectionString: database.url });
  await sql.connect();
  program = await Program.start(guard, {
    dataDir: join(guard.directory, 'data'),
    env: {
      ...{ DATABASE_URL: database.url, EVENT_STORE: 'postgres', JWT_SECRET: SECRET },
      ...{ FLUSH_INTERVAL_MS: '50', CLOUD_FEATURES_ENABLED: '1', GLOBAL_API_KEY: KEY },
    },
  });
});
beforeEach(() => onTestFailed(() => program.showLog()));
afterAll(async () => {
  await program?.stop();
  await sql?.end();
  await database?.drop();
  await guard?.stop();
});

async function call(
  method: string,
  path: string,
  { headers = {}, body }: { headers?: Record<string, string>; body?: unknown } = {},
) {
  const answer = await fetch(program.url + path, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  // biome-ignore lint/suspicious/noExplicitAny: a JSON answer, looked into by the assertions
  const json: any = text === '' ? null : JSON.parse(text);
  return { status: answer.status, body: json };
}

const as = ({ id, email }: { id: string; email: string }, more: Record<string, string> = {}) => ({
  'x-api-key': KEY,
  'x-user-id': id,
  'x-user-email': email,
  ...more,
});
const SITES = '/api/v1/user/websites';
const createSite = async (headers: Record<string, string>, host: string) =>
  call('POST', SITES, { headers, body: { name: host, url: `https://${host}` } });

describe('cloud mode', () => {
  test('takes the caller from the headers of the gateway, who has an account by that', async () => {
    const made = await createSite(as(ADA, { 'x-user-plan': 'pro' }), 'ada.example');
    expect(made).toMatchObject({ status: 201, body: { data: { user_id: ADA.id } } });
    const site = `${SITES}/${made.body.data.id}`;
    expect((await call('GET', site, { headers: as(ADA) })).status).toBe(200);
    expect((await call('GET', site, { headers: as(BOB) })).status).toBe(403);
    expect((await call('GET', '/api/v1/user/auth/me', { headers: as(BOB) })).body.data.user).toMatchObject({
      ...BOB,
      ...{ name: 'bob', role: 'user' },
    });
    // The role is the gateway's to give, and the caller's for this request only.
    expect((await call('GET', site, { headers: as(BOB, { 'x-user-role': 'admin' }) })).status).toBe(200);
    expect((await call('GET', site, { headers: as(BOB, { 'x-user-role': 'owner' }) })).status).toBe(403);
  });

  test('says 401 to whoever does not bring the key, whatever else they bring', async () => {
    const token = await createTokens({ secret: SECRET }).issueAccess({ ...ADA, role: 'admin' }, ADA.id);
    for (const headers of [
      {},
      { authorization: `Bearer ${token}` },
      { ...as(ADA), 'x-api-key': '' },
      { ...as(ADA), 'x-api-key': KEY.slice(0, -1) },
      { ...as(ADA), 'x-api-key': `${KEY}x` },
      { ...as(ADA), 'x-api-key': '', authorization: `Bearer ${KEY}` },
      { ...as(ADA), 'x-api-key': `sk_${KEY}` },
    ])
      expect(await call('GET', SITES, { headers }), JSON.stringify(headers)).toMatchObject({
        status: 401,
        body: { error: 'Unauthorized inter-service request', code: 'unauthorized' },
      });
  });

  test('asks for the key on every route that is not public', async () => {
    const wrong: string[] = [];
    const { body } = await createSite(as(ADA), 'gate.example');
    for (const { method, path, access, request } of await operationsOf(program.url)) {
      if (access === 'public' || access === 'internal') continue;
      const { contentType = 'application/json', ...sent } = request(body.data.id);
      const answer = await fetch(program.url + sent.path, {
        method,
        headers: { ...as(ADA, { 'x-user-role': 'admin' }), 'x-api-key': 'x', 'content-type': contentType },
        ...(sent.body === undefined ? {} : { body: sent.body }),
      });
      if (answer.status !== 401 || !(await answer.text()).includes('Unauthorized inter-service request'))
        wrong.push(`${method} ${path}: ${answer.status}`);
    }
    expect(wrong).toEqual([]);
  });

  test('takes no token for an account, and no text for its id', async () => {
    const token = await createTokens({ secret: SECRET }).issueAccess({ ...ADA, role: 'admin' }, ADA.id);
    const authorization = `Bearer ${token}`;
    for (const id of ['', 'ada', `${ADA.id}' OR true --`, `${ADA.id}0`])
      expect(
        (await call('GET', SITES, { headers: { ...as(ADA), 'x-user-id': id, authorization } })).status,
      ).toBe(401);
    // A token beside the headers is not looked at.
    const mixed = { ...as(BOB), authorization };
    expect((await call('GET', SITES, { headers: mixed })).body.data).toEqual([]);
    const shouted = await call('GET', SITES, { headers: as({ ...ADA, id: ADA.id.toUpperCase() }) });
    expect(shouted.body).toEqual((await call('GET', SITES, { headers: as(ADA) })).body);
    expect(shouted.body.data.length).toBeGreaterThan(0);
  });

  test('believes nothing that is said twice, whoever said it first', async () => {
    const site = (await createSite(as(ADA), 'twice.example')).body.data.id;
    const say = (...more: [name: string, value: string][]): Promise<number> =>
      new Promise((resolve, reject) => {
        const headers = ['host', 'stats.example', ...[...Object.entries(as(BOB)), ...more].flat()];
        const sent = request(`${program.url}${SITES}/${site}`, { headers }, (answer) => {
          answer.resume();
          resolve(answer.statusCode ?? 0);
        });
        sent.on('error', reject).end();
      });
    expect(await say()).toBe(403);
    expect(await say(['x-user-id', ADA.id])).toBe(401);
    expect(await say(['x-api-key', KEY])).toBe(401);
    expect(await say(['x-user-email', 'else@cloud.example'])).toBe(400);
    expect(await say(['x-user-role', 'admin'])).toBe(200);
    for (const roles of [
      ['admin', 'user'],
      ['user', 'admin'],
    ])
      expect(await say(...roles.map((role): [string, string] => ['x-user-role', role]))).toBe(403);
  });

  test('never gives one account the address of another', async () => {
    await call('GET', SITES, { headers: as(ADA) });
    const thief = { id: '33333333-3333-4333-8333-333333333333', email: ADA.email.toUpperCase() };
    expect(await call('GET', SITES, { headers: as(thief) })).toMatchObject({
      status: 409,
      body: { code: 'conflict' },
    });
    expect((await call('GET', SITES, { headers: { ...as(thief), 'x-user-email': '' } })).status).toBe(401);
    expect(
      (await call('GET', SITES, { headers: { ...as(thief), 'x-user-email': 'no address' } })).status,
    ).toBe(400);
    const { rows } = await sql.query('SELECT id::text, email FROM users WHERE lower(email) = $1 OR id = $2', [
      ADA.email,
      thief.id,
    ]);
    expect(rows).toEqual([ADA]);
    // Known accounts need no address, and a new one of their own is taken over.
    expect((await call('GET', SITES, { headers: { ...as(ADA), 'x-user-email': '' } })).status).toBe(200);
    const moved = { id: '44444444-4444-4444-8444-444444444444', email: 'before@cloud.example' };
    await call('GET', SITES, { headers: as(moved) });
    await call('GET', SITES, { headers: as({ ...moved, email: 'after@cloud.example' }) });
    const { rows: after } = await sql.query('SELECT email FROM users WHERE id = $1', [moved.id]);
    expect(after).toEqual([{ email: 'after@cloud.example' }]);
  });

  test('adds an account once, however many requests come first at once', async () => {
    const many = { id: '55555555-5555-4555-8555-555555555555', email: 'many@cloud.example' };
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, index) => createSite(as(many), `many-${index}.example`)),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(201));
  });

  test('counts for the gateway what an account has', async () => {
    const headers = as({ id: '66666666-6666-4666-8666-666666666666', email: 'counted@cloud.example' });
    const { data } = (await createSite(headers, 'counted.example')).body;
    const steps = ['/', '/price'].map((pagePath, order) => ({
      ...{ name: pagePath, order: order + 1, stepType: 'page_view', pagePath },
    }));
    const funnel = { name: 'Sale', steps };
    expect(
      (await call('POST', `/api/v1/websites/${data.id}/funnels`, { headers, body: funnel })).status,
    ).toBe(201);
    for (const page of ['/', '/price', '/thanks']) {
      const body = {
        website_id: data.site_id,
        visitor_id: 'v',
        session_id: 's',
        event_type: 'pageview',
        page,
      };
      const event = { headers: { origin: 'https://counted.example', 'user-agent': BROWSER }, body };
      expect((await call('POST', '/api/v1/analytics/event', event)).status).toBeLessThan(300);
    }
    const path = `/api/v1/internal/user-resource-counts?user_id=${headers['x-user-id']}`;
    const counts = () => call('GET', path, { headers: { 'x-api-key': KEY } });
    // Not asked before: what the store says of a website serves for some seconds.
    const books = () => call('GET', `/api/v1/websites/${data.id}/ingestion`, { headers });
    await until(async () => (await books()).body.stored === 3, { what: 'the three events' });
    const heatAndReplays = { heatmaps: 0, replays: 0 };
    expect((await counts()).body).toEqual({
      data: { websites: 1, funnels: 1, automations: 0, ...heatAndReplays, monthly_events: 3 },
    });
  });

  test('leaves public routes open and keeps registration closed', async () => {
    for (const path of ['/health', '/api/v1/openapi.json', '/api/v1/user/auth/setup-status'])
      expect((await call('GET', path)).status, path).toBe(200);
    const account = { name: 'Eve', email: 'eve@cloud.example', password: 'correct horse' };
    expect(await call('POST', '/api/v1/user/auth/register', { body: account })).toMatchObject({
      status: 403,
      body: { code: 'registration_closed' },
    });
    // An account of the gateway has no password, and none fits.
    const body = { email: ADA.email, password: '' };
    expect((await call('POST', '/api/v1/auth/login', { body: { ...body, password: 'x' } })).status).toBe(400);
  });

  test('is what its own variable says; the older one counts where that is unset', () => {
    const cloud = (env: Record<string, string>) => isCloud(readConfig({ GLOBAL_API_KEY: KEY, ...env }));
    expect(cloud({})).toBe(false);
    expect(cloud({ CLOUD_ENABLED: '1' })).toBe(true);
    expect(cloud({ CLOUD_FEATURES_ENABLED: 'true' })).toBe(true);
    expect(cloud({ CLOUD_ENABLED: 'false', CLOUD_FEATURES_ENABLED: 'true' })).toBe(false);
    expect(cloud({ CLOUD_ENABLED: '', CLOUD_FEATURES_ENABLED: 'true' })).toBe(true);
    expect(() => readConfig({ CLOUD_ENABLED: 'maybe' })).toThrow('CLOUD_ENABLED must be true or false');
  });

  test('does not start without a key', () => {
    const env = { PATH: process.env.PATH, HOME: process.env.HOME, CLOUD_ENABLED: 'true' };
    const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/main.js'], {
      ...{ cwd: repositoryRoot, encoding: 'utf8', timeout: 30_000 },
      env: { ...env, DATA_DIR: join(guard.directory, 'keyless'), PORT: '0' },
    });
    expect(status).not.toBe(0);
    expect(stdout + stderr).toContain('GLOBAL_API_KEY');
  });
});
