import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import fc from 'fast-check';
import Type from 'typebox';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { FormFile } from './multipart.js';
import { type AnyRoute, siteUploadRoute, uploadRoute } from './route.js';
import { eventually, NONE, SITE, startApp, type TestApp, Wire } from './testing.js';

const LIMIT = 64 * 1024 * 1024;
const FORM = Type.Object({ file: Type.String() });
const BASE = {
  method: 'POST',
  summary: 'A form',
  tag: 'test',
  bucket: 'none',
  cors: 'api',
  params: NONE,
  responses: {},
  body: FORM,
} as const;

let app: TestApp;
let taken = 0;
let finished = 0;
let discarded = 0;
let received = 0;
let failure: unknown;
/** What a reader waits for before each piece. */
let gate: Promise<void> | undefined;

async function take({ bytes, field, name, type }: FormFile) {
  taken++;
  const parts: Uint8Array[] = [];
  try {
    for await (const part of bytes) {
      received += part.length;
      parts.push(part);
      await gate;
    }
  } catch (error) {
    failure = error;
    throw error;
  }
  finished++;
  return { field, name, type, hex: Buffer.concat(parts).toString('hex') };
}

const routes: AnyRoute[] = [
  uploadRoute({
    ...BASE,
    path: '/form',
    access: 'account',
    form: { fileBytes: LIMIT, fields: 4, fieldBytes: 1000 },
    handle: async ({ read }) => {
      const { fields, file } = await read(take);
      return { status: 200, body: { fields: Object.fromEntries(fields), file } };
    },
  }),
  uploadRoute({
    ...BASE,
    path: '/small',
    access: 'account',
    form: { fileBytes: 1000 },
    handle: async ({ read }) => ({ status: 200, body: await read(take) }),
  }),
  siteUploadRoute({
    ...BASE,
    path: '/site',
    access: { site: 'manage' },
    siteFrom: { field: 'site' },
    form: { fileBytes: 1000 },
    handle: async ({ read }) => {
      const { site } = await read(take, async () => {
        discarded++;
      });
      return { status: 200, body: { site: site.name } };
    },
  }),
];

beforeAll(async () => {
  app = await startApp({ routes, limits: { bodyTimeoutMs: 1_000, bodiesInFlightBytes: 4 * 1024 * 1024 } });
});
afterAll(() => app.app.close());
beforeEach(() => {
  taken = finished = discarded = received = 0;
  failure = undefined;
  gate = undefined;
});

function form(fields: Readonly<Record<string, string>>, file?: Uint8Array, name = 'a.bin'): FormData {
  const data = new FormData();
  for (const [key, value] of Object.entries(fields)) data.append(key, value);
  if (file !== undefined) data.append('file', new Blob([file], { type: 'text/csv' }), name);
  return data;
}

async function post(path: string, body: FormData | string, token = 'owner') {
  const answer = await fetch(app.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body,
  });
  const json: unknown = await answer.json();
  return { status: answer.status, json };
}

const TORN = [
  'POST /form HTTP/1.1',
  'Host: x',
  'Authorization: Bearer owner',
  'Content-Type: multipart/form-data; boundary=XX',
];
const PART = '--XX\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n';

