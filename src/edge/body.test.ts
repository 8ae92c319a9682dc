import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import Type from 'typebox';
import { afterEach, describe, expect, it } from 'vitest';
import { AppError } from '../errors.js';
import { type AnyRoute, rawRoute, route } from './route.js';
import { eventually, NONE, startApp, type TestApp, testRoutes, Wire } from './testing.js';

const running: TestApp[] = [];
const wires: Wire[] = [];
afterEach(async () => {
  for (const wire of wires.splice(0)) wire.socket.destroy();
  await Promise.all(running.splice(0).map((test) => test.app.close(1000)));
});

async function start(options: Parameters<typeof startApp>[0] = {}): Promise<TestApp> {
  const test = await startApp(options);
  running.push(test);
  return test;
}

function wireTo(test: TestApp): Wire {
  const wire = new Wire(test.port);
  wires.push(wire);
  return wire;
}

const send = (
  test: TestApp,
  body: string | Uint8Array,
  headers: Record<string, string> = {},
  path = '/event',
) => fetch(test.url + path, { method: 'POST', body, headers });

const LIMIT = 100_000;
const head = (more: string) => `POST /event HTTP/1.1\r\nHost: x\r\n${more}\r\n\r\n`;

describe('plain bodies', () => {
  it('takes one in one piece, in many pieces and empty', async () => {
    const test = await start();
    expect(await (await send(test, 'hello')).json()).toMatchObject({ bytes: 5, start: 'hello' });
    expect(await (await send(test, '')).json()).toMatchObject({ bytes: 0 });
    const wire = wireTo(test);
    wire.write(head('Content-Length: 30'));
    for (let index = 0; index < 10; index++) {
      wire.write('abc');
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await wire.until('}')).toContain('{"bytes":30,"start":"abcabcabca"');
  });

  it('takes a chunked one', async () => {
    const wire = wireTo(await start());
    wire.write(head('Transfer-Encoding: chunked'));
    wire.write('5\r\nhello\r\n');
    await new Promise((resolve) => setImmediate(resolve));
    wire.write('6\r\n world\r\n0\r\n\r\n');
    expect(await wire.until('}')).toContain('"bytes":11,"start":"hello worl"');
  });

  it('keeps the bytes apart that many clients send at once', async () => {
    const test = await start();
    const bodies = Array.from({ length: 200 }, (_, index) =>
      `${index}`.padStart(10, '0').repeat(1 + (index % 50)),
    );
    const answers = await Promise.all(bodies.map(async (body) => (await send(test, body)).json()));
    answers.forEach((answer, index) => {
      expect(answer).toMatchObject({ bytes: bodies[index]?.length, start: `${index}`.padStart(10, '0') });
    });
  });

  it('leaves a body as it was while others come and it waits', async () => {
    const count = 120;
    const held: Uint8Array[] = [];
    let release = () => {};
    const all = new Promise<void>((resolve) => {
      release = resolve;
    });
    const hold = rawRoute({
      method: 'POST',
      path: '/held',
      summary: '',
      tag: '',
      access: 'public',
      bucket: 'none',
      cors: 'tracker',
      params: NONE,
      query: NONE,
      body: Type.Unknown(),
      responses: {},
      handle: async ({ bytes }) => {
        if (held.push(bytes) === count) release();
        await all;
        return { status: 200, body: { text: Buffer.from(bytes).toString('latin1') } };
      },
    });
    const test = await start({ routes: [hold] });
    const bodies = Array.from({ length: count }, (_, index) =>
      `${index},`.repeat(1 + ((index * 97) % 6_000)),
    );
    const answers = await Promise.all(
      bodies.map(async (body) => (await send(test, body, {}, '/held')).json()),
    );
    answers.forEach((answer, index) => {
      expect(answer).toEqual({ text: bodies[index] });
    });
  });
});

