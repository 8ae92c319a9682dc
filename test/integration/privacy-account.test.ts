/** What accounts ask for about the data of their websites and about themselves, of the whole program on both event stores. */
import Type from 'typebox';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFailed, vi } from 'vitest';
import { account, type Site } from '../support/api.js';
import { until } from '../support/wait.js';
import { type PrivacyProgram, parse, startPrivacyProgram } from './privacy-program.js';

const PASSWORD = 'correct horse battery';
const NOW = Date.now();

const Rows = Type.Array(Type.Record(Type.String(), Type.Unknown()));
const Lists = Type.Array(
  Type.Object({ website_ids: Type.Optional(Type.Array(Type.String())), data: Type.Unknown() }),
);
const Export = Type.Object({
  success: Type.Literal(true),
  data: Type.Object({
    user_id: Type.String(),
    exported_at: Type.String(),
    data: Type.Object({ events: Lists, analytics: Lists, funnels: Lists }),
  }),
});
const Key = Type.Object({ data: Type.Object({ key: Type.String() }) });
const Made = Type.Object({ data: Type.Object({ id: Type.String(), site_id: Type.String() }) });
const Me = Type.Object({ data: Type.Object({ user: Type.Object({ id: Type.String() }) }) });
const Asked = Type.Object({
  data: Type.Object({
    id: Type.String(),
    type: Type.String(),
    status: Type.String(),
    download_url: Type.Union([Type.String(), Type.Null()]),
  }),
});
const Complies = Type.Object({ data: Type.Object({ visitor_addresses_stored: Type.Boolean() }) });
const Listed = Type.Object({ data: Type.Array(Asked.properties.data) });

