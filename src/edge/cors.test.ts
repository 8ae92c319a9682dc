import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from './testing.js';

let test: TestApp;
beforeAll(async () => {
  test = await startApp();
});
afterAll(() => test.app.close());

const CUSTOMER = 'https://www.customer-shop.example';
const call = (path: string, method: string, origin: string, app = test) =>
  fetch(app.url + path, { method, headers: { origin }, ...(method === 'POST' ? { body: '{}' } : {}) });

function cors(response: Response) {
  const get = (name: string) => response.headers.get(name);
  return {
    origin: get('access-control-allow-origin'),
    credentials: get('access-control-allow-credentials'),
    vary: get('vary'),
  };
}

describe('tracker routes', () => {
  it.each([CUSTOMER, 'http://localhost:8080', 'null'])(
    'echo the origin %s with credentials, as a beacon needs',
    async (origin) => {
      const expected = { origin, credentials: 'true', vary: 'Origin' };
      expect(cors(await call('/event', 'POST', origin))).toEqual(expected);
      expect(cors(await call('/tracker/config', 'GET', origin))).toEqual(expected);
    },
  );

  it.each([
    ['/event', 'POST'],
    ['/tracker/config', 'GET'],
  ])('answer the preflight of %s (%s) at once', async (path, method) => {
    const response = await fetch(test.url + path, {
      method: 'OPTIONS',
      headers: {
        origin: CUSTOMER,
        'access-control-request-method': method,
        'access-control-request-headers': 'content-type',
      },
    });
    expect(response.status).toBe(204);
    expect(cors(response)).toEqual({ origin: CUSTOMER, credentials: 'true', vary: 'Origin' });
    expect(response.headers.get('access-control-max-age')).toBe('86400');
    expect(response.headers.get('content-length')).toBeNull();
    expect(response.headers.get('access-control-allow-methods')).toContain(method);
    const allowed = response.headers.get('access-control-allow-headers')?.toLowerCase();
    for (const name of ['content-type', 'content-encoding', 'x-api-key', 'authorization', 'x-site-id']) {
      expect(allowed).toContain(name);
    }
  });

  it('let the page read errors, too', async () => {
    const wrong = await fetch(`${test.url}/event`, { method: 'PUT', headers: { origin: CUSTOMER } });
    expect([wrong.status, cors(wrong).origin]).toEqual([405, CUSTOMER]);
    const large = await fetch(`${test.url}/event`, {
      method: 'POST',
      headers: { origin: CUSTOMER },
      body: 'x'.repeat(200_000),
    });
    expect([large.status, cors(large).origin]).toEqual([413, CUSTOMER]);
  });

  it('send no permission to callers that name no origin', async () => {
    const response = await fetch(`${test.url}/event`, { method: 'POST', body: '{}' });
    expect(cors(response)).toEqual({ origin: null, credentials: null, vary: 'Origin' });
  });
});

describe('api routes', () => {
  it('admit the configured origin exactly', async () => {
    const response = await call('/open', 'GET', 'https://app.example');
    expect(cors(response)).toEqual({ origin: 'https://app.example', credentials: 'true', vary: 'Origin' });
    expect(response.headers.get('access-control-expose-headers')).toContain('Retry-After');
  });

  it.each([
    CUSTOMER,
    'https://app.example.evil.example',
    'http://app.example',
    'https://app.example:444',
    'http://localhost:3000',
    'null',
  ])('do not admit %s in production', async (origin) => {
    expect(cors(await call('/open', 'GET', origin))).toEqual({
      origin: null,
      credentials: null,
      vary: 'Origin',
    });
    expect(cors(await call('/open', 'OPTIONS', origin)).origin).toBeNull();
    expect((await call('/nope', 'OPTIONS', origin)).status).toBe(204);
  });

  it('admit loopback pages outside production, but no look-alikes', async () => {
    const own = await startApp({ cors: { allowedOrigins: [], production: false } });
    for (const origin of [
      'http://localhost:5173',
      'http://127.0.0.1',
      'https://localhost',
      'http://[::1]:3000',
    ]) {
      expect(cors(await call('/open', 'GET', origin, own)).origin).toBe(origin);
    }
    for (const origin of [
      'http://localhost.evil.example',
      'http://evil.example/localhost',
      'http://127.0.0.1.nip.io',
    ]) {
      expect(cors(await call('/open', 'GET', origin, own)).origin).toBeNull();
    }
    await own.app.close();
  });

  it('admit every origin when the setting is *', async () => {
    const own = await startApp({ cors: { allowedOrigins: ['*'], production: true } });
    expect(cors(await call('/open', 'GET', CUSTOMER, own)).origin).toBe(CUSTOMER);
    await own.app.close();
  });
});
