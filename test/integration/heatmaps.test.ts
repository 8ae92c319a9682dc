/** Heatmaps over HTTP, of the whole program on both event stores. */
import { join } from 'node:path';
import pg from 'pg';
import Type, { type Static, type TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFailed } from 'vitest';
import { Api, type Site } from '../support/api.js';
import { freshClickhouse, freshName, freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';
import { until } from '../support/wait.js';

const SECONDS = Math.floor(Date.now() / 1000);
const HOUR = 3_600;
const HOST = 'shop.example';
const CHROME = (version: number) =>
  `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${version}.0.0.0 Safari/537.36`;

const Books = Type.Object({
  balanced: Type.Boolean(),
  sources: Type.Array(
    Type.Object({
      source: Type.String(),
      received: Type.Number(),
      stored: Type.Number(),
      duplicate: Type.Number(),
      rejected: Type.Number(),
    }),
  ),
});
const Point = Type.Object({
  website_id: Type.String(),
  url: Type.String(),
  type: Type.String(),
  device_type: Type.String(),
  x_percent: Type.Number(),
  y_percent: Type.Number(),
  selector: Type.String(),
  x: Type.Number(),
  y: Type.Number(),
  intensity: Type.Number(),
  last_seen: Type.String(),
});
const Data = Type.Object({ points: Type.Array(Point) });
const Pages = Type.Object({
  pages: Type.Array(
    Type.Object({
      url: Type.String(),
      views: Type.Number(),
      clicks: Type.Number(),
      avg_scroll: Type.Number(),
      active: Type.Boolean(),
    }),
  ),
  total: Type.Number(),
});
const Elements = Type.Object({
  elements: Type.Array(Type.Object({ selector: Type.String(), clicks: Type.Number() })),
});
const Config = Type.Object({ tracked_urls: Type.Array(Type.String()), max_heatmaps: Type.Literal(-1) });
const SignedIn = Type.Object({
  data: Type.Object({ tokens: Type.Object({ access_token: Type.String() }) }),
});

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

describe.each(['clickhouse', 'postgres'] as const)('heatmaps on %s', (kind) => {
  let guard: Guard;
  let program: Program;
  let api: Api;
  let owner: string;
  let stranger: string;
  let sql: pg.Client;
  const databases: { drop(): Promise<void> }[] = [];

  beforeAll(async () => {
    const postgres = await freshPostgres();
    databases.push(postgres);
    sql = new pg.Client({ connectionString: postgres.url });
    await sql.connect();
    const env: Record<string, string> = { DATABASE_URL: postgres.url, ALLOW_REGISTRATION: 'true' };
    if (kind === 'clickhouse') {
      const clickhouse = await freshClickhouse();
      databases.push(clickhouse);
      Object.assign(env, { CLICKHOUSE_URL: clickhouse.url, CLICKHOUSE_DB: clickhouse.database });
    } else env.EVENT_STORE = 'postgres';
    guard = await Guard.start();
    program = await Program.start(guard, {
      dataDir: join(guard.directory, 'data'),
      env: { ...env, JWT_SECRET: freshName('a secret that is long enough'), FLUSH_INTERVAL_MS: '50' },
    });
    api = await Api.register(() => program.url);
    owner = await signIn('owner@shop.example');
    stranger = await register('stranger@shop.example');
  });
  beforeEach(() => onTestFailed(() => program.showLog()));
  afterAll(async () => {
    await program?.stop();
    await guard?.stop();
    await sql?.end();
    for (const database of databases) await database.drop();
  });

  const call = async (
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = { authorization: `Bearer ${owner}` },
  ): Promise<Answer> => {
    const answer = await fetch(`${program.url}/api/v1/${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    return { status: answer.status, body: JSON.parse(await answer.text()) };
  };
  const get = async <S extends TSchema>(schema: S, path: string): Promise<Static<S>> => {
    const { status, body } = await call('GET', path);
    if (status !== 200 || !Value.Check(schema, body))
      throw new Error(`GET ${path}: ${status} ${JSON.stringify(body)}`);
    return body;
  };
  const tokenOf = ({ body }: Answer): string => Value.Parse(SignedIn, body).data.tokens.access_token;
  const signIn = async (email: string) =>
    tokenOf(await call('POST', 'user/auth/login', { email, password: 'correct horse battery' }, {}));
  const register = async (email: string) => {
    const account = { name: 'Test', email, password: 'correct horse battery' };
    return tokenOf(await call('POST', 'user/auth/register', account, {}));
  };

  let sites = 0;
  const newSite = (): Promise<Site> => api.createSite(`${++sites}.${HOST}`);

  const record = (site: Site, points: unknown, headers: Record<string, string> = {}, id = site.siteId) =>
    call(
      'POST',
      'heatmaps/record',
      { website_id: id, points },
      { 'user-agent': CHROME(124), origin: `https://${site.host}`, ...headers },
    );
  const recorded = async (site: Site, points: unknown, headers: Record<string, string> = {}) =>
    expect(await record(site, points, headers)).toEqual({ status: 200, body: { status: 'success' } });

  const point = (changes: object = {}) => ({
    type: 'click',
    x: 500,
    y: 200,
    selector: 'a#buy',
    url: '/pricing',
    device_type: 'desktop',
    timestamp: SECONDS - HOUR,
    ...changes,
  });

  /** Waits until so many rows (equal points of a request are one) are booked, and answers the books. */
  const booked = async (site: Site, received: number) => {
    const { balanced, sources } = await until(
      async () => {
        const books = await get(Books, `websites/${site.id}/ingestion`);
        return books.sources.some((it) => it.source === 'heatmap' && it.received >= received) && books;
      },
      { what: `${received} heat points in the books` },
    );
    expect(balanced).toBe(true);
    const books = sources.find(({ source }) => source === 'heatmap');
    expect(books?.received).toBe(received);
    return books;
  };

  const at = (seconds: number) => new Date(seconds * 1000).toISOString();
  const data = async (site: Site, query = '', url = '/pricing') => {
    const path = `heatmaps/data?website_id=${site.id}&url=${encodeURIComponent(url)}${query}`;
    return (await get(Data, path)).points;
  };
  const cells = async (site: Site, query = '', url = '/pricing') =>
    (await data(site, query, url)).map(({ x_percent, y_percent, intensity }) => [
      x_percent,
      y_percent,
      intensity,
    ]);
  const pages = (site: Site, query = '') => get(Pages, `heatmaps/pages?website_id=${site.id}${query}`);

  it('sum the points of a range of time, in the shape of the contract', async () => {
    const site = await newSite();
    const old = { timestamp: SECONDS - 48 * HOUR };
    await recorded(site, [
      point(),
      point(),
      point({ x: 400.4, y_percent: 300 }),
      point(old),
      point({ ...old, x: 1 }),
    ]);
    await recorded(site, [point({ timestamp: SECONDS - HOUR + 5, selector: '', x: 700 })]);
    await booked(site, 5);
    const [first, ...others] = await data(site);
    expect(first).toEqual({
      website_id: site.id,
      url: '/pricing',
      type: 'click',
      device_type: 'desktop',
      x_percent: 500,
      y_percent: 200,
      selector: 'a#buy',
      x: 0,
      y: 0,
      intensity: 3,
      last_seen: at(SECONDS - HOUR),
    });
    expect(others).toHaveLength(3);
    const yesterday = `&from=${at(SECONDS - 50 * HOUR)}&to=${at(SECONDS - 40 * HOUR)}`;
    expect(await cells(site, yesterday)).toEqual([
      [1, 200, 1],
      [500, 200, 1],
    ]);
    expect(await cells(site, `&from=${at(SECONDS - 2 * HOUR)}&to=${at(SECONDS)}`)).toEqual([
      [500, 200, 2],
      [700, 200, 1],
      [400, 300, 1],
    ]);
    // Both ends belong to the range; what is no time is as absent.
    const second = at(SECONDS - HOUR + 5);
    expect(await cells(site, `&from=${second}&to=${second}`)).toEqual([[700, 200, 1]]);
    expect(await cells(site, '&from=yesterday&to=now')).toHaveLength(4);
    const days = at(SECONDS - 48 * HOUR).slice(0, 10);
    expect(await cells(site, `&from=${days}&to=${days}`)).toEqual(await cells(site, yesterday));
    expect(await cells(site, '', '/pricing/?x=1')).toHaveLength(4);
    expect(await cells(site, '', '/elsewhere')).toEqual([]);
    expect(await cells(site, '&height=2400')).toContainEqual([400, 720, 1]);
    expect((await call('GET', `heatmaps/data?website_id=${site.id}`)).status).toBe(400);
    expect((await call('GET', 'heatmaps/data?url=/')).status).toBe(400);
  });

  it('D3: count a request that comes again once, and two visitors twice', async () => {
    const site = await newSite();
    const points = [point(), point({ x: 1 })];
    await recorded(site, points);
    await recorded(site, points);
    await recorded(site, points, { 'user-agent': CHROME(125) });
    expect(await booked(site, 6)).toMatchObject({ stored: 4, duplicate: 2 });
    expect(await cells(site)).toEqual([
      [1, 200, 2],
      [500, 200, 2],
    ]);
  });

  it('L12: refuse bad points one by one, and what is beyond 5,000', async () => {
    const site = await newSite();
    const ten = Array.from({ length: 10 }, (_, i) => point({ x: i }));
    ten[3] = point({ type: 'x'.repeat(11) });
    const refused = await record(site, ten);
    expect(refused).toMatchObject({
      status: 200,
      body: { status: 'success', rejected: 1, errors: [{ index: 3, code: 'invalid_value' }] },
    });
    await recorded(site, [
      point({ selector: `${'div > '.repeat(2_000)}b`, url: `/${'p'.repeat(2_000)}`, x: 10 }),
    ]);
    await booked(site, 11);
    expect(await data(site)).toHaveLength(9);
    const [long] = await data(site, '', `/${'p'.repeat(2_000)}`);
    expect(long?.selector).toMatch(/^(div > )+b$/);

    const many = Array.from({ length: 5_001 }, (_, i) => point({ url: '/many', x: i, y: 5_001 - i }));
    const { body } = await record(site, many);
    expect(body).toMatchObject({
      status: 'success',
      rejected: 1,
      errors: [{ index: 5_000, code: 'batch_too_large' }],
    });
    await recorded(site, [point({ url: '/many', x: 7, y: 4_994, timestamp: SECONDS - 9 })]);
    await recorded(site, [point({ url: '/many', x: -7, y: 0 })]);
    await booked(site, 11 + 5_003);
    const all = await cells(site, '', '/many');
    expect(all).toHaveLength(5_000);
    expect(all.slice(0, 3)).toEqual([
      [7, 4_994, 2],
      [-7, 0, 1],
      [4_999, 2, 1],
    ]);
  });

  it('O10: record only where the site wants it', async () => {
    const site = await newSite();
    const rejected = async (code: string, headers: Record<string, string> = {}, id = site.siteId) =>
      expect(await record(site, [point({ x: 1 })], headers, id)).toMatchObject({
        status: 200,
        body: { status: 'rejected', code, error: expect.any(String), message: expect.any(String) },
      });
    const change = async (body: object) =>
      expect((await call('PUT', `user/websites/${site.id}`, body)).status).toBe(200);
    await recorded(site, []);
    await rejected('origin_not_allowed', { origin: 'https://elsewhere.example' });
    await rejected('website_not_found', {}, '0'.repeat(24));
    expect((await call('POST', 'heatmaps/record', 'no json', {})).body).toMatchObject({
      code: 'invalid_json',
    });
    expect((await call('POST', 'heatmaps/record', { points: [] }, {})).body).toMatchObject({
      status: 'rejected',
      code: 'invalid_request',
    });
    await change({ heatmap_include_patterns: '/pricing\n/blog/*', heatmap_exclude_patterns: '*draft*' });
    const some = [point(), point({ url: '/cart' }), point({ url: '/blog/a' }), point({ url: '/blog/draft' })];
    expect((await record(site, some, {}, site.id)).body).toMatchObject({
      status: 'success',
      rejected: 2,
      errors: [
        { index: 1, code: 'excluded_page' },
        { index: 3, code: 'excluded_page' },
      ],
    });
    expect((await record(site, [point({ url: '/cart' })])).body).toMatchObject({
      status: 'rejected',
      code: 'excluded_page',
    });
    await change({ heatmap_enabled: false });
    await rejected('feature_disabled');
    await change({ heatmap_enabled: true, is_active: false });
    await rejected('website_inactive');
    await change({ is_active: true, heatmap_include_patterns: '/blog/*' });
    // The origin that was refused, 2 stored + 2 excluded, 1 excluded, switched off, inactive.
    await booked(site, 8);
    expect((await pages(site)).pages).toEqual([
      { url: '/blog/a', views: 0, clicks: 1, avg_scroll: 0, active: true },
      { url: '/pricing', views: 0, clicks: 1, avg_scroll: 0, active: false },
    ]);
  });

  it('M19: tell devices apart and sum them, average the scrolling and keep its bands exact', async () => {
    const site = await newSite();
    /** A page load that scrolled so deep. */
    const load = (deepest: number, changes: object) => [
      point({ type: 'pageview', x: 0, y: 0, selector: '', ...changes }),
      ...Array.from({ length: deepest / 50 + 1 }, (_, i) =>
        point({ type: 'scroll', x: 500, y: i * 50, selector: '', ...changes }),
      ),
    ];
    const sent = [
      ...load(1000, {}),
      ...load(250, { timestamp: SECONDS - HOUR + 1 }),
      ...load(0, { device_type: 'mobile' }),
      ...load(450, { device_type: '', timestamp: SECONDS - HOUR + 2 }),
      point(),
    ];
    await recorded(site, sent);
    await booked(site, sent.length);
    const bands = async (query: string) =>
      new Map((await cells(site, `&type=scroll${query}`)).map(([x, y, count]) => [`${x} ${y}`, count]));
    const desktop = await bands('');
    expect([0, 50, 250, 300, 450, 500, 1000].map((y) => desktop.get(`500 ${y}`))).toEqual([
      3, 3, 3, 2, 2, 1, 1,
    ]);
    expect(desktop.size).toBe(21);
    expect((await bands('&device=all')).get('500 0')).toBe(4);
    expect((await bands('&device=all&height=5000')).get('500 1000')).toBe(1);
    expect((await bands('&device=mobile')).size).toBe(1);
    expect((await bands('&device=tablet')).size).toBe(0);
    expect((await bands('&device=fridge')).size).toBe(0);
    expect((await data(site, '&type=scroll&device=all'))[0]).toMatchObject({
      device_type: 'all',
      y_percent: 0,
    });
    expect(await cells(site, '&type=hover')).toEqual([]);
    // 5 · (20 + 5 + 0 + 9) / 4
    expect(await pages(site)).toEqual({
      pages: [{ url: '/pricing', views: 4, clicks: 1, avg_scroll: 42.5, active: true }],
      total: 1,
    });
    const later = `&from=${at(SECONDS - HOUR + 1)}&to=${at(SECONDS)}`;
    expect((await pages(site, later)).pages).toMatchObject([{ views: 2, clicks: 0, avg_scroll: 35 }]);
  });

  it('list elements by their points, and pages page by page', async () => {
    const site = await newSite();
    const clicks = ['a', 'b', 'b', 'c', 'c', '', ''].map((selector, x) => point({ selector, x }));
    const rage = point({ type: 'rage_click', selector: 'b', device_type: 'mobile' });
    const visited = Array.from({ length: 5 }, (_, i) => point({ type: 'pageview', url: `/p${i}` }));
    await recorded(site, [...clicks, rage, ...visited]);
    await booked(site, 13);
    const elements = async (query: string) =>
      (await get(Elements, `heatmaps/top-elements?website_id=${site.siteId}&url=/pricing${query}`)).elements;
    expect(await elements('')).toEqual([
      { selector: 'b', clicks: 2 },
      { selector: 'c', clicks: 2 },
      { selector: 'a', clicks: 1 },
    ]);
    expect(await elements('&type=rage_click')).toEqual([{ selector: 'b', clicks: 1 }]);
    expect(await elements(`&to=${at(SECONDS - 2 * HOUR)}`)).toEqual([]);
    const urls = async (query: string) => {
      const { pages: rows, total } = await pages(site, query);
      expect(total).toBe(6);
      return rows.map(({ url }) => url);
    };
    expect(await urls('')).toEqual(['/pricing', '/p0', '/p1', '/p2', '/p3', '/p4']);
    expect(await urls('&limit=2&offset=3')).toEqual(['/p2', '/p3']);
    expect(await urls('&limit=2&offset=9')).toEqual([]);
    expect((await call('GET', `heatmaps/pages?website_id=${site.id}&limit=0`)).status).toBe(400);
  });

  it('delete pages for good, also points that are on their way, and tell the tracker', async () => {
    const site = await newSite();
    const urls = ['/a', '/b', '/c', '/d'];
    await recorded(
      site,
      urls.map((url) => point({ url })),
    );
    await booked(site, 4);
    const tracked = async () => {
      const { tracked_urls } = await get(Config, `tracker/config/${site.siteId}`);
      return tracked_urls;
    };
    await until(async () => (await tracked()).length === 4, { what: 'the tracker to know the pages' });

    const viewer = await register(`viewer-${sites}@shop.example`);
    await sql.query(
      `INSERT INTO website_members (website_id, user_id, role)
       SELECT $1, id, 'viewer' FROM users WHERE email = $2`,
      [site.id, `viewer-${sites}@shop.example`],
    );
    const path = `heatmaps/pages?website_id=${site.id}&url=/a`;
    const bulk = { website_id: site.siteId, urls: ['/b', '/c/', 'https://shop.example/none'] };
    for (const token of [viewer, stranger]) {
      const headers = { authorization: `Bearer ${token}` };
      expect((await call('DELETE', path, undefined, headers)).status).toBe(403);
      expect((await call('DELETE', 'heatmaps/bulk-delete', bulk, headers)).status).toBe(403);
    }
    const reading = (token: string) =>
      call('GET', `heatmaps/pages?website_id=${site.id}`, undefined, { authorization: `Bearer ${token}` });
    expect((await reading(viewer)).status).toBe(200);
    expect((await reading(stranger)).status).toBe(403);
    expect((await call('DELETE', 'heatmaps/bulk-delete', bulk, {})).status).toBe(401);
    expect((await call('DELETE', 'heatmaps/bulk-delete', { urls: [] })).status).toBe(400);
    expect(
      (await call('DELETE', 'heatmaps/bulk-delete', { website_id: '0'.repeat(24), urls: [] })).status,
    ).toBe(404);
    expect((await pages(site)).total).toBe(4);

    // These are durable, but most likely not stored yet.
    await recorded(
      site,
      urls.map((url) => point({ url, x: 1 })),
    );
    const success = { status: 200, body: { status: 'success' } };
    expect(await call('DELETE', path)).toEqual(success);
    expect(await call('DELETE', 'heatmaps/bulk-delete', bulk)).toEqual(success);
    await booked(site, 8);
    expect((await pages(site)).pages).toMatchObject([{ url: '/d', clicks: 2 }]);
    expect(await tracked()).toEqual(['/d']);

    await recorded(site, [point({ url: '/a', x: 2 })]);
    await booked(site, 9);
    expect(await cells(site, '', '/a')).toEqual([[2, 200, 1]]);
    const off = await call('PUT', `user/websites/${site.id}`, { heatmap_enabled: false });
    expect(off.status).toBe(200);
    expect(await tracked()).toEqual([]);
  });

  it('are taken from pages of any customer, also by beacon', async () => {
    const site = await newSite();
    const origin = `https://www.${site.host}`;
    const headers = { origin, 'access-control-request-headers': 'content-type' };
    const preflight = await fetch(`${program.url}/api/v1/heatmaps/record`, {
      method: 'OPTIONS',
      headers: { ...headers, 'access-control-request-method': 'POST' },
    });
    expect(preflight.ok).toBe(true);
    expect(preflight.headers.get('access-control-allow-origin')).toBe(origin);
    expect(preflight.headers.get('access-control-allow-credentials')).toBe('true');
    await recorded(site, [point()], { origin });
    await booked(site, 1);
  });

  it('measure themselves', async () => {
    const { port } = new URL(program.url);
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
    expect(await answer.text()).toContain('seentics_heatmap_seconds_count{question="data"}');
  });
});
