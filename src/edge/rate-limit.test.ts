import { afterEach, describe, expect, it } from 'vitest';
import type { Cache } from '../storage/cache/cache.js';
import { createMemoryCache } from '../storage/cache/memory-cache.js';
import { silentTelemetry } from '../telemetry.js';
import { createRateLimiter, type RateLimiter, type RateLimiterOptions } from './rate-limit.js';
import { eventually, startApp } from './testing.js';

const limiters: RateLimiter[] = [];
afterEach(async () => {
  await Promise.all(limiters.splice(0).map((limiter) => limiter.close()));
});

function limiterOf(options: Partial<RateLimiterOptions> = {}) {
  const telemetry = options.telemetry ?? silentTelemetry();
  const cache = options.cache ?? createMemoryCache({ telemetry: silentTelemetry() });
  const limiter = createRateLimiter({ syncMs: 5, now: () => 1_000_000, ...options, cache, telemetry });
  limiters.push(limiter);
  return { limiter, telemetry };
}

const passed = (limiter: RateLimiter, times: number, identity = '1.2.3.4') =>
  Array.from({ length: times }, () => limiter.take('ingest', identity)).filter((refusal) => refusal === null)
    .length;

describe('one process', () => {
  it('lets exactly the limit pass, then says how long to wait', () => {
    const { limiter } = limiterOf({ limits: { ingest: 100 }, now: () => 61_000 });
    expect(passed(limiter, 150)).toBe(100);
    expect(limiter.take('ingest', '1.2.3.4')).toEqual({ limit: 100, retryAfterSeconds: 59 });
  });

  it('starts anew with the next window', () => {
    let now = 0;
    const { limiter } = limiterOf({ limits: { ingest: 10 }, now: () => now });
    expect(passed(limiter, 20)).toBe(10);
    now = 60_000;
    expect(passed(limiter, 20)).toBe(10);
  });

  it('counts buckets and identities apart, IPv6 by /64', () => {
    const { limiter } = limiterOf({ limits: { ingest: 10, api: 10 } });
    expect(passed(limiter, 20, '1.1.1.1')).toBe(10);
    expect(passed(limiter, 20, '1.1.1.2')).toBe(10);
    expect(limiter.take('api', '1.1.1.1')).toBeNull();
    expect(passed(limiter, 6, '2001:db8::1')).toBe(6);
    expect(passed(limiter, 6, '2001:db8::2')).toBe(4);
    expect(passed(limiter, 6, '2001:db8:0:1::2')).toBe(6);
  });

  it('has no limit where it is 0', () => {
    expect(passed(limiterOf({ limits: { ingest: 0 } }).limiter, 100_000)).toBe(100_000);
  });

  it('holds a bounded number of counters', async () => {
    const { limiter, telemetry } = limiterOf({ maxKeys: 100, limits: { ingest: 10 } });
    for (let index = 0; index < 10_000; index++) limiter.take('ingest', `10.0.${index >> 8}.${index & 255}`);
    const text = await telemetry.registry.metrics();
    expect(text).toContain('seentics_rate_limit_keys 100');
    expect(text).toContain('seentics_rate_limit_evictions_total 9900');
  });
});

