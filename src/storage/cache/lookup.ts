import { LRUCache } from 'lru-cache';
import { Counter, Gauge, type Registry } from 'prom-client';
import { AppError } from '../../errors.js';
import type { Telemetry } from '../../telemetry.js';

export interface LookupOptions<V> {
  /** Metric label. */
  readonly name: string;
  readonly maxEntries: number;
  /** How long a value may be used without asking again. */
  readonly ttlMs: number;
  readonly load: (key: string) => Promise<V>;
  /** Whether a value is worth keeping; default: every one is. */
  readonly isKept?: (value: V) => boolean;
  readonly telemetry: Telemetry;
  /** Keys that may be loading at the same time; default 1,000. */
  readonly maxLoading?: number;
  /**
   * How much longer a value serves on while the store cannot be asked; default 0. Where it may, it is also read again behind from half of
   * `ttlMs` on, so that those who come again and again never wait for a slow store.
   */
  readonly staleMs?: number;
  /** Monotonic clock in ms, for tests. */
  readonly now?: () => number;
}

interface Entry<V> {
  readonly value: V;
  /** From then on it is read again behind, while it serves on. */
  refreshAt: number;
  freshUntil: number;
}

/** Values read through from a store and kept in this process for a short time. */
export interface Lookup<V> {
  /** @throws what `load` throws (not kept), or AppError `overloaded` when too many keys are being loaded */
  get(key: string): Promise<V>;
  /** What is kept of a key, without asking the store; undefined: nothing. */
  peek(key: string): V | undefined;
  /** Forgets a key at once, also when it is just being loaded. */
  drop(key: string): void;
}

/** Creates a bounded read-through cache; simultaneous callers of one key share one load. */
export function createLookup<V>(options: LookupOptions<V>): Lookup<V> {
  const { load, name, ttlMs, maxLoading = 1_000, staleMs = 0, isKept = () => true } = options;
  const now = options.now ?? (() => performance.now());
  const entries = new LRUCache<string, Entry<V>>({ max: options.maxEntries, ttl: ttlMs + staleMs });
  const loading = new Map<string, Promise<V>>();
  const loads = observe(options.telemetry.registry, name, () => entries.size);

  const entryOf = (value: V): Entry<V> => {
    // Without a time to be stale an entry is simply gone when it is too old.
    if (staleMs === 0) return { value, refreshAt: Number.POSITIVE_INFINITY, freshUntil: 0 };
    return { value, refreshAt: now() + ttlMs / 2, freshUntil: now() + ttlMs };
  };

  const start = (key: string): Promise<V> => {
    if (loading.size >= maxLoading) {
      throw new AppError('overloaded', 'Too many look-ups at once', { retryAfterSeconds: 1 });
    }
    loads.inc();
    const promise = load(key)
      .then((value) => {
        // Dropped meanwhile: what was read may be older than the notice.
        if (loading.get(key) === promise && isKept(value)) entries.set(key, entryOf(value));
        return value;
      })
      .finally(() => {
        if (loading.get(key) === promise) loading.delete(key);
      });
    loading.set(key, promise);
    return promise;
  };

  const loaded = async (key: string): Promise<V> => loading.get(key) ?? start(key);

  const renewed = async (key: string, entry: Entry<V>): Promise<V> => {
    if (now() < entry.freshUntil) {
      entry.refreshAt = entry.freshUntil;
      loaded(key).catch(() => {});
      return entry.value;
    }
    try {
      return await loaded(key);
    } catch (error) {
      // Dropped meanwhile: it is known to be another one now.
      if (entries.get(key) !== entry) throw error;
      Object.assign(entry, entryOf(entry.value));
      return entry.value;
    }
  };

  return {
    async get(key) {
      const entry = entries.get(key);
      if (entry === undefined) return loaded(key);
      return now() < entry.refreshAt ? entry.value : renewed(key, entry);
    },
    peek: (key) => entries.get(key)?.value,
    drop(key) {
      loading.delete(key);
      entries.delete(key);
    },
  };
}

interface LookupMetrics {
  readonly sizes: Map<string, () => number>;
  readonly loads: Counter<'cache'>;
}

const known = new WeakMap<Registry, LookupMetrics>();

/** Registers a cache's size and returns the counter of its loads. */
export function observe(
  registry: Registry,
  name: string,
  size: () => number,
): { inc(amount?: number): void } {
  const metrics = known.get(registry) ?? createMetrics(registry);
  metrics.sizes.set(name, size);
  const loads = metrics.loads.labels({ cache: name });
  return { inc: (amount) => loads.inc(amount) };
}

function createMetrics(registry: Registry): LookupMetrics {
  const sizes = new Map<string, () => number>();
  new Gauge({
    name: 'seentics_lookup_entries',
    help: 'Entries of the in-process read-through caches.',
    labelNames: ['cache'],
    registers: [registry],
    collect() {
      for (const [cache, size] of sizes) this.set({ cache }, size());
    },
  });
  const loads = new Counter({
    name: 'seentics_lookup_loads_total',
    help: 'Keys that a read-through cache had to ask its store for.',
    labelNames: ['cache'],
    registers: [registry],
  });
  const metrics = { sizes, loads };
  known.set(registry, metrics);
  return metrics;
}
