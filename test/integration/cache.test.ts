import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Cache } from '../../src/storage/cache/cache.js';
import { createMemoryCache } from '../../src/storage/cache/memory-cache.js';
import { createRedisCache } from '../../src/storage/cache/redis-cache.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshName } from '../support/fresh.js';
import { until } from '../support/wait.js';
import { Relay } from './relay.js';

const openers: Record<string, () => Promise<Cache>> = {
  memory: async () => createMemoryCache({ telemetry: silentTelemetry() }),
  redis: () =>
    createRedisCache({
      url: inject('servers').redis,
      prefix: `${freshName('cache')}:`,
      telemetry: silentTelemetry(),
    }),
};

describe.each(Object.entries(openers))('cache contract: %s', (kind, open) => {
  let cache: Cache;
  beforeAll(async () => {
    cache = await open();
  });
  afterAll(() => cache.close());

  it('says what it is and answers a ping', async () => {
    expect(cache.kind).toBe(kind);
    await cache.ping();
  });

  it('keeps a value until its time is over', async () => {
    await cache.set('value', 'ü\u0000"x', 60_000);
    expect(await cache.get('value')).toBe('ü\u0000"x');
    await cache.set('value', 'next', 30);
    expect(await cache.get('value')).toBe('next');
    await until(async () => (await cache.get('value')) === null, { what: 'the value to expire', everyMs: 5 });
    expect(await cache.get('never set')).toBeNull();
  });

  it('adds only what is absent, also of twenty at once', async () => {
    const wins = await Promise.all(
      Array.from({ length: 20 }, (_, n) => cache.add('once', String(n), 60_000)),
    );
    expect(wins.filter(Boolean)).toHaveLength(1);
    expect(await cache.add('short', 'a', 20)).toBe(true);
    await until(() => cache.add('short', 'b', 60_000), { what: 'the place to become free', everyMs: 5 });
    expect(await cache.get('short')).toBe('b');
  });

  it('deletes any number of keys', async () => {
    await cache.set('a', '1', 60_000);
    await cache.set('b', '2', 60_000);
    await cache.delete('a', 'b', 'c');
    await cache.delete();
    expect([await cache.get('a'), await cache.get('b')]).toEqual([null, null]);
  });

  it('counts simultaneous increments without losing one', async () => {
    const values = await Promise.all(
      Array.from({ length: 100 }, () => cache.increment('counter', 3, 60_000)),
    );
    expect(Math.max(...values)).toBe(300);
    expect(new Set(values).size).toBe(100);
    expect(await cache.get('counter')).toBe('300');
  });

  it('ends a counter a window after its first addition, however often it grows', async () => {
    const began = performance.now();
    await cache.increment('window', 1, 150);
    await until(async () => (await cache.increment('window', 1, 150)) === 1, {
      what: 'the window to end',
      everyMs: 10,
    });
    expect(performance.now() - began).toBeGreaterThan(140);
  });

  it('hands a notice to every listener until it leaves', async () => {
    const heard: string[] = [];
    const leave = await cache.subscribe('news', (message) => heard.push(`one ${message}`));
    await cache.subscribe('news', () => {
      throw new Error('a listener that fails harms no other');
    });
    await cache.subscribe('news', (message) => heard.push(`two ${message}`));
    await cache.publish('news', 'first');
    await until(() => heard.length === 2, { what: 'both listeners' });
    leave();
    await cache.publish('other', 'not for us');
    await cache.publish('news', 'second');
    await until(() => heard.length === 3, { what: 'the one listener left' });
    expect(heard).toEqual(['one first', 'two first', 'two second']);
  });
});

describe('memory cache', () => {
  it('drops what was unused for longest when it is full', async () => {
    const cache = createMemoryCache({ telemetry: silentTelemetry(), maxEntries: 3 });
    for (const key of ['a', 'b', 'c']) await cache.set(key, key, 60_000);
    await cache.get('a');
    await cache.set('d', 'd', 60_000);
    expect(await cache.get('b')).toBeNull();
    expect(await cache.get('a')).toBe('a');
  });
});

describe('Redis that goes away', () => {
  let server: Relay;
  let cache: Cache;
  beforeAll(async () => {
    server = await Relay.before(inject('servers').redis);
  });
  afterEach(() => cache.close());
  afterAll(() => server.stop());

  const open = () =>
    createRedisCache({
      url: server.through(inject('servers').redis),
      prefix: `${freshName('cache')}:`,
      telemetry: silentTelemetry(),
      commandTimeoutMs: 300,
    });

  it('fails at once while it is away, and works again after, notices included', async () => {
    cache = await open();
    const heard: string[] = [];
    await cache.subscribe('news', (message) => heard.push(message));
    await cache.set('key', 'value', 60_000);
    server.closed = true;
    server.cut();
    const began = performance.now();
    for (let n = 0; n < 20; n++) {
      await expect(cache.get('key')).rejects.toMatchObject({ code: 'storage_unavailable' });
    }
    expect(performance.now() - began).toBeLessThan(1_000);
    server.closed = false;
    await until(async () => (await cache.get('key')) === 'value', { what: 'the reconnect' });
    await until(
      async () => {
        await cache.publish('news', 'again');
        return heard.length > 0;
      },
      { what: 'the notice' },
    );
  });

  it('does not wait for ever for an answer', async () => {
    cache = await open();
    server.mute = true;
    await expect(cache.get('key')).rejects.toMatchObject({ code: 'storage_unavailable' });
    server.mute = false;
    server.cut();
  });

  it('is waited for at the start, and the waiting can be ended', async () => {
    server.closed = true;
    const opening = open();
    const leave = new AbortController();
    const given = createRedisCache({
      url: server.through(inject('servers').redis),
      prefix: '',
      telemetry: silentTelemetry(),
      signal: leave.signal,
    });
    leave.abort(new Error('stopped'));
    await expect(given).rejects.toThrow('stopped');
    server.closed = false;
    cache = await opening;
    await cache.ping();
  });
});
