import { createHash, randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshPostgres } from '../support/fresh.js';
import { type Node, signUp, startNode } from './accounts-node.js';

let database: Awaited<ReturnType<typeof freshPostgres>>;
let node: Node;
let sql: pg.Client;
let owner: { token: string; id: string };

beforeAll(async () => {
  database = await freshPostgres();
  node = await startNode({ databaseUrl: database.url, staleMs: 300 });
  owner = await signUp(node, 'owner@example.com');
  sql = new pg.Client({ connectionString: database.url });
  await sql.connect();
});
afterAll(async () => {
  await sql.end();
  await node.stop();
  await database.drop();
});

const create = (key: string, name: string, token = owner.token) =>
  node.call('POST', '/api/v1/user/websites', {
    token,
    body: { name, url: 'https://shop.example' },
    headers: { 'idempotency-key': key },
  });

async function names(): Promise<string[]> {
  const { body } = await node.call('GET', '/api/v1/user/websites', { token: owner.token });
  return body.data.map((site: { name: string }) => site.name);
}

describe('Idempotency-Key', () => {
  it('makes a create that is sent twice happen once, with the same answer', async () => {
    const first = await create('twice', 'Twice');
    const second = await create('twice', 'Twice');
    expect(first.status).toBe(201);
    expect(second).toMatchObject({ status: 201, body: first.body });
    expect(first.headers.get('idempotency-replayed')).toBeNull();
    expect(second.headers.get('idempotency-replayed')).toBe('true');
    expect((await names()).filter((name) => name === 'Twice')).toHaveLength(1);
  });

  it('lets one of many at the same time through', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => create('race', 'Race')));
    expect((await names()).filter((name) => name === 'Race')).toHaveLength(1);
    for (const { status, body } of answers)
      if (status !== 201) expect(body).toMatchObject({ code: 'request_in_progress' });
    const ids = new Set(answers.filter(({ status }) => status === 201).map(({ body }) => body.data.id));
    expect(ids.size).toBe(1);
  });

  it('refuses a key that stands for another request', async () => {
    await create('other', 'One');
    expect(await create('other', 'Two')).toMatchObject({
      status: 422,
      body: { code: 'idempotency_mismatch' },
    });
    expect(await names()).not.toContain('Two');
  });

  it('belongs to its account', async () => {
    await create('shared', 'Mine');
    const stranger = await signUp(node, 'stranger@example.com');
    const theirs = await create('shared', 'Theirs', stranger.token);
    expect(theirs.status).toBe(201);
    expect(theirs.body.data.name).toBe('Theirs');
  });

  it('is free again when the request failed', async () => {
    const broken = () =>
      node.call('POST', '/api/v1/user/websites', {
        token: owner.token,
        body: { name: 'Broken', url: '' },
        headers: { 'idempotency-key': 'failed' },
      });
    expect((await broken()).status).toBe(400);
    expect((await broken()).headers.get('idempotency-replayed')).toBeNull();
    expect((await create('failed', 'Fixed')).status).toBe(201);
  });

  it('is taken over from a node that died in the middle', async () => {
    const { idempotency } = node.metadata;
    const fingerprint = Buffer.from('same');
    const dead = await idempotency.claim(owner.id, 'dead', fingerprint, 0);
    expect(dead.state).toBe('claimed');
    expect((await idempotency.claim(owner.id, 'dead', fingerprint, 60_000)).state).toBe('running');
    const heir = await idempotency.claim(owner.id, 'dead', fingerprint, -1);
    if (dead.state !== 'claimed' || heir.state !== 'claimed') throw new Error('not taken over');
    // The dead one wakes up: its answer does not count any more.
    await idempotency.finish(owner.id, 'dead', dead.claim, 201, '"old"');
    await idempotency.finish(owner.id, 'dead', heir.claim, 201, '"new"');
    expect(await idempotency.claim(owner.id, 'dead', fingerprint, 0)).toEqual({
      ...{ state: 'done', status: 201, answer: '"new"' },
    });
  });

  it('is forgotten in time', async () => {
    const { idempotency } = node.metadata;
    const key = randomUUID();
    await idempotency.claim(owner.id, key, Buffer.from('x'), 60_000);
    expect(await idempotency.expire(3_600_000)).toBe(0);
    expect(await idempotency.expire(-1000)).toBeGreaterThan(0);
    expect((await idempotency.claim(owner.id, key, Buffer.from('y'), 60_000)).state).toBe('claimed');
  });

  it('keeps no tokens: signing in is done each time', async () => {
    const headers = { 'idempotency-key': 'sign-in' };
    const body = { email: 'owner@example.com', password: 'correct horse' };
    const login = () => node.call('POST', '/api/v1/user/auth/login', { token: owner.token, headers, body });
    const answers = [await login(), await login()];
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(answers[1]?.headers.get('idempotency-replayed')).toBeNull();
    const { rows } = await sql.query("SELECT 1 FROM idempotency_keys WHERE key = 'sign-in'");
    expect(rows).toEqual([]);
  });

  it('tells nothing of the body to whoever reads the table', async () => {
    await create('hidden', 'Hidden');
    const { rows } = await sql.query("SELECT fingerprint FROM idempotency_keys WHERE key = 'hidden'");
    const body = JSON.stringify({ name: 'Hidden', url: 'https://shop.example' });
    const plain = createHash('sha256').update(`POST /api/v1/user/websites?\n${body}`).digest();
    expect(rows[0].fingerprint).toHaveLength(32);
    expect(rows[0].fingerprint).not.toEqual(plain);
  });

  it.each(['x'.repeat(256), 'two words'])('must be a plain word: %j', async (key) => {
    expect(await create(key, 'Key')).toMatchObject({ status: 400, body: { code: 'invalid_parameter' } });
  });
});
