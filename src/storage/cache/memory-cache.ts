import { LRUCache } from 'lru-cache';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Telemetry } from '../../telemetry.js';
import type { Cache } from './cache.js';

export interface MemoryCacheOptions {
  readonly telemetry: Telemetry;
  /** Keys that may live at the same time; beyond, those unused for longest go. Default 100,000. */
  readonly maxEntries?: number;
  /** Characters of keys and values together; default 64 Mi. */
  readonly maxChars?: number;
}

/** The cache of a single process: bounded, lost at its end. */
export function createMemoryCache(options: MemoryCacheOptions): Cache {
  const { log } = options.telemetry;
  const metrics = metricsOf(options.telemetry.registry);
  const entries = new LRUCache<string, string>({
    max: options.maxEntries ?? 100_000,
    maxSize: options.maxChars ?? 64 * 1024 * 1024,
    sizeCalculation: (value, key) => value.length + key.length + 1,
    dispose: (_value, _key, reason) => {
      if (reason === 'evict') metrics.evictions.inc();
    },
  });
  metrics.entries.set(0);
  const listeners = new Map<string, Set<(message: string) => void>>();
  const put = (key: string, value: string, ttlMs: number) => {
    entries.set(key, value, { ttl: Math.max(1, Math.ceil(ttlMs)) });
    metrics.entries.set(entries.size);
  };

  return {
    kind: 'memory',
    async get(key) {
      return entries.get(key) ?? null;
    },
    async set(key, value, ttlMs) {
      put(key, value, ttlMs);
    },
    async add(key, value, ttlMs) {
      // `has` does not count an expired entry.
      if (entries.has(key)) return false;
      put(key, value, ttlMs);
      return true;
    },
    async delete(...keys) {
      for (const key of keys) entries.delete(key);
      metrics.entries.set(entries.size);
    },
    async increment(key, amount, windowMs) {
      const known = entries.get(key);
      const left = known === undefined ? windowMs : entries.getRemainingTTL(key);
      const value = (known === undefined ? 0 : Number(known)) + amount;
      put(key, String(value), left);
      return value;
    },
    async publish(channel, message) {
      // Later, as over a network: a publisher never runs its listeners on its own stack.
      setImmediate(() => {
        for (const listener of listeners.get(channel) ?? []) {
          try {
            listener(message);
          } catch (error) {
            log.error({ channel, err: error }, 'a listener of a notice failed');
          }
        }
      });
    },
    async subscribe(channel, listener) {
      const set = listeners.get(channel) ?? new Set();
      listeners.set(channel, set.add(listener));
      return () => {
        set.delete(listener);
        if (set.size === 0 && listeners.get(channel) === set) listeners.delete(channel);
      };
    },
    async ping() {},
    async close() {
      entries.clear();
      listeners.clear();
    },
  };
}

interface MemoryCacheMetrics {
  readonly entries: Gauge;
  readonly evictions: Counter;
}

const known = new WeakMap<Registry, MemoryCacheMetrics>();

function metricsOf(registry: Registry): MemoryCacheMetrics {
  const existing = known.get(registry);
  if (existing) return existing;
  const metrics = {
    entries: new Gauge({
      name: 'seentics_memory_cache_entries',
      help: 'Keys in the in-memory cache.',
      registers: [registry],
    }),
    evictions: new Counter({
      name: 'seentics_memory_cache_evictions_total',
      help: 'Keys that the in-memory cache dropped before their time because it was full.',
      registers: [registry],
    }),
  };
  known.set(registry, metrics);
  return metrics;
}
