import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import Type from 'typebox';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chooseEncoding } from './representation.js';
import { type AnyRoute, rawRoute, route } from './route.js';
import { NONE, startApp, type TestApp, Wire } from './testing.js';

const LONG = 'Zürich '.repeat(1000);
let size = 5000;
let app: TestApp;

function routes(): AnyRoute[] {
  const common = {
    ...{ summary: 'A test', tag: 'test', params: NONE, query: NONE, responses: { 200: Type.Unknown() } },
    ...({ bucket: 'none', cors: 'api', access: 'public' } as const),
  };
  const get = (path: string, body: () => object, cacheControl?: string) =>
    route({
      ...common,
      method: 'GET',
      path,
      handle: async () => ({
        status: 200,
        body: body(),
        ...(cacheControl === undefined ? {} : { headers: { 'Cache-Control': cacheControl } }),
      }),
    });
  return [
    get('/long', () => ({ text: LONG.slice(0, size) }), 'private, no-cache'),
    get('/secret', () => ({ text: LONG })),
    get('/short', () => ({ text: 'x' }), 'public, max-age=60'),
    rawRoute({
      ...common,
      method: 'POST',
      path: '/raw',
      body: Type.Unknown(),
      headers: [],
      handle: async () => ({ status: 200, body: { text: LONG } }),
    }),
  ];
}

beforeAll(async () => {
  app = await startApp({ routes: routes() });
});
afterAll(() => app.app.close(0));

const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(app.url + path, { method, headers });

/** The answer as it came over the wire. */
async function wire(path: string, encoding: string): Promise<{ head: string; body: Buffer }> {
  const socket = new Wire(app.port);
  const chunks: Buffer[] = [];
  socket.socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: ${encoding}\r\nConnection: close\r\n\r\n`,
  );
  await socket.ended();
  const all = Buffer.concat(chunks);
  const end = all.indexOf('\r\n\r\n');
  return { head: all.subarray(0, end).toString(), body: all.subarray(end + 4) };
}

describe('compressed answers', () => {
  it.each([
    ['br', brotliDecompressSync],
    ['gzip', gunzipSync],
  ])('are sent as %s to those who take it', async (encoding, decode) => {
    const { head, body } = await wire('/long', encoding);
    expect(head).toContain(`Content-Encoding: ${encoding}`);
    expect(head).toContain('Vary: Accept-Encoding');
    expect(body.length).toBeLessThan(1000);
    expect(JSON.parse(decode(body).toString())).toEqual({ text: LONG.slice(0, size) });
  });

  it('are not sent to those who do not', async () => {
    const { head, body } = await wire('/long', 'identity, br;q=0');
    expect(head).not.toContain('Content-Encoding');
    expect(head).toContain('Vary: Accept-Encoding');
    expect(JSON.parse(body.toString())).toEqual({ text: LONG.slice(0, size) });
  });

  it('are not made of short ones, nor of those to trackers', async () => {
    expect((await get('/short', { 'accept-encoding': 'br' })).headers.get('content-encoding')).toBeNull();
    const raw = await fetch(`${app.url}/raw`, { method: 'POST', body: '{}' });
    expect(raw.headers.get('content-encoding')).toBeNull();
    expect(await raw.json()).toEqual({ text: LONG });
  });
});

describe('entity tags', () => {
  it('save an answer that the client has', async () => {
    const first = await get('/long', { 'accept-encoding': 'gzip' });
    const etag = first.headers.get('etag') ?? '';
    expect(etag).toMatch(/^W\/"/);
    const again = await get('/long', { 'if-none-match': `"other", ${etag}`, 'accept-encoding': 'br' });
    expect(again.status).toBe(304);
    expect(again.headers.get('etag')).toBe(etag);
    expect(again.headers.get('cache-control')).toBe('private, no-cache');
    // It would be taken for that of the answer which the client has.
    expect(again.headers.get('content-length')).toBeNull();
    expect(await again.text()).toBe('');
  });

  it('change with the answer', async () => {
    const before = (await get('/long')).headers.get('etag') ?? '';
    size--;
    const after = await get('/long', { 'if-none-match': before });
    expect(after.status).toBe(200);
    expect(after.headers.get('etag')).not.toBe(before);
  });

  it('stand on HEAD as on GET, and on nothing that must not be kept', async () => {
    const [head, whole] = [await get('/short', {}, 'HEAD'), await get('/short')];
    expect(head.headers.get('etag')).toBe(whole.headers.get('etag'));
    expect(head.headers.get('content-length')).toBe(String((await whole.text()).length));
    expect((await get('/secret')).headers.get('etag')).toBeNull();
  });
});

describe('chooseEncoding', () => {
  it.each([
    ['', null],
    ['br', 'br'],
    ['gzip, deflate, br', 'br'],
    ['gzip;q=1.0, br;q=0.5', 'gzip'],
    ['BR;Q=0.1', 'br'],
    ['*', 'br'],
    ['*;q=0', null],
    ['gzip;q=0, *', 'br'],
    ['br;q=junk, gzip', 'gzip'],
    ['deflate', null],
    [',;=,;q=', null],
  ])('of %j is %j', (header, encoding) => {
    expect(chooseEncoding(header)).toBe(encoding);
  });
});