describe('several processes', () => {
  it('refuse together once the shared total has passed the limit', async () => {
    const cache = createMemoryCache({ telemetry: silentTelemetry() });
    const one = limiterOf({ cache, limits: { ingest: 100 } }).limiter;
    const two = limiterOf({ cache, limits: { ingest: 100 } }).limiter;
    expect(passed(one, 60)).toBe(60);
    await eventually(async () => (await cache.get('rl:ingest:1.2.3.4:16')) === '60');
    expect(passed(two, 10)).toBe(10);
    await eventually(async () => (await cache.get('rl:ingest:1.2.3.4:16')) === '70');
    await new Promise((resolve) => setImmediate(resolve));
    expect(passed(two, 100)).toBe(30);
  });

  it('ask the cache for the busy counters only, and not a request', async () => {
    let calls = 0;
    const memory = createMemoryCache({ telemetry: silentTelemetry() });
    const cache: Cache = {
      ...memory,
      increment: (key, amount, windowMs) => {
        calls++;
        return memory.increment(key, amount, windowMs);
      },
    };
    const { limiter } = limiterOf({ cache, limits: { ingest: 1000 } });
    for (let index = 0; index < 5000; index++) limiter.take('ingest', `10.0.${index >> 8}.${index & 255}`);
    passed(limiter, 900);
    await eventually(() => calls > 0);
    await limiter.close();
    expect(calls).toBe(1);
  });

  it('count nobody twice when the cache answers too late', async () => {
    const memory = createMemoryCache({ telemetry: silentTelemetry() });
    let calls = 0;
    const cache: Cache = {
      ...memory,
      async increment(...asked) {
        const total = await memory.increment(...asked);
        if (++calls <= 3) throw new Error('timed out');
        return total;
      },
    };
    const { limiter } = limiterOf({ cache, limits: { ingest: 100 } });
    for (let round = 1; round <= 4; round++) {
      expect(passed(limiter, 10)).toBe(10);
      await eventually(() => calls === round);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(passed(limiter, 100)).toBe(60);
  });

  it('let requests pass on the local count while the cache is away, with a metric', async () => {
    const memory = createMemoryCache({ telemetry: silentTelemetry() });
    const cache: Cache = { ...memory, increment: () => Promise.reject(new Error('away')) };
    const { limiter, telemetry } = limiterOf({ cache, limits: { ingest: 100 } });
    expect(passed(limiter, 50)).toBe(50);
    await eventually(async () =>
      /seentics_rate_limit_sync_failures_total [1-9]/.test(await telemetry.registry.metrics()),
    );
    expect(passed(limiter, 100)).toBe(50);
  });
});

describe('over HTTP', () => {
  it('answers 429 with the limit and when to come back', async () => {
    const test = await startApp({ rates: { ingest: 3 } });
    const event = () => fetch(`${test.url}/event`, { method: 'POST', body: '{}' });
    const config = () => fetch(`${test.url}/tracker/config`);
    expect([(await event()).status, (await event()).status, (await config()).status]).toEqual([
      200, 200, 200,
    ]);
    for (const refused of [await event(), await config()]) {
      expect(refused.status).toBe(429);
      expect(refused.headers.get('x-ratelimit-limit')).toBe('3');
      expect(refused.headers.get('x-ratelimit-remaining')).toBe('0');
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(await refused.json()).toEqual({
        error: 'Too many requests. Please try again later.',
        message: 'Too many requests. Please try again later.',
        code: 'rate_limited',
      });
    }
    expect(await test.metric('seentics_rate_limit_refusals_total{bucket="ingest"}')).toBe(2);
    await test.app.close();
  });

  it('counts API keys each by itself, also where they are refused', async () => {
    const test = await startApp({
      rates: { api: 2 },
      authenticate: async (id) => ({
        ...{ kind: 'account', userId: 'owner', email: 'owner@example.com', role: 'user' },
        ...(id === 'token' ? {} : { key: { id, scopes: ['read'], websiteIds: null } }),
      }),
    });
    const get = async (headers: Record<string, string>) =>
      (await fetch(`${test.url}/account`, { headers })).status;
    const one = { 'x-api-key': 'sk_1' };
    expect([await get(one), await get(one), await get(one)]).toEqual([403, 403, 429]);
    expect(await get({ authorization: 'sk_2' })).toBe(403);
    expect(await get({ authorization: 'token' })).toBe(200);
    await test.app.close();
  });

  it('counts the API by account, and bad tokens by address', async () => {
    const test = await startApp({ rates: { api: 2 } });
    const get = async (token: string) =>
      (await fetch(`${test.url}/account`, { headers: { authorization: token } })).status;
    expect([await get('owner'), await get('owner'), await get('owner')]).toEqual([200, 200, 429]);
    expect(await get('stranger')).toBe(200);
    expect([await get('bad'), await get('bad'), await get('bad')]).toEqual([401, 401, 429]);
    expect(await get('stranger')).toBe(200);
    await test.app.close();
  });
});
