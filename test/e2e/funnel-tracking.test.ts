import { join } from 'node:path';
import Type from 'typebox';
import { Check } from 'typebox/value';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { Api, account, type Site } from '../support/api.js';
import { freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';
import { until } from '../support/wait.js';

const BROWSER =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';
const Tokens = Type.Object({ data: Type.Object({ tokens: Type.Object({ access_token: Type.String() }) }) });
const Created = Type.Object({ id: Type.String() });
const Stats = Type.Object({
  totalEntries: Type.Integer(),
  tracked: Type.Object({
    starts: Type.Integer(),
    progress: Type.Integer(),
    conversions: Type.Integer(),
    dropoffs: Type.Integer(),
  }),
});

describe('what the tracker reports of funnels', () => {
  let guard: Guard;
  let program: Program;
  let database: Awaited<ReturnType<typeof freshPostgres>>;
  let api: Api;
  let site: Site;
  let token = '';
  let funnel = '';

  const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${program.url}/api/v1/${path}`, {
      method,
      headers: { 'content-type': 'application/json', 'user-agent': BROWSER, ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await answer.text();
    const json: unknown = text === '' ? null : JSON.parse(text);
    return { status: answer.status, body: json };
  };
  const signedIn = (method: string, path: string, body?: unknown) =>
    call(method, path, body, { authorization: `Bearer ${token}` });
  const fromPage = (path: string, body: unknown, origin = 'https://shop.example') =>
    call('POST', `funnels/${path}`, body, { origin });

  beforeAll(async () => {
    [guard, database] = await Promise.all([Guard.start(), freshPostgres()]);
    program = await Program.start(guard, {
      dataDir: join(guard.directory, 'data'),
      env: { DATABASE_URL: database.url, EVENT_STORE: 'postgres' },
    });
    api = await Api.register(() => program.url);
    site = await api.createSite('shop.example');
    const { email, password } = account;
    const { body } = await call('POST', 'user/auth/login', { email, password });
    if (!Check(Tokens, body)) throw new Error(JSON.stringify(body));
    token = body.data.tokens.access_token;
    const steps = ['/cart', '/pay'].map((pagePath) => ({ name: pagePath, stepType: 'page_view', pagePath }));
    const made = await signedIn('POST', `websites/${site.id}/funnels`, { name: 'Checkout', steps });
    if (!Check(Created, made.body)) throw new Error(JSON.stringify(made.body));
    funnel = made.body.id;
  });

  beforeEach(() => onTestFailed(() => program.showLog()));

  afterAll(async () => {
    await program?.stop();
    await database?.drop();
    await guard?.stop();
  });

  const report = (event_type: string, visitor_id: string, more: object = {}) => ({
    funnel_id: funnel,
    website_id: site.siteId,
    visitor_id,
    session_id: `session of ${visitor_id}`,
    started_at: new Date(Date.now() - 1000).toISOString(),
    timestamp: new Date().toISOString(),
    event_type,
    step_name: 'Cart',
    current_step: 1,
    completed_steps: [1],
    ...more,
  });
  const tracked = async () => {
    const { body } = await signedIn('GET', `websites/${site.id}/funnels/${funnel}/stats`);
    if (!Check(Stats, body)) throw new Error(JSON.stringify(body));
    return body.tracked;
  };

  test('counts once, however often it comes, and the books balance', async () => {
    const batch = {
      website_id: site.id,
      events: [
        report('start', 'a'),
        report('start', 'b'),
        report('progress', 'a', { current_step: 2 }),
        report('conversion', 'a', { current_step: 2, converted: true }),
        report('dropoff', 'b'),
        report('start', 'c', { funnel_id: '' }),
        report('start', 'd', { funnel_id: 'of nobody' }),
      ],
    };
    const first = await fromPage('batch', batch);
    expect(first).toMatchObject({
      status: 200,
      body: { status: 'success', count: 6, rejected: 1, errors: [{ index: 5, code: 'missing_field' }] },
    });
    await fromPage('batch', batch);
    const single = report('start', 'e');
    expect(await fromPage('track', single)).toEqual({ status: 200, body: { status: 'success' } });
    expect((await fromPage('track', single)).status).toBe(200);
    const books = await until(
      async () => {
        const found = await api.books(site);
        return found.received === 16 && found.balanced ? found : undefined;
      },
      { what: 'all sixteen to be accounted for' },
    );
    expect(books).toMatchObject({ stored: 7, duplicate: 7, rejected: 2, quarantined: 0 });
    expect(await tracked()).toEqual({ starts: 3, progress: 1, conversions: 1, dropoffs: 1 });
    // They are no events.
    expect((await api.dashboard(site)).page_views).toBe(0);
  });

  test('is refused for good with 200, so that the tracker does not repeat it for ever', async () => {
    const events = [report('start', 'z')];
    const codes = [
      await fromPage('batch', { website_id: '0'.repeat(24), events }),
      await fromPage('batch', { website_id: site.id, events }, 'https://evil.example'),
      await fromPage('batch', { website_id: site.id }),
      await fromPage('batch', '{'),
      await fromPage('batch', { website_id: site.id, events: [report('finish', 'z')] }),
    ];
    expect(codes.map(({ status, body }) => [status, body])).toMatchObject([
      [200, { status: 'rejected', count: 0, code: 'website_not_found' }],
      [200, { status: 'rejected', count: 0, code: 'origin_not_allowed' }],
      [200, { status: 'rejected', count: 0 }],
      [200, { status: 'rejected', count: 0, code: 'invalid_json' }],
      [200, { status: 'rejected', count: 0, rejected: 1, code: 'invalid_value' }],
    ]);
    expect(await fromPage('batch', { website_id: site.id, events: [] })).toMatchObject({
      status: 200,
      body: { status: 'success', count: 0 },
    });
    expect((await fromPage('track', report('finish', 'z'))).status).toBe(400);
    expect((await fromPage('track', report('start', 'z'), 'https://evil.example')).status).toBe(403);
    await signedIn('PUT', `user/websites/${site.id}`, { funnel_enabled: false });
    expect(await fromPage('batch', { website_id: site.id, events })).toMatchObject({
      status: 200,
      body: { status: 'rejected', code: 'feature_disabled' },
    });
    expect((await fromPage('track', report('start', 'z'))).status).toBe(403);
  });
});
