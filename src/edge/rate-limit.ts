/**
 * Rate limits of contract 1.6: fixed windows of a minute, one bucket a kind of route, one counter an address or account. Requests are
 * counted in this process without asking anybody; counters that have become large are added to the shared ones a few times a second, and
 * a limit that the cluster as a whole has passed is then refused here too.
 */
import { Counter, Gauge } from 'prom-client';
import type { Cache } from '../storage/cache/cache.js';
import type { Telemetry } from '../telemetry.js';
import { addressGroup } from './address.js';
import type { RateBucket } from './route.js';

export type LimitedBucket = Exclude<RateBucket, 'none'>;

/** Requests a window. */
export type RateLimits = Readonly<Record<LimitedBucket, number>>;

export const DEFAULT_RATE_LIMITS: RateLimits = {
  ingest: 10_000,
  auth: 20,
  api: 200,
  admin: 100,
  internal: 2000,
  public: 60,
};

export interface RateLimiterOptions {
  readonly cache: Cache;
  readonly telemetry: Telemetry;
  /** Overrides of the defaults; 0 switches a bucket's limit off. */
  readonly limits?: Partial<RateLimits>;
  /** ms; default 60,000. */
  readonly windowMs?: number;
  /** ms between two exchanges with the shared counters; default 250. */
  readonly syncMs?: number;
  /** Most counters held; the oldest go first. Default 100,000. */
  readonly maxKeys?: number;
  /** Clock in ms, for tests. */
  readonly now?: () => number;
}

export interface RateRefusal {
  readonly limit: number;
  /** Until the window ends. */
  readonly retryAfterSeconds: number;
}

export interface RateLimiter {
  /**
   * Counts one request.
   * @param identity an address (IPv6 counts by /64) or a user id
   * @returns null when it may pass
   */
  take(bucket: LimitedBucket, identity: string): RateRefusal | null;
  close(): Promise<void>;
}

interface Count {
  readonly bucket: LimitedBucket;
  readonly identity: string;
  /** All requests of this process in the window. */
  local: number;
  /** The part of them that the shared counter has. */
  sent: number;
  /** What other processes have counted, as of the last exchange. */
  others: number;
  queued: boolean;
}

/** A counter is shared from this part of its limit on: below, it cannot matter unless more than 20 nodes see the same client. */
const SHARE_FROM = 0.05;
/** Counters of one exchange; the largest backlog is worked off over several. */
const MAX_PER_SYNC = 2000;

export function createRateLimiter(options: RateLimiterOptions): RateLimiter {
  return new SyncedRateLimiter(options);
}

class SyncedRateLimiter implements RateLimiter {
  readonly #limits: RateLimits;
  readonly #windowMs: number;
  readonly #maxKeys: number;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;
  readonly #counts: Record<LimitedBucket, Map<string, Count>> = {
    ingest: new Map(),
    auth: new Map(),
    api: new Map(),
    admin: new Map(),
    internal: new Map(),
    public: new Map(),
  };
  #window = -1;
  #windowEnd = 0;
  #dirty: Count[] = [];
  #syncing: Promise<void> = Promise.resolve();
  readonly #refused: Counter<'bucket'>;
  readonly #evicted: Counter;
  readonly #failures: Counter;

  constructor(private readonly options: RateLimiterOptions) {
    this.#limits = { ...DEFAULT_RATE_LIMITS, ...options.limits };
    this.#windowMs = options.windowMs ?? 60_000;
    this.#maxKeys = options.maxKeys ?? 100_000;
    this.#now = options.now ?? Date.now;
    const registers = [options.telemetry.registry];
    this.#refused = new Counter({
      name: 'seentics_rate_limit_refusals_total',
      help: 'Requests refused with 429',
      labelNames: ['bucket'],
      registers,
    });
    this.#evicted = new Counter({
      name: 'seentics_rate_limit_evictions_total',
      help: 'Counters dropped because there were too many',
      registers,
    });
    this.#failures = new Counter({
      name: 'seentics_rate_limit_sync_failures_total',
      help: 'Exchanges with the shared counters that failed; requests were let through on the local count',
      registers,
    });
    const counts = this.#counts;
    new Gauge({
      name: 'seentics_rate_limit_keys',
      help: 'Counters held in this process',
      registers,
      collect() {
        this.set(Object.values(counts).reduce((sum, map) => sum + map.size, 0));
      },
    });
    this.#timer = setInterval(() => this.#startSync(), options.syncMs ?? 250);
    this.#timer.unref();
  }

  take(bucket: LimitedBucket, identity: string): RateRefusal | null {
    const limit = this.#limits[bucket];
    if (limit === 0) return null;
    const now = this.#now();
    if (now >= this.#windowEnd || now < this.#windowEnd - this.#windowMs) this.#turn(now);
    const group = identity.includes(':') ? addressGroup(identity) : identity;
    const count = this.#counts[bucket].get(group) ?? this.#add(bucket, group);
    if (count.local + count.others >= limit) {
      this.#refused.inc({ bucket });
      return { limit, retryAfterSeconds: Math.max(1, Math.ceil((this.#windowEnd - now) / 1000)) };
    }
    count.local++;
    if (!count.queued && count.local >= limit * SHARE_FROM) {
      count.queued = true;
      this.#dirty.push(count);
    }
    return null;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#syncing;
  }

  #turn(now: number): void {
    this.#window = Math.floor(now / this.#windowMs);
    this.#windowEnd = (this.#window + 1) * this.#windowMs;
    for (const counts of Object.values(this.#counts)) counts.clear();
    this.#dirty = [];
  }

  #add(bucket: LimitedBucket, identity: string): Count {
    const counts = this.#counts[bucket];
    if (counts.size >= this.#maxKeys) {
      const oldest = counts.keys().next();
      if (!oldest.done) counts.delete(oldest.value);
      this.#evicted.inc();
    }
    const count: Count = { bucket, identity, local: 0, sent: 0, others: 0, queued: false };
    counts.set(identity, count);
    return count;
  }

  #startSync(): void {
    if (this.#dirty.length === 0) return;
    const window = this.#window;
    const batch = this.#dirty.splice(0, MAX_PER_SYNC);
    this.#syncing = this.#syncing.then(() => this.#sync(batch, window));
  }

  /** All additions of an exchange leave together, so a Redis client sends them as one pipeline. */
  async #sync(batch: readonly Count[], window: number): Promise<void> {
    const results = await Promise.allSettled(batch.map((count) => this.#share(count, window)));
    const failed = results.find((result) => result.status === 'rejected');
    if (failed === undefined) return;
    this.#failures.inc();
    this.options.telemetry.log.debug({ err: failed.reason }, 'shared rate counters are out of reach');
  }

  async #share(count: Count, window: number): Promise<void> {
    count.queued = false;
    const amount = count.local - count.sent;
    if (amount <= 0) return;
    count.sent += amount;
    const key = `rl:${count.bucket}:${count.identity}:${window}`;
    // What fails is not sent again: a cache that answers too late has counted it, and who is counted twice is refused for nothing.
    const total = await this.options.cache.increment(key, amount, this.#windowMs * 2);
    count.others = Math.max(count.others, total - count.sent);
  }
}
