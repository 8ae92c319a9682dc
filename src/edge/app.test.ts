import { once } from 'node:events';
import { createServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentTelemetry } from '../telemetry.js';
import { SITE, startApp, type TestApp, Wire } from './testing.js';

let test: TestApp;
beforeAll(async () => {
  test = await startApp();
});
afterAll(() => test.app.close(1000));

const get = (path: string, token?: string) =>
  fetch(test.url + path, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
const post = (path: string, body: string, headers: Record<string, string> = {}) =>
  fetch(test.url + path, { method: 'POST', body, headers });

async function expectError(
  response: Response,
  status: number,
  code: string,
): Promise<Record<string, unknown>> {
  const body: unknown = await response.json();
  expect([response.status, body]).toMatchObject([status, { code }]);
  expect(response.headers.get('content-type')).toContain('application/json');
  if (typeof body !== 'object' || body === null) throw new Error('no object');
  const { error, message, ...rest } = Object.fromEntries(Object.entries(body));
  expect(error).toBe(message);
  expect(error).not.toBe('');
  return rest;
}

describe('routing', () => {
  it('answers an unknown path with 404 as JSON', async () => {
    await expectError(await get('/nope'), 404, 'not_found');
    await expectError(await post('/nope/deeper', '{}'), 404, 'not_found');
  });

  it('answers a wrong method with 405 and what is allowed', async () => {
    const response = await fetch(`${test.url}/account`, { method: 'DELETE' });
    expect(response.headers.get('allow')).toBe('GET, HEAD, PUT, OPTIONS');
    await expectError(response, 405, 'method_not_allowed');
  });

  it('closes the connection of a method that HTTP does not have', async () => {
    const wire = new Wire(test.port);
    wire.write('STEAL /account HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(await wire.ended()).not.toContain('200 OK');
  });

  it('answers HEAD as GET without the body', async () => {
    const response = await fetch(`${test.url}/open`, { method: 'HEAD' });
    const full = await (await get('/open')).text();
    expect(response.status).toBe(200);
    expect(response.headers.get('content-length')).toBe(String(full.length));
    expect(await response.text()).toBe('');
    expect((await fetch(`${test.url}/nope`, { method: 'HEAD' })).status).toBe(404);
  });

  it('takes a trailing slash as none', async () => {
    expect((await get('/open/')).status).toBe(200);
    expect((await get('/query/x/')).status).toBe(200);
  });

  it('answers several requests of one connection in order', async () => {
    const wire = new Wire(test.port);
    wire.write('GET /open HTTP/1.1\r\nHost: x\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\n\r\n');
    const text = await wire.until('not_found');
    expect(text.indexOf('200 OK')).toBeLessThan(text.indexOf('404'));
    wire.socket.destroy();
  });
});

describe('parameters', () => {
  it('decodes and coerces', async () => {
    const response = await get('/query/a%20b%2Fc?days=30&flag=true&filter=%C3%A4+b&days=9');
    expect(await response.json()).toMatchObject({
      params: { id: 'a b/c' },
      query: { days: 30, flag: true, filter: 'ä b' },
    });
  });

  it('fills in defaults, also for an empty number', async () => {
    expect(await (await get('/query/x?days=&filter=')).json()).toMatchObject({
      query: { days: 7, filter: '' },
    });
  });

  it.each(['days=x', 'days=0', 'days=999', 'days=NaN', 'days=1e999', 'flag=maybe'])(
    'refuses %s with the name and the problem',
    async (query) => {
      const name = query.split('=')[0];
      const { details } = await expectError(await get(`/query/x?${query}`), 400, 'invalid_request');
      expect(details).toEqual([{ path: name, problem: expect.any(String) }]);
    },
  );

  it('refuses broken percent encoding in the path and takes it literally in the query', async () => {
    await expectError(await get('/query/%zz'), 400, 'invalid_parameter');
    await expectError(await get('/query/%ff'), 400, 'invalid_parameter');
    expect((await get('/query/x?filter=%zz')).status).toBe(200);
  });

  it('refuses NUL', async () => {
    await expectError(await get('/query/%00'), 400, 'invalid_request');
    await expectError(await get('/query/x?filter=a%00b'), 400, 'invalid_request');
  });

  it('takes nothing from names that objects inherit', async () => {
    const response = await get('/query/x?__proto__=1&constructor=2&__proto__[days]=3&toString=4');
    expect(await response.json()).toMatchObject({ query: { days: 7 } });
  });
});

describe('JSON bodies', () => {
  it('validates, with defaults and without coercion', async () => {
    expect(await (await post('/json', '{"name":"a","extra":1}')).json()).toMatchObject({
      body: { name: 'a', size: 3 },
    });
    await expectError(await post('/json', '{"name":5}'), 400, 'invalid_request');
  });

  it('names every problem by path', async () => {
    const { details } = await expectError(
      await post('/json', '{"tags":["a",2],"size":"x"}'),
      400,
      'invalid_request',
    );
    expect(details).toEqual(
      expect.arrayContaining([
        { path: 'name', problem: 'is required' },
        { path: 'tags.1', problem: expect.any(String) },
        { path: 'size', problem: expect.any(String) },
      ]),
    );
  });

  it.each(['{', '{"name":"a"', 'nonsense', '\u0000', '{"name":"\u0000"}', "{'name':1}"])(
    'refuses broken JSON %j',
    async (body) => {
      await expectError(await post('/json', body), 400, 'invalid_json');
    },
  );

  it('refuses what is nested too deeply to be written again, brackets in texts aside', async () => {
    const nested = (depth: number) => `{"name":"a","x":${'['.repeat(depth)}${']'.repeat(depth)}}`;
    await expectError(await post('/json', nested(20_000)), 400, 'invalid_request');
    expect((await post('/json', nested(150))).status).toBe(200);
    const text = `\\"${'[{'.repeat(20_000)}\\\\`;
    expect((await post('/json', `{"name":"a","x":"${text}","y":[]}`)).status).toBe(200);
  });

  it('refuses what would keep the main thread busy, compressed or not', async () => {
    const body = (bytes: number) => `{"name":"a","x":"${'x'.repeat(bytes - 19)}"}`;
    expect((await post('/json', body(1 << 20))).status).toBe(200);
    const large = body((1 << 20) + 1);
    await expectError(await post('/json', large), 413, 'body_too_large');
    const headers = { 'content-encoding': 'gzip' };
    const sent = await fetch(`${test.url}/json`, { method: 'POST', body: gzipSync(large), headers });
    await expectError(sent, 413, 'body_too_large');
  });

  it.each(['', 'null', '[]', '5', '"x"'])('refuses %j, which is no object', async (body) => {
    await expectError(await post('/json', body), 400, 'invalid_request');
  });

  it('refuses an escaped NUL but not an escaped backslash before u0000', async () => {
    await expectError(await post('/json', '{"name":"a\\u0000"}'), 400, 'invalid_request');
    await expectError(await post('/json', '{"name":"a","x":{"\\u0000":1}}'), 400, 'invalid_request');
    expect((await post('/json', '{"name":"a\\\\u0000"}')).status).toBe(200);
  });

  it('is not moved by __proto__ and constructor keys', async () => {
    const body =
      '{"name":"a","__proto__":{"size":9},"constructor":{"prototype":{"x":1}},"\\u005f_proto__":{"y":1}}';
    const echoed: unknown = await (await post('/json', body)).json();
    expect(echoed).toMatchObject({ body: { name: 'a', size: 3 } });
    expect(JSON.stringify(echoed)).not.toContain('__proto__');
    expect(Reflect.get({}, 'x')).toBeUndefined();
  });

  it('survives lone surrogates and invalid UTF-8', async () => {
    expect((await post('/json', '{"name":"\\ud800"}')).status).toBe(200);
    const bytes = new Uint8Array([...new TextEncoder().encode('{"name":"'), 0xff, 0xfe, 0x22, 0x7d]);
    expect((await fetch(`${test.url}/json`, { method: 'POST', body: bytes })).status).toBe(200);
  });
});

describe('the gate', () => {
  it('asks for a token, and says when it is no good', async () => {
    const response = await get('/account');
    expect(response.headers.get('www-authenticate')).toBe('Bearer');
    await expectError(response, 401, 'unauthorized');
    await expectError(await get('/account', 'nonsense'), 401, 'invalid_token');
    expect((await get('/account', 'owner')).status).toBe(200);
  });

  it('does not look at the body or the parameters of those it turns away', async () => {
    const put = (token: string) =>
      fetch(`${test.url}/account`, { method: 'PUT', body: '{', headers: { authorization: token } });
    await expectError(await put('nonsense'), 401, 'invalid_token');
    await expectError(await put('owner'), 400, 'invalid_json');
  });

  it('lets only admins to admin routes', async () => {
    await expectError(await get('/admin', 'owner'), 403, 'forbidden');
    expect((await get('/admin', 'admin')).status).toBe(200);
  });

  it('resolves the site by either id, then checks the action', async () => {
    for (const path of [`/sites/${SITE.id}`, `/sites/${SITE.siteId}`, `/by-query?website_id=${SITE.id}`]) {
      expect(await (await get(path, 'owner')).json()).toEqual({ name: 'Shop' });
      await expectError(await get(path, 'stranger'), 403, 'forbidden');
      await expectError(await get(path), 401, 'unauthorized');
    }
    await expectError(await get('/sites/unknown', 'owner'), 404, 'website_not_found');
    await expectError(await get('/by-query', 'owner'), 400, 'invalid_request');
    await expectError(await get('/by-query?website_id=', 'owner'), 404, 'website_not_found');
  });

  it('takes a stale token on a public route as none', async () => {
    expect(await (await get('/open', 'stale')).json()).toMatchObject({ principal: { kind: 'anonymous' } });
    expect(await (await get('/open', 'owner')).json()).toMatchObject({ principal: { userId: 'owner' } });
  });

  it('has no back door by path suffix', async () => {
    await expectError(await get('/account/pulse'), 404, 'not_found');
  });
});

describe('failures', () => {
  it('tells nothing of an unexpected one but an id, and logs it once', async () => {
    const lines: string[] = [];
    const telemetry = silentTelemetry();
    telemetry.log.level = 'error';
    const spy = Object.assign(Object.create(telemetry.log), {
      error: (fields: unknown) => lines.push(JSON.stringify(fields)),
    });
    const own = await startApp({ telemetry: { ...telemetry, log: spy } });
    const response = await fetch(`${own.url}/broken`);
    const id = response.headers.get('x-request-id');
    const rest = await expectError(response, 500, 'internal');
    expect(rest).toEqual({ code: 'internal', details: { requestId: id } });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(id);
    await own.app.close();
  });

  it.each([
    ['1 MB of user agent', `GET /open HTTP/1.1\r\nHost: x\r\nUser-Agent: ${'x'.repeat(1_000_000)}\r\n\r\n`],
    ['500 headers', `GET /open HTTP/1.1\r\nHost: x\r\n${'X-Header: 0123456789\r\n'.repeat(500)}\r\n`],
    ['a negative length', 'POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n'],
    ['an endless length', 'POST /json HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n'],
    ['a broken chunk', 'POST /json HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'],
  ])('closes a connection that sends %s, and serves on', async (_, head) => {
    const wire = new Wire(test.port);
    wire.write(head);
    expect(await wire.ended()).not.toContain('200 OK');
    expect((await get('/open')).status).toBe(200);
  });

  it('serves a head of 60,000 characters that comes at once', async () => {
    const wire = new Wire(test.port);
    wire.write(`GET /open HTTP/1.1\r\nHost: x\r\nUser-Agent: ${'x'.repeat(60_000)}\r\n\r\n`);
    await wire.until('200 OK');
    wire.socket.destroy();
  });

  it('serves many odd addresses without failing', async () => {
    for (const path of [
      '//',
      '/%00',
      '/open%00',
      '/../open',
      '/open?',
      '/open?&&==&',
      '/query/%E0%A4%A',
      '/*',
    ]) {
      const wire = new Wire(test.port);
      wire.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      expect(await wire.until('HTTP/1.1 ')).toMatch(/HTTP\/1\.1 (200|400|404)/);
      wire.socket.destroy();
    }
  });
});

/** A port that nobody has, as an ordinary socket sees it. */
async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

describe('listening', () => {
  it('takes all interfaces by default and writes mapped addresses as IPv4', async () => {
    const own = await startApp();
    const port = await own.app.listen(await freePort());
    const answer: unknown = await (await fetch(`http://127.0.0.1:${port}/open`)).json();
    expect(answer).toMatchObject({ address: '127.0.0.1' });
    await own.app.close();
  });

  it('refuses a port that is taken', async () => {
    const other = await startApp();
    await expect(other.app.listen(test.port, '127.0.0.1')).rejects.toThrow(/EADDRINUSE/);
    await other.app.close();
  });

  it('shares a port when told to', async () => {
    const [one, two] = [await startApp(), await startApp()];
    const port = await freePort();
    expect(await one.app.listen(port, '127.0.0.1', { shared: true })).toBe(port);
    expect(await two.app.listen(port, '127.0.0.1', { shared: true })).toBe(port);
    await Promise.all([one.app.close(), two.app.close()]);
  });
});

describe('metrics', () => {
  it('counts by pattern, method and status class', async () => {
    await get('/query/one');
    await get('/query/two');
    const count = await test.metric(
      'seentics_http_request_duration_seconds_count{method="GET",route="/query/:id",status="2xx"}',
    );
    expect(count).toBeGreaterThanOrEqual(2);
    expect(await test.metric('seentics_http_requests_in_flight')).toBe(0);
    expect(await test.metric('seentics_http_body_bytes_in_flight')).toBe(0);
  });
});