describe('a form with a file', () => {
  it('arrives as it was sent', async () => {
    const names = fc.string({ unit: fc.constantFrom('a', 'b', '-', 'é'), minLength: 1, maxLength: 8 });
    const values = fc.string({ unit: 'grapheme', maxLength: 60 }).filter((it) => !/[\r\n]/.test(it));
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(names, values, { maxKeys: 4 }),
        fc.uint8Array({ maxLength: 5_000 }),
        async (fields, bytes) => {
          const { status, json } = await post('/form', form(fields, bytes, 'my file.csv'));
          const hex = Buffer.from(bytes).toString('hex');
          const file = { field: 'file', name: 'my file.csv', type: 'text/csv', hex };
          expect({ status, json }).toEqual({ status: 200, json: { fields, file } });
        },
      ),
      { seed: 6, numRuns: 40 },
    );
  });

  it('may be large', async () => {
    const bytes = randomBytes(9_000_000);
    const { status, json } = await post('/form', form({}, bytes));
    expect(status).toBe(200);
    expect(json).toMatchObject({ file: { hex: bytes.toString('hex') } });
  });

  it('may have no file', async () => {
    expect(await post('/form', form({ a: '1' }))).toEqual({ status: 200, json: { fields: { a: '1' } } });
  });

  it('holds its sender back while its reader waits', async () => {
    let open = () => {};
    gate = new Promise((resolve) => {
      open = resolve;
    });
    const sender = httpRequest(`${app.url}/form`, {
      method: 'POST',
      headers: { authorization: 'Bearer owner', 'content-type': 'multipart/form-data; boundary=XX' },
    });
    const answered = new Promise<number | undefined>((resolve, reject) => {
      sender.on('error', reject);
      sender.on('response', (answer) => resolve(answer.resume().statusCode));
    });
    sender.write(PART);
    const piece = Buffer.alloc(1024 * 1024);
    let stuck = false;
    for (let sent = 0; sent < 30; sent++) {
      if (sender.write(piece)) continue;
      const drained = new Promise<string>((resolve) => sender.once('drain', () => resolve('drained')));
      const late = new Promise<string>((resolve) => setTimeout(() => resolve('late'), 1_500));
      if (!stuck && (await Promise.race([drained, late])) === 'late') {
        // Longer than the time-out of a body that is not held back. What the kernels hold has left the sender.
        stuck = true;
        expect(received).toBeLessThan(1024 * 1024);
        expect(await app.metric('seentics_http_body_bytes_in_flight')).toBeLessThan(2 * 1024 * 1024);
        open();
      }
      await drained;
    }
    expect(stuck).toBe(true);
    sender.end('\r\n--XX--\r\n');
    expect(await answered).toBe(200);
    expect(received).toBe(30 * 1024 * 1024);
  });

  it.each([
    ['a file beyond the limit', '/small', form({}, new Uint8Array(1001)), 'body_too_large', 413],
    ['a body beyond the limit', '/small', form({}, new Uint8Array(400_000)), 'body_too_large', 413],
    ['too many fields', '/form', form({ a: '', b: '', c: '', d: '', e: '' }), 'invalid_request', 400],
    ['a field that is too long', '/form', form({ a: 'x'.repeat(1001) }), 'invalid_request', 400],
    ['no form', '/form', '{}', 'invalid_request', 400],
  ])('is refused: %s', async (_, path, body, code, status) => {
    expect(await post(path, body)).toMatchObject({ status, json: { code } });
  });

  it('of exactly the limit is taken', async () => {
    expect((await post('/small', form({}, new Uint8Array(1000)))).status).toBe(200);
  });

  it('is refused with two files', async () => {
    const data = form({}, randomBytes(10));
    data.append('other', new Blob(['x']), 'x');
    expect(await post('/form', data)).toMatchObject({ status: 400, json: { code: 'invalid_request' } });
  });

  it('is refused when it ends early, in a file or before it', async () => {
    for (const torn of [`${PART}half a file`, '--XX\r\nContent-Dispo', '', 'nothing of a form']) {
      const wire = new Wire(app.port);
      wire.write(`${[...TORN, `Content-Length: ${torn.length}`].join('\r\n')}\r\n\r\n${torn}`);
      expect(await wire.until('"code"')).toMatch(/^HTTP\/1.1 400 [\s\S]*invalid_request/);
      wire.socket.destroy();
    }
  });

  it('is refused when its sender falls silent', async () => {
    const wire = new Wire(app.port);
    wire.write(`${[...TORN, 'Content-Length: 100000'].join('\r\n')}\r\n\r\n${PART}half`);
    expect(await wire.until('"code"')).toMatch(/^HTTP\/1.1 408 /);
    wire.socket.destroy();
  });

  it('tells its reader when the sender leaves', async () => {
    const wire = new Wire(app.port);
    wire.write(`${[...TORN, 'Content-Length: 100000'].join('\r\n')}\r\n\r\n${PART}${'half'.repeat(1000)}`);
    await eventually(() => taken === 1 && received > 0);
    wire.socket.destroy();
    await eventually(() => failure !== undefined);
    expect(failure).toMatchObject({ code: 'request_timeout' });
    await eventually(async () => (await app.metric('seentics_http_body_bytes_in_flight')) === 0);
  });

  it('is refused while the account sends four others, and those of other accounts are not', async () => {
    const wires = Array.from({ length: 4 }, () => new Wire(app.port));
    for (const wire of wires)
      wire.write(`${[...TORN, 'Content-Length: 100000'].join('\r\n')}\r\n\r\n${PART}half`);
    await eventually(() => taken === 4);
    expect(await app.metric('seentics_http_uploads')).toBe(4);
    const small = form({}, randomBytes(10));
    expect(await post('/form', small)).toMatchObject({ status: 429, json: { code: 'rate_limited' } });
    expect(await post('/form', small, 'admin')).toMatchObject({ status: 200 });
    for (const wire of wires) wire.socket.destroy();
    await eventually(async () => (await app.metric('seentics_http_uploads')) === 0);
    expect(await post('/form', small)).toMatchObject({ status: 200 });
  });

  it('is not read for nobody', async () => {
    expect(await post('/form', form({}, randomBytes(10)), 'bad')).toMatchObject({ status: 401 });
    expect(taken).toBe(0);
  });
});

