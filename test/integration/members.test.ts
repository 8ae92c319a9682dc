import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createRedisCache } from '../../src/storage/cache/redis-cache.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { atTheSameTime } from '../support/at-the-same-time.js';
import { freshName, freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const BASE = '/api/v1/user/websites';
const NOBODY = '00000000-0000-4000-8000-000000000000';
const TIME = /^20\d\d-\d\d-\d\dT.*Z$/;

let database: Awaited<ReturnType<typeof freshPostgres>>;
let node: Node;
const accounts = new Map<string, { token: string; id: string }>();
const account = (who: string) => accounts.get(who) ?? { token: '', id: '' };

beforeAll(async () => {
  database = await freshPostgres();
  node = await startNode({ databaseUrl: database.url });
  for (const who of ['instance', 'owner', 'ann', 'bob', 'stranger']) {
    accounts.set(who, await signUp(node, `${who}@example.com`));
  }
});
afterAll(async () => {
  await node.stop();
  await database.drop();
});

const as = (who: string, method: string, path: string, body?: unknown, at: Pick<Node, 'call'> = node) =>
  at.call(method, path, { token: account(who).token, ...(body === undefined ? {} : { body }) });
const newSite = async () =>
  (await as('owner', 'POST', BASE, { name: 'Shop', url: 'shop.example' })).body.data;

describe('members of a website', () => {
  it('are added by e-mail in any case, listed oldest first and removed', async () => {
    const site = await newSite();
    const path = `${BASE}/${site.site_id}/members`;
    const added = await as('owner', 'POST', path, { email: ' ANN@example.com ', role: 'viewer' });
    const ann = {
      id: expect.any(String),
      websiteId: site.id,
      userId: account('ann').id,
      role: 'viewer',
      userName: 'ann@example.com',
      userEmail: 'ann@example.com',
      createdAt: expect.stringMatching(TIME),
      updatedAt: expect.stringMatching(TIME),
    };
    expect([added.status, added.body]).toEqual([201, { message: 'Member added successfully', data: ann }]);
    await as('owner', 'POST', path, { email: 'bob@example.com', role: 'admin' });
    const list = (await as('owner', 'GET', path)).body.data;
    expect(list).toEqual([
      expect.objectContaining({ userId: account('owner').id, role: 'owner' }),
      ann,
      expect.objectContaining({ userId: account('bob').id, role: 'admin' }),
    ]);
    const page = (await as('owner', 'GET', `${path}?limit=2`)).body;
    expect(page.data).toEqual(list.slice(0, 2));
    const rest = await as('owner', 'GET', `${path}?limit=2&cursor=${page.next_cursor}`);
    expect(rest.body).toEqual({ data: list.slice(2), next_cursor: null });
    const removed = await as('owner', 'DELETE', `${path}/${account('ann').id}`);
    expect([removed.status, removed.body]).toEqual([200, { message: 'Member removed successfully' }]);
    expect((await as('owner', 'GET', path)).body.data).toEqual([list[0], list[2]]);
  });

  it('may do at once what their role allows, and nothing more once they are gone', async () => {
    const site = await newSite();
    const path = `${BASE}/${site.id}/members`;
    const can = async () => [
      (await as('ann', 'GET', `${BASE}/${site.id}`)).status,
      (await as('ann', 'PUT', `${BASE}/${site.id}`, { name: 'Mine' })).status,
      (await as('ann', 'POST', path, { email: 'stranger@example.com', role: 'viewer' })).status,
    ];
    expect(await can()).toEqual([403, 403, 403]);
    await as('owner', 'POST', path, { email: 'ann@example.com', role: 'viewer' });
    expect(await can()).toEqual([200, 403, 403]);
    const member = `${path}/${account('ann').id}`;
    const changed = await as('owner', 'PUT', member, { role: 'admin' });
    expect(changed).toMatchObject({
      status: 200,
      body: { message: 'Member updated successfully', data: { userId: account('ann').id, role: 'admin' } },
    });
    expect(changed.body.data.updatedAt > changed.body.data.createdAt).toBe(true);
    expect(await can()).toEqual([200, 200, 403]);
    await as('owner', 'DELETE', member);
    expect(await can()).toEqual([403, 403, 403]);
  });

  it('are seen by the team and managed by owner and instance admin only', async () => {
    const site = await newSite();
    const path = `${BASE}/${site.id}/members`;
    await as('owner', 'POST', path, { email: 'ann@example.com', role: 'viewer' });
    await as('instance', 'POST', path, { email: 'bob@example.com', role: 'admin' });
    const before = (await as('owner', 'GET', path)).body.data;
    expect(before).toHaveLength(3);
    for (const [who, reads] of [
      ['ann', 200],
      ['bob', 200],
      ['stranger', 403],
      ['nobody', 401],
    ] as const) {
      const refused = reads === 401 ? 401 : 403;
      const token = account(who).token;
      const call = (method: string, to: string, body?: unknown) =>
        node.call(method, to, {
          ...(token === '' ? {} : { token }),
          ...(body === undefined ? {} : { body }),
        });
      expect((await call('GET', path)).status, who).toBe(reads);
      const add = await call('POST', path, { email: 'stranger@example.com', role: 'admin' });
      const promote = await call('PUT', `${path}/${account('ann').id}`, { role: 'admin' });
      const remove = await call('DELETE', `${path}/${account('ann').id}`);
      expect([add.status, promote.status, remove.status], who).toEqual([refused, refused, refused]);
    }
    expect((await as('owner', 'GET', path)).body.data).toEqual(before);
  });

  it('never lose the owner, even where a database of the original has no row of theirs', async () => {
    const site = await newSite();
    const path = `${BASE}/${site.id}/members`;
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query('DELETE FROM website_members WHERE website_id = $1', [site.id]);
    await client.end();
    const owner = `${path}/${account('owner').id.toUpperCase()}`;
    const answers = [
      await as('owner', 'DELETE', owner),
      await as('instance', 'PUT', owner, { role: 'viewer' }),
      await as('owner', 'POST', path, { email: 'owner@example.com', role: 'viewer' }),
    ];
    expect(answers.map(({ status, body }) => [status, body.code, body.error])).toEqual([
      [409, 'conflict', 'cannot remove the website owner from the team'],
      [409, 'conflict', 'cannot change the role of the website owner'],
      [409, 'conflict', 'user is already a member of this website'],
    ]);
    expect((await as('owner', 'GET', path)).body.data).toMatchObject([
      { userId: account('owner').id, role: 'owner', createdAt: site.created_at },
    ]);
  });

  it('refuse what makes no sense', async () => {
    const path = `${BASE}/${(await newSite()).id}/members`;
    const add = (email: unknown, role: unknown) => as('owner', 'POST', path, { email, role });
    expect((await add('ann@example.com', 'viewer')).status).toBe(201);
    expect(await add('Ann@example.com', 'admin')).toMatchObject({ status: 409, body: { code: 'conflict' } });
    expect(await add('unknown@example.com', 'admin')).toMatchObject({
      status: 404,
      body: { code: 'not_found' },
    });
    expect((await add('bob@example.com', 'owner')).status).toBe(400);
    expect((await add('', 'viewer')).status).toBe(400);
    expect((await as('owner', 'PUT', `${path}/${account('ann').id}`, { role: 'owner' })).status).toBe(400);
    for (const method of ['DELETE', 'PUT']) {
      const call = (id: string) => as('owner', method, `${path}/${id}`, { role: 'admin' });
      expect(await call('x')).toMatchObject({ status: 400, body: { error: 'Invalid user ID' } });
      expect((await call(NOBODY)).status).toBe(404);
      expect((await call(account('bob').id)).status).toBe(404);
    }
  });

  it('added twice at once are there once', async () => {
    const path = `${BASE}/${(await newSite()).id}/members`;
    const add = () => as('owner', 'POST', path, { email: 'ann@example.com', role: 'viewer' });
    const answers = await Promise.all([add(), add(), add()]);
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409, 409]);
    expect((await as('owner', 'GET', path)).body.data).toHaveLength(2);
  });

  it('are at most so many, also when they are added at the same time', async () => {
    const site = await newSite();
    const { members } = node.metadata;
    const count = 'SELECT count(*)::int AS n FROM website_members WHERE website_id = $1';
    const sql = new pg.Client({ connectionString: database.url });
    await sql.connect();
    const there = async (): Promise<number> => (await sql.query(count, [site.id])).rows[0].n;
    const most = (await there()) + 1;
    const lock = 'SELECT FROM websites WHERE id = $1 FOR UPDATE';
    const added = await atTheSameTime(database.url, lock, site.id, () =>
      ['ann', 'bob', 'stranger'].map((who) => members.add(site.id, account(who).id, 'viewer', most)),
    );
    expect(added.filter((member) => member !== null)).toHaveLength(1);
    expect(await there()).toBe(most);
    await sql.end();
  });

  it('are out on the other nodes too', async () => {
    const prefix = `${freshName('members')}:`;
    const open = () =>
      createRedisCache({ url: inject('servers').redis, prefix, telemetry: silentTelemetry() });
    const caches = await Promise.all([open(), open()]);
    const [one, two] = await Promise.all(
      caches.map((cache) => startNode({ databaseUrl: database.url, cache })),
    );
    if (!one || !two) throw new Error('no nodes');
    const site = await newSite();
    const path = `${BASE}/${site.id}/members`;
    await as('owner', 'POST', path, { email: 'ann@example.com', role: 'viewer' }, one);
    expect((await as('ann', 'GET', `${BASE}/${site.id}`, undefined, two)).status).toBe(200);
    await as('owner', 'DELETE', `${path}/${account('ann').id}`, undefined, one);
    await until(async () => (await as('ann', 'GET', `${BASE}/${site.id}`, undefined, two)).status === 403, {
      what: 'the other node to know that the member is gone',
      timeoutMs: 5_000,
    });
    await Promise.all([one.stop(), two.stop()]);
    await Promise.all(caches.map((cache) => cache.close()));
  });
});
