import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createUsageService } from '../../src/billing/usage.js';
import { internalRoutes } from '../../src/edge/routes/internal.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const KEY = 'the key of another program';
const COUNTS = '/api/v1/internal/user-resource-counts';
const SYNC = '/api/v1/internal/user/sync';

let database: Awaited<ReturnType<typeof freshPostgres>>;
let client: pg.Client;
let node: Node;
/** Without a key. */
let closed: Node;
beforeAll(async () => {
  database = await freshPostgres();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  node = await start({ serviceKey: KEY });
  closed = await start({});
});
afterAll(async () => {
  await node.stop();
  await closed.stop();
  await client.end();
  await database.drop();
});

const start = (options: { serviceKey?: string }) =>
  startNode({
    databaseUrl: database.url,
    ...options,
    routes: ({ metadata }) =>
      internalRoutes({
        users: metadata.users,
        usage: createUsageService({
          counts: metadata.accountCounts,
          telemetry: silentTelemetry(),
          // What the event store says is asked of a whole program in cloud-mode.test.ts.
          events: { books: async () => [] },
          heat: { trackedPages: async () => ['/', '/price'] },
          replays: { countSessions: async () => 3 },
        }),
      }),
  });

const withKey = { headers: { 'x-api-key': KEY } };
const sync = (body: unknown, headers: Record<string, string> = withKey.headers) =>
  node.call('POST', SYNC, { body, headers });
const rowsOf = async (where: string, value: string) =>
  (await client.query(`SELECT id::text, email, name, role, password_hash FROM users WHERE ${where}`, [value]))
    .rows;