describe('a form for a site', () => {
  it('is taken for who may manage it, wherever the site stands', async () => {
    expect(await post('/site', form({ site: SITE.siteId }, randomBytes(9)))).toMatchObject({ status: 200 });
    const data = form({}, randomBytes(9));
    data.append('site', SITE.id);
    expect(await post('/site', data)).toEqual({ status: 200, json: { site: SITE.name } });
    expect(discarded).toBe(0);
  });

  it.each([
    ['stranger', SITE.id, 403],
    ['owner', 'unknown', 404],
    ['owner', '', 400],
  ])('is refused before its file is read: %s %s', async (who, site, status) => {
    expect(await post('/site', form({ site }, randomBytes(9)), who)).toMatchObject({ status });
    expect(taken).toBe(0);
  });

  it('is discarded when the site that comes after the file is not the caller’s', async () => {
    const data = form({}, randomBytes(9));
    data.append('site', SITE.id);
    expect(await post('/site', data, 'stranger')).toMatchObject({ status: 403 });
    expect({ taken, discarded }).toEqual({ taken: 1, discarded: 1 });
    expect(await post('/site', form({}, randomBytes(9)))).toMatchObject({ status: 400 });
    expect({ taken, discarded }).toEqual({ taken: 2, discarded: 2 });
  });

  it.each([
    ['a second file', 'Content-Disposition: form-data; name="b"; filename="b"\r\n\r\nb\r\n--XX--\r\n'],
    ['a torn end', 'Content-Dispo'],
    ['a long field', `Content-Disposition: form-data; name="site"\r\n\r\n${'x'.repeat(9_999)}\r\n--XX--\r\n`],
  ])('is discarded when behind its file comes %s', async (_, rest) => {
    const file = `${PART}a file\r\n--XX\r\n`;
    const wire = new Wire(app.port);
    const head = TORN.join('\r\n').replace('/form', '/site');
    wire.write(`${head}\r\nContent-Length: ${file.length + rest.length}\r\n\r\n${file}`);
    await eventually(() => finished === 1);
    wire.write(rest);
    expect(await wire.until('"code"')).toMatch(/^HTTP\/1.1 400 /);
    wire.socket.destroy();
    expect({ taken, discarded }).toEqual({ taken: 1, discarded: 1 });
  });
});