describe.each(['clickhouse', 'postgres'] as const)('personal data of accounts on %s', (kind) => {
  let node: PrivacyProgram;
  let owner: string;
  let site: Site;

  beforeAll(async () => {
    node = await startPrivacyProgram(kind);
    owner = await idOf(account.email);
    site = await node.site();
    await visit(site, 'ada');
    await visit(site, 'bob');
    await node.booked(site, 6);
  });
  beforeEach(() => onTestFailed(() => node.program.showLog()));
  afterAll(() => node?.stop());

  const idOf = async (email: string): Promise<string> => {
    const { rows } = await node.sql.query('SELECT id FROM users WHERE email = $1', [email]);
    return String(rows[0]?.id);
  };
  async function signUp(name: string): Promise<{ token: string; id: string }> {
    const email = `${name}@shop.example`;
    const answer = await node.call('POST', 'user/auth/register', { name, email, password: PASSWORD });
    return { id: parse(Me, answer.body).data.user.id, token: await node.signIn(email, PASSWORD) };
  }
  async function visit({ siteId }: Pick<Site, 'siteId'>, visitor: string, at = NOW - 60_000): Promise<void> {
    const of = { visitor_id: visitor, session_id: `session of ${visitor}` };
    const time = (ms: number) => new Date(at + ms).toISOString();
    const events = [
      { ...of, page: '/', referrer: `https://a.example/?secret=${visitor}`, timestamp: time(0) },
      { ...of, page: '/b', event_type: 'purchase', timestamp: time(1), properties: { of: visitor } },
    ];
    await node.send('analytics/batch', { siteId, events });
    const step = { ...of, funnel_id: 'f', event_type: 'start', timestamp: time(0) };
    await node.send('funnels/batch', { website_id: siteId, events: [step] });
  }
  const count = async (table: string, siteId: string): Promise<number> => {
    const [row] = await node.rows(`SELECT count(*) AS n FROM ${table} WHERE site_id = '${siteId}'`);
    return Number(row?.n);
  };
  const views = async ({ id }: Pick<Site, 'id'>): Promise<unknown> => {
    const { body } = await node.call('GET', `analytics/dashboard/${id}?days=7`);
    const { page_views, unique_visitors } = parse(
      Type.Object({ page_views: Type.Number(), unique_visitors: Type.Number() }),
      body,
    );
    return { page_views, unique_visitors };
  };

  it('exports the data of all own websites in the form of the original', async () => {
    const { status, body, headers } = await node.call('GET', `privacy/export/${owner}`);
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toContain('no-store');
    const { data } = parse(Export, body);
    expect(data.user_id).toBe(owner);
    const [events] = data.data.events;
    expect(events?.website_ids).toEqual([site.siteId]);
    expect(parse(Rows, events?.data).map((row) => row.visitor_id)).toHaveLength(4);
    expect(data.data.analytics[0]?.data).toMatchObject({ page_views: 2, unique_visitors: 2, sessions: 2 });
    expect(JSON.stringify(body)).not.toContain('argon2');
    expect(JSON.stringify(body)).not.toContain('whsec_');
  });

  it('says so when an account has no websites, and exports what is kept of the account itself', async () => {
    const { id, token } = await signUp('lone');
    const key = { name: 'backup', scopes: ['read'] };
    const made = await node.call('POST', 'user/api-keys', key, token);
    await node.call('PUT', 'user/privacy/settings', { marketing_emails: true }, token);
    const exported = async () => (await node.call('GET', `privacy/export/${id}`, undefined, token)).body;
    const noted = (body: unknown) => JSON.stringify(body).includes('"POST /api/v1/user/api-keys"');
    await until(async () => noted(await exported()), { what: 'the entry of the audit log', everyMs: 250 });
    const body = await exported();
    expect(parse(Export, body).data.data).toMatchObject({
      events: [{ user_id: id, data: [], message: 'No websites found for user' }],
      analytics: [{ data: {} }],
      funnels: [{ data: [] }],
    });
    expect(body).toMatchObject({
      data: {
        account: {
          ...{ id, email: 'lone@shop.example', member_of: [], second_factor: null, notifications: [] },
          ...{ api_keys: [key], privacy_settings: { marketing_emails: true }, privacy_requests: [] },
        },
      },
    });
    expect(JSON.stringify(body)).not.toContain(parse(Key, made.body).data.key);
  });

  it('A4: lets nobody but the account itself and an admin export, remove or anonymize', async () => {
    const { token } = await signUp('eve');
    const routes = [
      ['GET', `privacy/export/${owner}`],
      ['DELETE', `privacy/delete/${owner}`],
      ['DELETE', `privacy/delete/website/${site.id}`],
      ['PUT', `privacy/anonymize/${owner}`],
    ] as const;
    for (const [method, path] of routes)
      expect((await node.call(method, path, undefined, token)).status).toBe(403);
    const { id } = await signUp('customer');
    expect((await node.call('GET', `privacy/export/${id}`)).status).toBe(200);
    const nobody = '00000000-0000-4000-8000-000000000000';
    expect((await node.call('GET', `privacy/export/${nobody}`)).status).toBe(404);
    expect(await count('events', site.siteId)).toBe(4);
  });

  it('makes visitors anonymous and keeps the figures', async () => {
    const before = await views(site);
    const { status, body } = await node.call('PUT', `privacy/anonymize/${owner}`);
    expect({ status, body }).toMatchObject({ status: 200, body: { success: true, status: 'completed' } });
    for (const table of ['events', 'funnel_events']) {
      const rows = await node.rows(`SELECT * FROM ${table} WHERE site_id = '${site.siteId}'`);
      expect(rows).toHaveLength(table === 'events' ? 4 : 2);
      for (const row of rows) expect(row.visitor_id).toMatch(/^anon_[0-9a-f]{16}$/);
      expect(JSON.stringify(rows)).not.toMatch(/ada|bob|secret/);
      expect(new Set(rows.map((row) => `${row.visitor_id} ${row.session_id}`)).size).toBe(2);
    }
    await vi.waitFor(async () => expect(await views(site)).toEqual(before), { timeout: 5_000 });
    // The second time there is nothing to do.
    expect((await node.call('PUT', `privacy/anonymize/${owner}`)).status).toBe(200);
    expect(await views(site)).toEqual(before);
  });

  it('P1: removes the data of one website and keeps the website', async () => {
    const other = await node.site();
    await visit(other, 'cid');
    await node.booked(other, 3);
    const { status } = await node.call('DELETE', `privacy/delete/website/${site.id}`);
    expect(status).toBe(200);
    for (const table of ['events', 'funnel_events', 'ingest_books'])
      expect(await count(table, site.siteId)).toBe(0);
    await vi.waitFor(async () => expect(await views(site)).toEqual({ page_views: 0, unique_visitors: 0 }), {
      timeout: 5_000,
    });
    expect(await count('events', other.siteId)).toBe(2);
    await visit(site, 'dan');
    await vi.waitFor(async () => expect(await count('events', site.siteId)).toBe(2), { timeout: 10_000 });
  });

  it('P2: removes the data of all own websites', async () => {
    const { status, body } = await node.call('DELETE', `privacy/delete/${owner}`);
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { success: true, message: 'User analytics data deleted successfully' },
    });
    expect(await node.rows('SELECT site_id FROM events')).toEqual([]);
    expect((await node.call('GET', `user/websites/${site.id}`)).status).toBe(200);
  });

  it('stores what an account decides about its own data', async () => {
    const { token } = await signUp('choosy');
    const changed = { marketing_emails: true, unknown: 'x' };
    await node.call('PUT', 'user/privacy/settings', changed, token);
    const { body } = await node.call('GET', 'user/privacy/settings', undefined, token);
    expect(body).toMatchObject({ success: true, data: { marketing_emails: true, product_emails: true } });
    expect(JSON.stringify(body)).not.toContain('unknown');
  });

  it('does what an account asks for, and tells how far it is', async () => {
    const { token } = await signUp('asking');
    const made = await node.call('POST', 'user/websites', { name: 'Mine', url: 'shop.example' }, token);
    const mine = parse(Made, made.body).data;
    await visit({ siteId: mine.site_id }, 'fay');
    await vi.waitFor(async () => expect(await count('events', mine.site_id)).toBe(2), { timeout: 10_000 });

    const asked = await node.call('POST', 'user/privacy/requests', { type: 'export' }, token);
    expect(asked.status).toBe(201);
    const file = parse(Asked, asked.body).data;
    expect(file).toMatchObject({ type: 'export', status: 'completed' });
    const path = String(file.download_url).replace('/api/v1/', '');
    const download = await node.call('GET', path, undefined, token);
    expect(parse(Rows, parse(Export, download.body).data.data.events[0]?.data)).toHaveLength(2);
    expect((await node.call('GET', path)).status).toBe(404);

    const gone = await node.call(
      'POST',
      'user/privacy/requests',
      { type: 'deletion', reason: 'I can' },
      token,
    );
    expect(parse(Asked, gone.body).data).toMatchObject({ type: 'deletion', status: 'completed' });
    expect(await count('events', mine.site_id)).toBe(0);
    const list = await node.call('GET', 'user/privacy/requests', undefined, token);
    expect(parse(Listed, list.body).data.map(({ type }) => type)).toEqual(['deletion', 'export']);
    const { body } = await node.call('GET', 'user/privacy/compliance', undefined, token);
    expect(body).toMatchObject({ success: true, data: { pending_requests: 0 } });
  });

  it('says whether addresses of visitors are stored: by the settings of own websites', async () => {
    const { token, id } = await signUp('compliant');
    const stored = async (): Promise<boolean> => {
      const { body } = await node.call('GET', 'user/privacy/compliance', undefined, token);
      return parse(Complies, body).data.visitor_addresses_stored;
    };
    const shared = await node.site({ ipHandling: 'keep' });
    await node.sql.query(
      "INSERT INTO website_members (website_id, user_id, role) VALUES ($1, $2, 'viewer')",
      [shared.id, id],
    );
    const made = await node.call('POST', 'user/websites', { name: 'Mine', url: 'shop.example' }, token);
    const path = `user/websites/${parse(Made, made.body).data.id}`;
    const said: boolean[] = [await stored()];
    for (const ipHandling of ['keep', 'truncate', 'drop']) {
      await node.call('PUT', path, { settings: { ipHandling } }, token);
      said.push(await stored());
    }
    expect(said).toEqual([false, true, true, false]);
  });

  it('takes a request up again that a crash has left', async () => {
    const { token, id } = await signUp('left');
    const made = await node.call('POST', 'user/websites', { name: 'Mine', url: 'shop.example' }, token);
    const { site_id } = parse(Made, made.body).data;
    await visit({ siteId: site_id }, 'gil');
    await vi.waitFor(async () => expect(await count('events', site_id)).toBe(2), { timeout: 10_000 });
    // As a node leaves it that dies in the middle: taken, its lease over.
    await node.sql.query(
      `WITH made AS (INSERT INTO privacy_requests (id, user_id, type, attempts, due_at, lease)
         VALUES (gen_random_uuid(), $1, 'delete_data', 1, now() - interval '1 second', gen_random_uuid()) RETURNING id)
       INSERT INTO privacy_request_sites (request_id, site_id) SELECT id, $2 FROM made`,
      [id, site_id],
    );
    await vi.waitFor(async () => expect(await count('events', site_id)).toBe(0), { timeout: 15_000 });
  });

  it('P3: deletes an account with its websites and their data when the password is entered again', async () => {
    const { token, id } = await signUp('leaving');
    const made = await node.call('POST', 'user/websites', { name: 'Mine', url: 'shop.example' }, token);
    const { site_id } = parse(Made, made.body).data;
    await visit({ siteId: site_id }, 'hal');
    await vi.waitFor(async () => expect(await count('events', site_id)).toBe(2), { timeout: 10_000 });
    const wrong = await node.call('DELETE', 'user/me', { password: 'not this one' }, token);
    expect(wrong).toMatchObject({ status: 400, body: { code: 'invalid_credentials' } });
    expect((await node.call('DELETE', 'user/me', {}, token)).status).toBe(400);
    expect((await node.call('GET', 'user/websites', undefined, token)).status).toBe(200);
    const done = await node.call(
      'POST',
      'user/privacy/delete',
      { reason: 'enough', confirmPassword: PASSWORD },
      token,
    );
    expect(done).toMatchObject({ status: 200, body: { success: true } });
    expect((await node.call('GET', 'user/websites', undefined, token)).status).toBe(401);
    await expect(node.signIn('leaving@shop.example', PASSWORD)).rejects.toThrow();
    for (const table of ['events', 'funnel_events', 'ingest_books'])
      expect(await count(table, site_id)).toBe(0);
    const { rows } = await node.sql.query('SELECT 1 FROM websites WHERE user_id = $1', [id]);
    expect(rows).toEqual([]);
    // What is still sent for it is not stored.
    const sent = await node.send('analytics/event', { website_id: site_id, visitor_id: 'hal', page: '/' });
    expect(sent.status).toBeGreaterThanOrEqual(400);
    const again = await signUp('leaving');
    expect(again.id).not.toBe(id);
    expect((await node.call('DELETE', 'user/me', { password: PASSWORD }, again.token)).status).toBe(200);
  });
});
