/** What operators see of the running program, and what it lets nobody see or do. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { account, type Site } from '../support/api.js';
import { repositoryRoot } from '../support/guard.js';
import { operationsOf } from '../support/operations.js';
import type { Program } from '../support/program.js';
import { type Production, startProduction } from './production.js';

const API_LIMIT = 400;
const VISITOR_ADDRESS = '198.51.100.77';

describe('the program in production', () => {
  let production: Production;
  let program: Program;
  let site: Site;
  let token: string;

  beforeAll(async () => {
    production = await startProduction({ RATE_LIMIT_API: String(API_LIMIT), RATE_LIMIT_PUBLIC: '0' });
    ({ program, site, token } = production);
  });
  beforeEach(() => onTestFailed(() => program.showLog()));
  afterAll(() => production?.stop());

  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(program.url + path, { headers, signal: AbortSignal.timeout(30_000) });
  const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
    fetch(program.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });

  test('writes no line a request, and neither secrets nor addresses', async () => {
    const before = await program.log();
    const password = 'a wrong but private password';
    for (let i = 0; i < 20; i++) {
      const answers = await Promise.all([
        get('/health'),
        get('/nowhere'),
        get(`/api/v1/tracker/config/${site.siteId}`),
        get('/api/v1/user/websites', { authorization: 'Bearer of.bad.news' }),
        post('/api/v1/user/auth/login', { email: account.email, password }),
        post('/api/v1/analytics/event', { nonsense: true }, { 'x-forwarded-for': VISITOR_ADDRESS }),
      ]);
      await Promise.all(answers.map((answer) => answer.arrayBuffer()));
    }
    const log = await program.log();
    expect(log.slice(before.length).split('\n').length).toBeLessThan(20);
    for (const secret of [password, account.email, account.password, VISITOR_ADDRESS, token])
      expect(log).not.toContain(secret);
  });

  test('tells by /ready what waits in which part, and by /metrics how much', async () => {
    const ready = Value.Parse(Ready, await (await get('/ready')).json());
    expect(ready.parts.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['metadata', 'events', 'cache', 'stream', 'objects']),
    );
    const metrics = await (await get('/metrics')).text();
    for (const name of [
      'seentics_stream_lag_messages',
      'seentics_stream_stored_bytes',
      'seentics_http_request_duration_seconds',
      'seentics_postgres_connections',
      'seentics_ingest_queue_requests',
      'seentics_notifications_total',
    ])
      expect(metrics.includes(`# HELP ${name} `), name).toBe(true);
  });

  test('answers a new site with neither zero times nor null lists', async () => {
    const asked: string[] = [];
    for (const operation of await operationsOf(program.url)) {
      if (operation.method !== 'GET' || !operation.access.startsWith('site:')) continue;
      const answer = await get(operation.request(site.id).path, { authorization: `Bearer ${token}` });
      const text = await answer.text();
      if (answer.status !== 200) continue;
      asked.push(operation.path);
      expect(text, operation.path).not.toMatch(/0001-01-01T00:00:00|00000000-0000-0000-0000-000000000000/);
      expect(text, operation.path).not.toMatch(/"(?!\w+_patterns")(?:\w+s|data)":null/);
      expect(text, operation.path).not.toMatch(/NaN|Infinity/);
    }
    expect(asked.length).toBeGreaterThan(25);
  });

  test('admits no page of localhost to the API, with or without credentials', async () => {
    for (const origin of ['http://localhost:3000', 'http://127.0.0.1:3000']) {
      const answer = await get('/api/v1/user/auth/setup-status', { origin });
      await answer.arrayBuffer();
      expect(answer.headers.get('access-control-allow-origin')).toBeNull();
      expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
      expect(answer.headers.get('vary')).toContain('Origin');
    }
  });

  test('lets a page load of a tracker be kept, asked again and preflighted cheaply', async () => {
    for (const path of pageLoad(site.siteId)) {
      const first = await get(path, { origin: 'https://shop.example' });
      const body = await first.text();
      expect([first.status, body.length > 0], path).toEqual([200, true]);
      expect(first.headers.get('cache-control'), path).toMatch(/max-age=[1-9]\d/);
      const etag = first.headers.get('etag') ?? '';
      const again = await get(path, { origin: 'https://shop.example', 'if-none-match': etag });
      expect([again.status, await again.text()], path).toEqual([304, '']);
      const preflight = await fetch(program.url + path, {
        method: 'OPTIONS',
        headers: { origin: 'https://shop.example', 'access-control-request-method': 'GET' },
      });
      expect([preflight.status, preflight.headers.get('access-control-max-age')]).toEqual([204, '86400']);
    }
  });

  test('limits whatever can be guessed far below the rest of the API', async () => {
    const document = Value.Parse(Buckets, await (await get('/api/v1/openapi.json')).json());
    for (const path of [
      '/api/v1/auth/login',
      '/api/v1/auth/register',
      '/api/v1/auth/forgot-password',
      '/api/v1/auth/reset-password',
      '/api/v1/public/analytics/{public_id}/access',
    ])
      expect([path, document.paths[path]?.post?.['x-rate-limit-bucket']]).toEqual([path, 'auth']);
  });

  test('counts page loads apart from API calls, which no forged address evades', async () => {
    const status = async (path: string, address: string) => {
      const answer = await get(path, {
        'x-forwarded-for': address,
        'x-test-ip': address,
        'cf-connecting-ip': address,
      });
      await answer.arrayBuffer();
      return answer.status;
    };
    const refused = async () => {
      for (let i = 0; i <= 2 * API_LIMIT; i++) {
        if ((await status('/api/v1/user/auth/setup-status', `198.51.100.${i % 250}`)) === 429) return i;
      }
      return -1;
    };
    expect(await refused()).toBeGreaterThan(0);
    for (let i = 0; i < 20; i++)
      for (const path of pageLoad(site.siteId)) expect(await status(path, '')).toBe(200);
  });
});

const Buckets = Type.Object({
  paths: Type.Record(
    Type.String(),
    Type.Object({ post: Type.Optional(Type.Object({ 'x-rate-limit-bucket': Type.String() })) }),
  ),
});
const Ready = Type.Object({ parts: Type.Array(Type.Object({ name: Type.String() })) });

/** What the trackers of one page ask for when it loads. */
const pageLoad = (siteId: string): string[] => [
  `/api/v1/tracker/config/${siteId}`,
  `/api/v1/funnels/active?website_id=${siteId}`,
  `/api/v1/workflows/site/${siteId}/active`,
];

test('every error is logged, however many there are', async () => {
  const program = `import { createTelemetry } from './dist/telemetry.js';
    const { log } = createTelemetry('info');
    for (let i = 0; i < 2000; i++) log.error({ i }, 'failed');`;
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], {
    cwd: repositoryRoot,
    maxBuffer: 1 << 24,
  });
  expect(stdout.trim().split('\n')).toHaveLength(2_000);
});