describe('size', () => {
  it('takes exactly the limit and refuses one byte more', async () => {
    const test = await start();
    expect((await send(test, 'x'.repeat(LIMIT))).status).toBe(200);
    const response = await send(test, 'x'.repeat(LIMIT + 1));
    expect([response.status, await response.json()]).toMatchObject([413, { code: 'body_too_large' }]);
  });

  it('refuses by the declared length before the body comes', async () => {
    const wire = wireTo(await start());
    wire.write(head(`Content-Length: ${LIMIT + 1}`));
    expect(await wire.until('body_too_large')).toContain('413');
  });

  it('refuses a chunked one as soon as it is too much, and closes', async () => {
    const wire = wireTo(await start());
    wire.write(head('Transfer-Encoding: chunked'));
    const chunk = `8000\r\n${'x'.repeat(0x8000)}\r\n`;
    for (let index = 0; index < 4; index++) wire.write(chunk);
    expect(await wire.until('body_too_large')).toContain('413');
    await wire.ended();
  });

  it('leaves the connection usable after it swallowed a refused body', async () => {
    const wire = wireTo(await start());
    wire.write(head(`Content-Length: ${LIMIT + 1}`));
    await wire.until('body_too_large');
    wire.write('x'.repeat(LIMIT + 1));
    wire.write('GET /open HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(await wire.until('200 OK')).toContain('413');
  });

  it('answers 503 with Retry-After when all bodies together are too much, and recovers', async () => {
    const test = await start({ limits: { bodiesInFlightBytes: 150_000 } });
    const first = wireTo(test);
    first.write(`${head('Content-Length: 90000')}${'x'.repeat(80_000)}`);
    await eventually(async () => (await test.metric('seentics_http_body_bytes_in_flight')) === 80_000);
    const refused = await send(test, 'x'.repeat(90_000));
    expect(refused.headers.get('retry-after')).toBe('1');
    expect([refused.status, await refused.json()]).toMatchObject([503, { code: 'overloaded' }]);
    first.write('x'.repeat(10_000));
    await first.until('"bytes":90000');
    expect((await send(test, 'x'.repeat(90_000))).status).toBe(200);
    expect(await test.metric('seentics_http_body_bytes_in_flight')).toBe(0);
  });

  it('lets a raw route answer a refusal in its own way', async () => {
    const lenient: AnyRoute[] = testRoutes().map((declared) =>
      declared.kind !== 'raw'
        ? declared
        : {
            ...declared,
            refuse: (error) =>
              error instanceof AppError && error.code === 'body_too_large'
                ? { status: 200, body: { status: 'dropped' } }
                : undefined,
          },
    );
    const test = await start({ routes: lenient });
    expect(await (await send(test, 'x'.repeat(LIMIT + 1))).json()).toEqual({ status: 'dropped' });
    expect((await send(test, 'x', { 'content-encoding': 'zstd' })).status).toBe(415);
  });
});

describe('compressed bodies', () => {
  const text = JSON.stringify({ name: 'compressed', tags: ['a'] });
  it.each([
    ['gzip', gzipSync(text)],
    ['x-gzip', gzipSync(text)],
    ['GZIP', gzipSync(text)],
    ['deflate', deflateSync(text)],
    ['deflate', deflateRawSync(text)],
    ['br', brotliCompressSync(text)],
    ['identity', Buffer.from(text)],
  ])('inflates %s', async (encoding, bytes) => {
    const test = await start();
    const headers = { 'content-encoding': encoding };
    expect(await (await send(test, bytes, headers)).json()).toMatchObject({
      bytes: text.length,
      start: '{"name":"c',
    });
    expect(await (await send(test, bytes, headers, '/json')).json()).toMatchObject({
      body: { name: 'compressed' },
    });
  });

  it.each(['zstd', 'compress', 'gzip, br', 'nonsense'])('refuses %s with 415', async (encoding) => {
    const response = await send(await start(), 'x', { 'content-encoding': encoding });
    expect(response.headers.get('accept-encoding')).toBe('gzip, deflate, br');
    expect([response.status, await response.json()]).toMatchObject([415, { code: 'unsupported_encoding' }]);
  });

  it.each([
    ['gzip', gzipSync(Buffer.alloc(50_000_000))],
    ['deflate', deflateSync(Buffer.alloc(50_000_000))],
    ['br', brotliCompressSync(Buffer.alloc(50_000_000))],
  ])('stops a %s bomb at the limit', async (encoding, bomb) => {
    const test = await start();
    const before = process.memoryUsage().rss;
    const answers = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const response = await send(test, bomb, { 'content-encoding': encoding });
        return [response.status, await response.json()];
      }),
    );
    for (const answer of answers) expect(answer).toMatchObject([413, { code: 'body_too_large' }]);
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000);
    expect(await test.metric('seentics_http_body_bytes_in_flight')).toBe(0);
  });

  it.each([
    ['truncated', gzipSync(text).subarray(0, 15)],
    ['no gzip at all', Buffer.from('hello')],
  ])('refuses %s data', async (_, bytes) => {
    const response = await send(await start(), bytes, { 'content-encoding': 'gzip' });
    expect([response.status, await response.json()]).toMatchObject([400, { code: 'invalid_request' }]);
  });
});

