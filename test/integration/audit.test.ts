import pg from 'pg';
import Type from 'typebox';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type AuditFact, createAuditLog } from '../../src/audit/audit-log.js';
import { networkOf } from '../../src/audit/network.js';
import { siteUploadRoute } from '../../src/edge/route.js';
import { privacyRoutes } from '../../src/edge/routes/privacy.js';
import { AppError } from '../../src/errors.js';
import type { AuditEntry } from '../../src/storage/metadata/audit.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';
import { type Node, signUp, startNode } from './accounts-node.js';

const SITES = '/api/v1/user/websites';
const ADMIN = '/api/v1/admin/audit';
const UNKNOWN = '00000000-0000-4000-8000-000000000000';

/** A route of the kind that takes files. */
const upload = siteUploadRoute({
  method: 'POST',
  path: '/api/v1/upload',
  ...{ summary: 'A file', tag: 'test', bucket: 'api', cors: 'api' },
  access: { site: 'write' },
  siteFrom: { field: 'website_id' },
  params: Type.Object({}),
  body: Type.Object({ website_id: Type.String() }),
  form: { fileBytes: 1024 },
  responses: { 200: Type.Unknown() },
  async handle({ read }) {
    await read(async () => undefined);
    return { status: 200, body: {} };
  },
});

/** Exports of nothing. */
const exporting = privacyRoutes({
  requests: { submit: () => Promise.reject(new Error('not asked here')) },
  exports: { account: async () => nothing(), visitor: () => nothing() },
  accountExists: async () => true,
});
async function* nothing() {
  yield Buffer.from('{}');
}

let database: Awaited<ReturnType<typeof freshPostgres>>;
let node: Node;
let client: pg.Client;
let admin: { token: string; id: string };
beforeAll(async () => {
  database = await freshPostgres();
  node = await startNode({ databaseUrl: database.url, routes: () => [upload, ...exporting] });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  admin = await signUp(node, 'admin@example.com');
});
afterAll(async () => {
  await client.end();
  await node.stop();
  await database.drop();
});

let accounts = 0;
let email: string;
let owner: { token: string; id: string };
beforeEach(async () => {
  email = `owner-${accounts++}@example.com`;
  owner = await signUp(node, email);
});

type Entry = Record<'id' | 'at' | 'action' | 'outcome' | 'network', string> &
  Record<'user_id' | 'key_id' | 'website_id' | 'target_id', string | null>;
const read = async (path: string, token: string): Promise<{ data: Entry[]; next_cursor: string | null }> => {
  await node.audit.flush();
  return (await node.call('GET', path, { token })).body;
};
/** What the owner did, newest first. */
const deeds = async () => (await read(`${ADMIN}?user_id=${owner.id}`, admin.token)).data;
const actions = async () => (await deeds()).map(({ action, outcome }) => `${action} ${outcome}`);
const createSite = async (): Promise<{ id: string; site_id: string }> =>
  (
    await node.call('POST', SITES, {
      token: owner.token,
      body: { name: 'Secret plan', url: 'plan.example' },
    })
  ).body.data;

