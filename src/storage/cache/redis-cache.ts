import { Redis, type RedisOptions } from 'ioredis';
import { Counter, Gauge, type Registry } from 'prom-client';
import { AppError } from '../../errors.js';
import type { Logger, Telemetry } from '../../telemetry.js';
import type { Cache } from './cache.js';

export interface RedisCacheOptions {
  /** `redis://[user:password@]host[:port][/db]` or `rediss://`. */
  readonly url: string;
  /** Stands before every key and channel, e.g. `seentics:`. */
  readonly prefix: string;
  readonly telemetry: Telemetry;
  /** A command without an answer fails after this; default 2,000. */
  readonly commandTimeoutMs?: number;
  /** Ends the waiting for a server that is away. */
  readonly signal?: AbortSignal;
}

// INCRBY and PEXPIRE in one step: a counter can never be left without an expiry.
const INCREMENT = `
local value = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return value`;

/**
 * Connects to Redis; waits for a server that is away ("waiting for Redis at host:port …"). Later failures are answered at once with
 * AppError `storage_unavailable` while the connection is being restored behind.
 * @throws the server's error when waiting cannot help (wrong password)
 */
export async function createRedisCache(options: RedisCacheOptions): Promise<Cache> {
  const { log, registry } = options.telemetry;
  const shared = {
    lazyConnect: true,
    connectTimeout: 5_000,
    retryStrategy: (attempt: number) => Math.min(100 * 2 ** attempt, 2_000),
    connectionName: 'seentics',
  } satisfies RedisOptions;
  const commands = new Redis(options.url, {
    ...shared,
    commandTimeout: options.commandTimeoutMs ?? 2_000,
    maxRetriesPerRequest: 0,
    // No queue while the server is away: callers have better things to do than wait.
    enableOfflineQueue: false,
    enableAutoPipelining: true,
  });
  // Subscriptions need a connection of their own; they come back by themselves after a reconnect.
  const notices = new Redis(options.url, { ...shared, maxRetriesPerRequest: null, autoResubscribe: true });
  try {
    await Promise.all([commands, notices].map((redis) => connected(redis, options.url, log, options.signal)));
  } catch (error) {
    commands.disconnect();
    notices.disconnect();
    throw error;
  }
  const metrics = metricsOf(registry);
  watch(commands, metrics.up, log);

  const name = (key: string) => options.prefix + key;
  const run = async <T>(command: () => Promise<T>): Promise<T> => {
    try {
      return await command();
    } catch (error) {
      metrics.failures.inc();
      throw new AppError('storage_unavailable', 'The cache is not reachable', {
        cause: error,
        retryAfterSeconds: 2,
      });
    }
  };
  const listeners = new Map<string, Set<(message: string) => void>>();
  notices.on('message', (channel: string, message: string) => {
    for (const listener of listeners.get(channel) ?? []) {
      try {
        listener(message);
      } catch (error) {
        log.error({ channel, err: error }, 'a listener of a notice failed');
      }
    }
  });

  return {
    kind: 'redis',
    get: (key) => run(() => commands.get(name(key))),
    set: (key, value, ttlMs) =>
      run(async () => void (await commands.set(name(key), value, 'PX', wholeMs(ttlMs)))),
    add: (key, value, ttlMs) =>
      run(async () => (await commands.set(name(key), value, 'PX', wholeMs(ttlMs), 'NX')) === 'OK'),
    delete: (...keys) =>
      keys.length === 0 ? Promise.resolve() : run(async () => void (await commands.del(keys.map(name)))),
    increment: (key, amount, windowMs) =>
      run(async () => Number(await commands.eval(INCREMENT, 1, name(key), amount, wholeMs(windowMs)))),
    publish: (channel, message) => run(async () => void (await commands.publish(name(channel), message))),
    async subscribe(channel, listener) {
      const full = name(channel);
      const set = listeners.get(full) ?? new Set();
      listeners.set(full, set.add(listener));
      await notices.subscribe(full);
      return () => {
        set.delete(listener);
        if (set.size > 0 || listeners.get(full) !== set) return;
        listeners.delete(full);
        notices.unsubscribe(full).catch(() => {});
      };
    },
    ping: () => run(async () => void (await commands.ping())),
    async close() {
      commands.removeAllListeners('close');
      listeners.clear();
      notices.disconnect();
      // QUIT lets commands under way finish; a server that is away has none.
      await commands.quit().catch(() => commands.disconnect());
    },
  };
}

const wholeMs = (ms: number): number => Math.max(1, Math.ceil(ms));

/** Resolves when the connection is ready; says every 15 s that it waits. */
function connected(redis: Redis, url: string, log: Logger, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let saidAt = Number.NEGATIVE_INFINITY;
    const settle = (outcome: () => void) => {
      redis.off('error', onError);
      redis.off('ready', onReady);
      signal?.removeEventListener('abort', onAbort);
      // The driver reports every failed attempt; one without a listener would go to stderr. `watch` tells what matters.
      redis.on('error', () => {});
      outcome();
    };
    const onReady = () => settle(resolve);
    const onAbort = () => settle(() => reject(signal?.reason));
    const onError = (error: Error) => {
      if (/WRONGPASS|NOAUTH|NOPERM|invalid (username|password)/i.test(error.message)) {
        settle(() => reject(error));
      } else if (Date.now() - saidAt >= 15_000) {
        saidAt = Date.now();
        log.warn({ reason: error.message }, `waiting for Redis at ${addressOf(url)} …`);
      }
    };
    redis.on('error', onError);
    redis.on('ready', onReady);
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) return onAbort();
    // Rejects at the first failed attempt while the driver goes on trying: the events above decide.
    redis.connect().catch(() => {});
  });
}

function watch(redis: Redis, up: Gauge, log: Logger): void {
  let lost = false;
  up.set(1);
  redis.on('close', () => {
    up.set(0);
    if (!lost) log.warn('Redis connection lost');
    lost = true;
  });
  redis.on('ready', () => {
    up.set(1);
    if (lost) log.info('Redis connection restored');
    lost = false;
  });
}

/** `host:port` of a Redis URL, never its credentials. */
function addressOf(url: string): string {
  try {
    const { hostname, port } = new URL(url);
    return `${hostname || 'localhost'}:${port || '6379'}`;
  } catch {
    return 'the configured address';
  }
}

interface RedisCacheMetrics {
  readonly up: Gauge;
  readonly failures: Counter;
}

const known = new WeakMap<Registry, RedisCacheMetrics>();

function metricsOf(registry: Registry): RedisCacheMetrics {
  const existing = known.get(registry);
  if (existing) return existing;
  const metrics = {
    up: new Gauge({
      name: 'seentics_redis_up',
      help: '1 while the connection to Redis stands.',
      registers: [registry],
    }),
    failures: new Counter({
      name: 'seentics_redis_failures_total',
      help: 'Cache commands that failed.',
      registers: [registry],
    }),
  };
  known.set(registry, metrics);
  return metrics;
}