describe('internal routes', () => {
  it('say 401 to everybody who does not bring the key, and always where none is configured', async () => {
    const { token } = await signUp(node, 'admin@example.com');
    const refused = { status: 401, body: { error: 'Invalid API key', code: 'unauthorized' } };
    const path = `${COUNTS}?user_id=11111111-1111-4111-8111-111111111111`;
    for (const headers of [
      {},
      { 'x-api-key': '' },
      { 'x-api-key': 'x' },
      { authorization: `Bearer ${KEY}` },
    ]) {
      expect(await node.call('GET', path, { headers })).toMatchObject(refused);
      expect(await sync({}, headers)).toMatchObject(refused);
    }
    expect(await node.call('GET', path, { token })).toMatchObject(refused);
    for (const key of ['', 'undefined', KEY])
      expect(await closed.call('GET', path, { headers: { 'x-api-key': key } })).toMatchObject(refused);
    expect((await node.call('GET', path, withKey)).status).toBe(200);
  });

  it('count what an account owns', async () => {
    const { token, id } = await signUp(node, 'counted@example.com');
    const nothing = { websites: 0, funnels: 0, automations: 0, heatmaps: 0, replays: 0, monthly_events: 0 };
    const counts = async (userId: string) =>
      (await node.call('GET', `${COUNTS}?user_id=${userId}`, withKey)).body;
    expect(await counts(id)).toEqual({ data: nothing });
    for (const name of ['one', 'two']) {
      const body = { name, url: `https://${name}.example` };
      expect((await node.call('POST', '/api/v1/user/websites', { token, body })).status).toBe(201);
    }
    expect(await counts(id.toUpperCase())).toEqual({
      data: { ...nothing, websites: 2, heatmaps: 4, replays: 6 },
    });
    expect(await counts('99999999-9999-4999-8999-999999999999')).toEqual({ data: nothing });
    expect(await node.call('GET', COUNTS, withKey)).toMatchObject({
      status: 400,
      body: { error: 'user_id query parameter required' },
    });
    expect((await node.call('GET', `${COUNTS}?user_id=1`, withKey)).status).toBe(400);
  });

  it('make an account known, and its new address and name', async () => {
    const id = 'AAAAAAAA-aaaa-4aaa-8aaa-aaaaaaaaaaaa';
    const known = { id: id.toLowerCase(), role: 'user', password_hash: null };
    const answer = await sync({ id, email: 'New@Cloud.example', name: 'Ann' });
    expect([answer.status, answer.body]).toEqual([200, { message: 'user synced successfully' }]);
    expect(await rowsOf('id = $1', id)).toEqual([{ ...known, email: 'New@Cloud.example', name: 'Ann' }]);
    await sync({ id, email: 'moved@cloud.example' });
    expect(await rowsOf('id = $1', id)).toEqual([{ ...known, email: 'moved@cloud.example', name: 'Ann' }]);
    await sync({ id, email: 'moved@cloud.example', name: 'Anna' });
    expect(await rowsOf('id = $1', id)).toEqual([{ ...known, email: 'moved@cloud.example', name: 'Anna' }]);
    // Nobody signs in without a password.
    const body = { email: 'moved@cloud.example', password: 'x' };
    expect(await node.call('POST', '/api/v1/auth/login', { body })).toMatchObject({
      status: 400,
      body: { code: 'invalid_credentials' },
    });
  });

  it('never change the id or the address of another account', async () => {
    const { id, token } = await signUp(node, 'Owner@example.com');
    const before = await rowsOf('id = $1', id);
    const other = '99999999-9999-4999-8999-999999999998';
    // Where a database of the original has addresses that differ in case only, no unique index helps.
    await client.query('DROP INDEX users_email_lower');
    for (const email of ['Owner@example.com', 'owner@EXAMPLE.com'])
      expect(await sync({ id: other, email, name: 'Thief' })).toMatchObject({
        status: 409,
        body: { code: 'conflict' },
      });
    await sync({ id: other, email: 'other@example.com' });
    expect((await sync({ id: other, email: 'owner@example.com' })).status).toBe(409);
    await client.query('CREATE UNIQUE INDEX users_email_lower ON users (lower(email))');
    expect(await rowsOf('id = $1', id)).toEqual(before);
    expect((await rowsOf('id = $1', other)).map(({ email }) => email)).toEqual(['other@example.com']);
    expect((await node.call('GET', '/api/v1/user/auth/me', { token })).status).toBe(200);
    // Its own password stays, too.
    await sync({ id, email: 'Owner@example.com', name: 'Owner' });
    expect((await rowsOf('id = $1', id))[0]?.password_hash).toBe(before[0]?.password_hash);
  });

  it('decide between two accounts that want one address at once', async () => {
    const ids = ['b', 'c'].map((digit) => `${digit.repeat(8)}-1111-4111-8111-111111111111`);
    const answers = await Promise.all(ids.map((id) => sync({ id, email: 'both@cloud.example' })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    const same = await Promise.all([1, 2, 3].map(() => sync({ id: ids[0], email: 'again@cloud.example' })));
    expect(same.map(({ status }) => status)).toEqual([200, 200, 200]);
  });

  it('refuse what is no account', async () => {
    const id = 'dddddddd-1111-4111-8111-111111111111';
    for (const body of [
      {},
      { id },
      { email: 'x@example.com' },
      { id: 'x', email: 'x@example.com' },
      { id, email: 'x' },
      { id, email: '' },
      { id, email: 'x@example.com', name: 'x'.repeat(256) },
    ])
      expect((await sync(body)).status, JSON.stringify(body)).toBe(400);
  });
});

describe('without a gateway', () => {
  it('nobody becomes somebody by its headers, with the key or without', async () => {
    const { id, token } = await signUp(node, 'spoofed@example.com');
    const headers = { 'x-user-id': id, 'x-user-email': 'spoofed@example.com', 'x-user-role': 'admin' };
    for (const it of [headers, { ...headers, 'x-api-key': KEY }])
      expect((await node.call('GET', '/api/v1/user/websites', { headers: it })).status).toBe(401);
    const { body } = await node.call('GET', '/api/v1/user/auth/me', { token, headers });
    expect(body.data.user.role).toBe('user');
  });
});
