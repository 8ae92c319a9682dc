import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { route } from './route.js';
import { StreamBody } from './stream-body.js';
import { eventually, NONE, startApp, type TestApp, Wire } from './testing.js';

const PIECE = Buffer.alloc(256 * 1024, 'x');
let app: TestApp;
/** How many pieces were made, and whether the maker was told that nobody wants more. */
let made = 0;
let ended = false;
let script: (n: number) => Uint8Array | null;
/** What the second piece waits for. */
let gate: Promise<void> | undefined;

async function* pieces() {
  made = 0;
  ended = false;
  try {
    for (let piece = script(0); piece !== null; piece = script(made)) {
      made++;
      yield piece;
      await new Promise((resolve) => setImmediate(resolve));
      await gate;
    }
  } finally {
    ended = true;
  }
}

async function* endless() {
  for (;;) {
    yield PIECE;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

beforeAll(async () => {
  app = await startApp({
    routes: [
      route({
        method: 'GET',
        path: '/own',
        summary: 'A stream for accounts',
        tag: 'test',
        bucket: 'none',
        cors: 'api',
        access: 'account',
        params: NONE,
        query: NONE,
        responses: {},
        handle: async () => ({ status: 200, body: new StreamBody(endless(), 'text/plain') }),
      }),
      route({
        method: 'GET',
        path: '/stream',
        summary: 'A stream',
        tag: 'test',
        bucket: 'none',
        cors: 'api',
        access: 'public',
        params: NONE,
        query: NONE,
        responses: {},
        handle: async () => ({ status: 200, body: new StreamBody(pieces(), 'text/plain') }),
      }),
    ],
  });
});
afterAll(() => app.app.close());

describe('an answer made in pieces', () => {
  it.each(['identity', 'gzip', 'br'])('arrives whole with Accept-Encoding: %s', async (encoding) => {
    const texts = ['a', '', 'b'.repeat(600_000), 'é'];
    script = (n) => (n < texts.length ? Buffer.from(texts[n] ?? '') : null);
    const answer = await fetch(`${app.url}/stream`, { headers: { 'accept-encoding': encoding } });
    expect(answer.headers.get('content-encoding')).toBe(encoding === 'identity' ? null : encoding);
    expect(answer.headers.get('content-type')).toBe('text/plain');
    expect(await answer.text()).toBe(texts.join(''));
  });

  it.each(['identity', 'gzip', 'br'])('goes out piece by piece with %s', async (encoding) => {
    let release = () => {};
    gate = new Promise((resolve) => {
      release = resolve;
    });
    script = (n) => (n < 2 ? Buffer.from(`piece ${n};`) : null);
    const answer = await fetch(`${app.url}/stream`, { headers: { 'accept-encoding': encoding } });
    const reader = answer.body?.getReader();
    const first = await reader?.read();
    expect(Buffer.from(first?.value ?? []).toString()).toBe('piece 0;');
    release();
    const second = await reader?.read();
    expect(Buffer.from(second?.value ?? []).toString()).toBe('piece 1;');
  });

  it('is an error like any other when it fails before its first piece', async () => {
    script = () => {
      throw new Error('no such thing');
    };
    const answer = await fetch(`${app.url}/stream`);
    expect(answer.status).toBe(500);
    expect(await answer.json()).toMatchObject({ code: 'internal' });
  });

  it('breaks the connection when it fails later, so that a part is not taken for the whole', async () => {
    script = (n) => {
      if (n === 3) throw new Error('the store went away');
      return PIECE;
    };
    const answer = await fetch(`${app.url}/stream`, { headers: { 'accept-encoding': 'identity' } });
    expect(answer.status).toBe(200);
    await expect(answer.arrayBuffer()).rejects.toThrow();
    expect(ended).toBe(true);
  });

  it('is made no faster than a slow client takes it, and not at all when the client has left', async () => {
    script = (n) => (n < 10_000 ? PIECE : null);
    const wire = new Wire(app.port);
    wire.socket.pause();
    wire.write('GET /stream HTTP/1.1\r\nHost: test\r\n\r\n');
    let seen = -1;
    await eventually(async () => {
      const before = made;
      await new Promise((resolve) => setTimeout(resolve, 50));
      seen = made;
      return made > 0 && made === before;
    });
    // What the kernel's buffers hold, and no more: a few MB of 2.5 GB.
    expect(seen).toBeLessThan(100);
    expect(ended).toBe(false);
    wire.socket.destroy();
    await eventually(() => ended);
    expect(made).toBeLessThan(100);
  });

  it('is refused while the account reads eight others, and those of other accounts are not', async () => {
    const read = (token: string) => {
      const wire = new Wire(app.port);
      wire.write(`GET /own HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer ${token}\r\n\r\n`);
      return wire;
    };
    const wires = Array.from({ length: 8 }, () => read('owner'));
    for (const wire of wires) {
      expect(await wire.until('\r\n\r\n')).toMatch(/^HTTP\/1.1 200 /);
      wire.socket.pause();
    }
    expect(await app.metric('seentics_http_streams')).toBe(8);
    const refused = read('owner');
    expect(await refused.until('"code"')).toMatch(/^HTTP\/1.1 429 [\s\S]*rate_limited/);
    const other = read('admin');
    expect(await other.until('\r\n\r\n')).toMatch(/^HTTP\/1.1 200 /);
    for (const wire of [...wires, refused, other]) wire.socket.destroy();
    await eventually(async () => (await app.metric('seentics_http_streams')) === 0);
  });

  it('has no body and no made-up length for HEAD, and is not made', async () => {
    made = 0;
    const wire = new Wire(app.port);
    wire.write('HEAD /stream HTTP/1.1\r\nHost: test\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n');
    const [head, next] = (await wire.until('"code"')).split('\r\n\r\n');
    wire.socket.destroy();
    expect(head).toMatch(/^HTTP\/1.1 200 /);
    expect(head).not.toMatch(/content-length|transfer-encoding/i);
    expect(next).toMatch(/^HTTP\/1.1 404 /);
    expect(made).toBe(0);
  });
});