describe('the audit log', () => {
  it('has every change of an account, by whom, to what and from where, and no reading', async () => {
    const site = await createSite();
    const { token } = owner;
    const member = await signUp(node, `member-${accounts}@example.com`);
    const members = `${SITES}/${site.site_id}/members`;
    const body = { email: `member-${accounts}@example.com`, role: 'viewer' };
    const added = await node.call('POST', members, { token, body });
    expect(added.status).toBe(201);
    expect((await node.call('DELETE', `${members}/${member.id}`, { token })).status).toBe(200);
    expect((await node.call('GET', members, { token })).status).toBe(200);
    const anybody = {
      user_id: owner.id,
      key_id: null,
      target_id: null,
      outcome: 'done',
      network: '127.0.0.0/24',
    };
    const shown = (await deeds()).map(({ id, at, ...rest }) => {
      expect(Math.abs(Date.parse(at) - Date.now())).toBeLessThan(60_000);
      expect(id).toMatch(/^\d+$/);
      return rest;
    });
    expect(shown).toEqual([
      {
        ...anybody,
        action: `DELETE ${SITES}/:id/members/:user_id`,
        website_id: site.id,
        target_id: member.id,
      },
      { ...anybody, action: `POST ${SITES}/:id/members`, website_id: site.id, target_id: added.body.data.id },
      { ...anybody, action: `POST ${SITES}`, website_id: null, target_id: site.id },
      { ...anybody, action: 'register', website_id: null },
    ]);
  });

  it('has every export: of whose data, of which website', async () => {
    const { id } = await createSite();
    const exportOf = (account: string, token: string) =>
      node.call('GET', `/api/v1/privacy/export/${account}`, { token });
    expect((await exportOf(owner.id, admin.token)).status).toBe(200);
    expect((await exportOf(admin.id, owner.token)).status).toBe(403);
    const ofVisitor = `/api/v1/websites/${id}/visitors/somebody/export`;
    expect((await node.call('GET', ofVisitor, { token: owner.token })).status).toBe(200);
    const [visitor, site] = await deeds();
    expect(visitor).toMatchObject({
      action: 'GET /api/v1/websites/:website_id/visitors/:visitor_id/export',
      ...{ user_id: owner.id, website_id: id, target_id: null, outcome: 'done' },
    });
    expect(site?.action).toBe(`POST ${SITES}`);
    const [account] = (await read(`${ADMIN}?user_id=${admin.id}`, admin.token)).data;
    expect(account).toMatchObject({
      action: 'GET /api/v1/privacy/export/:user_id',
      ...{ user_id: admin.id, website_id: null, target_id: owner.id },
    });
  });

  it('has what a key did as done with that key', async () => {
    const { id: site } = await createSite();
    const made = await node.call('POST', '/api/v1/user/api-keys', {
      token: owner.token,
      body: { name: 'x', scopes: ['write'] },
    });
    const { id, key } = made.body.data;
    await node.call('PUT', `${SITES}/${site}`, { token: key, body: { name: 'x' } });
    const [entry] = await deeds();
    expect(entry).toMatchObject({
      action: `PUT ${SITES}/:id`,
      key_id: id,
      user_id: owner.id,
      website_id: site,
    });
    await node.call('DELETE', `/api/v1/user/api-keys/${id}`, { token: owner.token });
    expect((await deeds())[0]).toMatchObject({ target_id: id, key_id: null });
  });

  it('has files that were taken, of the website that their form names', async () => {
    const site = await createSite();
    const form = new FormData();
    form.set('website_id', site.site_id);
    const answer = await fetch(`${node.url}/api/v1/upload`, {
      method: 'POST',
      headers: { authorization: `Bearer ${owner.token}` },
      body: form,
    });
    expect(answer.status).toBe(200);
    expect((await deeds())[0]).toMatchObject({ action: 'POST /api/v1/upload', website_id: site.id });
  });

  it('has nothing that was refused, failed or only answered again', async () => {
    const { token } = owner;
    const before = (await actions()).length;
    await node.call('POST', SITES, { token, body: {} });
    await node.call('DELETE', `${SITES}/${UNKNOWN}`, { token });
    await node.call('POST', SITES, { body: { name: 'x', url: 'x.example' } });
    const once = { token, body: { name: 'x', url: 'x.example' }, headers: { 'idempotency-key': 'once' } };
    for (let n = 0; n < 2; n++) expect((await node.call('POST', SITES, once)).status).toBe(201);
    expect((await actions()).slice(0, -before)).toEqual([`POST ${SITES} done`]);
  });

  it('has sign-ins, and failed ones of accounts that there are', async () => {
    const login = (password: string, address = email) =>
      node.call('POST', '/api/v1/auth/login', { body: { email: address, password } });
    await login('wrong password');
    await login('correct horse');
    await login('wrong password', 'nobody@example.com');
    expect(await actions()).toEqual(['sign in done', 'sign in failed', 'register done']);
    await node.audit.flush();
    const { rows } = await client.query(
      'SELECT count(*)::int AS strangers FROM audit_log WHERE user_id IS NULL',
    );
    expect(rows).toEqual([{ strangers: 0 }]);
  });

  it('names nobody: no addresses, names, passwords or other bodies', async () => {
    await createSite();
    await node.call('PUT', '/api/v1/user/users/profile', {
      token: owner.token,
      body: { name: 'Grace', email: `grace-${accounts}@example.com` },
    });
    await node.audit.flush();
    const { rows } = await client.query('SELECT a::text AS line FROM audit_log a');
    expect(rows.length).toBeGreaterThan(5);
    for (const { line } of rows) expect(line).not.toMatch(/@|Grace|Secret|plan|horse|127\.0\.0\.1/);
  });

  it('is shown of a website to whom may manage it, of everything to the instance admin', async () => {
    const [site, other] = [await createSite(), await createSite()];
    for (const id of [site.id, other.id, site.id]) {
      await node.call('PUT', `${SITES}/${id}`, { token: owner.token, body: { name: 'x' } });
    }
    const path = `/api/v1/websites/${site.site_id}/audit`;
    const { data } = await read(path, owner.token);
    expect(data.map(({ website_id }) => website_id)).toEqual([site.id, site.id]);
    const member = await signUp(node, `member-${accounts}@example.com`);
    await node.call('POST', `${SITES}/${site.id}/members`, {
      token: owner.token,
      body: { email: `member-${accounts}@example.com`, role: 'admin' },
    });
    expect((await node.call('GET', path, { token: member.token })).status).toBe(403);
    expect((await node.call('GET', ADMIN, { token: owner.token })).status).toBe(403);
    const all = await read(`${ADMIN}?website_id=${other.id}`, admin.token);
    expect(all.data).toHaveLength(1);
    expect((await node.call('GET', `${ADMIN}?user_id=x`, { token: admin.token })).status).toBe(400);
  });

  it('comes in pages that miss and repeat nothing while it grows', async () => {
    for (let n = 0; n < 5; n++) await createSite();
    const wanted = (await deeds()).map(({ id }) => id);
    const seen: string[] = [];
    let cursor = '';
    for (let pages = 0; pages < 10; pages++) {
      const page = await read(`${ADMIN}?user_id=${owner.id}&limit=2&cursor=${cursor}`, admin.token);
      expect(page.data.length).toBeLessThanOrEqual(2);
      seen.push(...page.data.map(({ id }) => id));
      if (page.next_cursor === null) break;
      cursor = page.next_cursor;
      if (pages === 0) await createSite();
    }
    expect(seen).toEqual(wanted);
    expect((await node.call('GET', `${ADMIN}?cursor=x`, { token: admin.token })).body.code).toBe(
      'invalid_parameter',
    );
  });

  it('keeps what was done to a website and by an account that are gone', async () => {
    const site = await createSite();
    await node.call('DELETE', `${SITES}/${site.id}`, { token: owner.token });
    await node.audit.flush();
    await client.query('DELETE FROM users WHERE id = $1', [owner.id]);
    expect(await actions()).toEqual([`DELETE ${SITES}/:id done`, `POST ${SITES} done`, 'register done']);
    const { data } = await read(`${ADMIN}?website_id=${site.id}`, admin.token);
    expect(data).toHaveLength(1);
  });

  it('is never changed, and loses only what is older than its retention', async () => {
    await node.audit.flush();
    await expect(client.query("UPDATE audit_log SET action = 'x'")).rejects.toThrow(/never changed/);
    const { audit } = node.metadata;
    const day = 86_400_000;
    const old = (days: number): AuditEntry => ({
      ...{ at: new Date(Date.now() - days * day), action: `${days} days`, outcome: 'done', userId: owner.id },
      ...{ keyId: null, websiteId: null, targetId: null, network: '' },
    });
    await audit.append([old(400), old(366), old(364)]);
    await node.audit.expire();
    expect((await actions()).sort()).toEqual(['364 days done', 'register done']);
  });
});