describe('time', () => {
  it('ends a body that does not come to its end', async () => {
    const wire = wireTo(await start({ limits: { bodyTimeoutMs: 200 } }));
    wire.write(`${head('Content-Length: 1000')}abc`);
    expect(await wire.until('request_timeout')).toContain('408');
    await wire.ended();
  });
});

describe('clients that leave', () => {
  it('leave nothing behind in the middle of a body', async () => {
    const test = await start();
    const leaving = Array.from({ length: 20 }, () => wireTo(test));
    for (const wire of leaving) wire.write(`${head('Content-Length: 90000')}${'x'.repeat(50_000)}`);
    await eventually(async () => (await test.metric('seentics_http_body_bytes_in_flight')) === 1_000_000);
    for (const wire of leaving) wire.socket.destroy();
    await eventually(async () => (await test.metric('seentics_http_requests_in_flight')) === 0);
    expect(await test.metric('seentics_http_body_bytes_in_flight')).toBe(0);
    expect(await test.metric('seentics_http_bodies_arriving')).toBe(0);
    expect(await test.metric('seentics_http_aborted_requests_total')).toBe(20);
  });

  it('abort the signal of the handler that works for them, whose answer is dropped', async () => {
    const signals: AbortSignal[] = [];
    let finish: () => void = () => undefined;
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const handle = async (signal: AbortSignal) => {
      signals.push(signal);
      await slow;
      return { status: 200, body: {} };
    };
    const base = {
      summary: '',
      tag: '',
      bucket: 'none',
      cors: 'api',
      params: NONE,
      query: NONE,
      responses: {},
    } as const;
    const test = await start({
      routes: [
        route({
          ...base,
          method: 'GET',
          path: '/slow',
          access: 'public',
          handle: (c) => handle(c.request.signal),
        }),
        rawRoute({
          ...base,
          method: 'POST',
          path: '/raw',
          access: 'public',
          body: Type.Unknown(),
          handle: (c) => handle(c.request.signal),
        }),
      ],
    });
    const [first, second] = [wireTo(test), wireTo(test)];
    first.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n');
    second.write('POST /raw HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc');
    await eventually(() => signals.length === 2);
    expect(signals.map((signal) => signal.aborted)).toEqual([false, false]);
    first.socket.destroy();
    second.socket.destroy();
    await eventually(() => signals.every((signal) => signal.aborted));
    expect(await test.metric('seentics_http_requests_in_flight')).toBe(2);
    finish();
    await eventually(async () => (await test.metric('seentics_http_requests_in_flight')) === 0);
    expect(await test.metric('seentics_http_body_bytes_in_flight')).toBe(0);
  });
});

describe('draining', () => {
  it('lets running requests finish and takes no new connection', async () => {
    let finish: () => void = () => undefined;
    const slow = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const test = await start({
      routes: [
        route({
          method: 'GET',
          path: '/slow',
          summary: '',
          tag: '',
          bucket: 'none',
          cors: 'api',
          params: NONE,
          query: NONE,
          responses: {},
          access: 'public',
          handle: async () => {
            await slow;
            return { status: 200, body: { done: true } };
          },
        }),
      ],
    });
    const wire = wireTo(test);
    wire.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n');
    await eventually(async () => (await test.metric('seentics_http_requests_in_flight')) === 1);
    const drained = test.app.drain(5000);
    await expect(fetch(`${test.url}/slow`)).rejects.toThrow();
    finish();
    expect(await drained).toBe(true);
    const text = await wire.ended();
    expect(text).toContain('"done":true');
    expect(text.toLowerCase()).toContain('connection: close');
  });

  it('waits no longer than told and aborts what is left', async () => {
    let aborted = false;
    const test = await start({
      routes: [
        route({
          method: 'GET',
          path: '/stuck',
          summary: '',
          tag: '',
          bucket: 'none',
          cors: 'api',
          params: NONE,
          query: NONE,
          responses: {},
          access: 'public',
          handle: ({ request }) =>
            new Promise((resolve) => {
              request.signal.addEventListener('abort', () => {
                aborted = true;
                resolve({ status: 200, body: {} });
              });
            }),
        }),
      ],
    });
    const wire = wireTo(test);
    wire.write('GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n');
    await eventually(async () => (await test.metric('seentics_http_requests_in_flight')) === 1);
    await test.app.close(50);
    await eventually(() => aborted);
    await wire.ended();
  });
});