describe('the queue of the audit log', () => {
  const fact: AuditFact = {
    ...{ action: 'x', outcome: 'done', userId: UNKNOWN, keyId: null, websiteId: null },
    ...{ targetId: 'a visitor', address: '192.0.2.7' },
  };

  it('waits for its store, bounded, and stores what waited once', async () => {
    const telemetry = silentTelemetry();
    const stored: AuditEntry[] = [];
    let isAway = true;
    const store = {
      async append(entries: readonly AuditEntry[]) {
        if (isAway) throw new AppError('storage_unavailable', 'away');
        stored.push(...entries);
      },
      expire: async () => 0,
    };
    const log = createAuditLog({ store, telemetry, retentionDays: 0, maxWaiting: 3 });
    for (let n = 0; n < 5; n++) log.record({ ...fact, action: `${n}` });
    await log.flush();
    expect(stored).toEqual([]);
    isAway = false;
    await Promise.all([log.flush(), log.close()]);
    expect(stored.map(({ action }) => action)).toEqual(['0', '1', '2']);
    expect(stored[0]).toMatchObject({ targetId: null, network: '192.0.2.0/24' });
    const metrics = await telemetry.registry.metrics();
    expect(metrics).toContain('seentics_audit_entries_total{outcome="dropped"} 2');
    expect(metrics).toContain('seentics_audit_entries_total{outcome="stored"} 3');
  });

  it.each([
    ['192.0.2.77', '192.0.2.0/24'],
    ['::ffff:192.0.2.77', '192.0.2.0/24'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1::/48'],
    ['', ''],
    ['nonsense', ''],
  ])('cuts %j to %j', (address, network) => {
    expect(networkOf(address)).toBe(network);
  });
});
