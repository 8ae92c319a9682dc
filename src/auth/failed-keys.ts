import { LRUCache } from 'lru-cache';
import { Counter, type Registry } from 'prom-client';
import { AppError } from '../errors.js';

export interface FailedKeysOptions {
  readonly registry: Registry;
  /** Unknown keys of one client in a window before more are not even looked up. Default 30. */
  readonly max?: number | undefined;
  /** ms; default 60,000. */
  readonly windowMs?: number;
}

/** Bounds the look-ups of keys that nobody has: each costs a query, and may come from anybody. */
export interface FailedKeys {
  /**
   * Counts a look-up before it is made, so that simultaneous ones count too.
   * @param client group of addresses
   * @returns what takes the count back, for a key that was found
   * @throws AppError `rate_limited`
   */
  count(client: string): () => void;
}

/** Most clients remembered; the ones that came longest ago go first. */
const MAX_CLIENTS = 50_000;

export function createFailedKeys({ registry, max = 30, windowMs = 60_000 }: FailedKeysOptions): FailedKeys {
  const clients = new LRUCache<string, { failures: number; readonly since: number }>({ max: MAX_CLIENTS });
  const refused = new Counter({
    name: 'seentics_api_key_lookups_refused_total',
    help: 'API keys that were not looked up, because their client had sent too many unknown ones',
    registers: [registry],
  });
  return {
    count(client) {
      const now = performance.now();
      let entry = clients.get(client);
      if (entry === undefined || now - entry.since >= windowMs) {
        entry = { failures: 0, since: now };
        clients.set(client, entry);
      }
      if (entry.failures >= max) {
        refused.inc();
        throw new AppError('rate_limited', 'Too many unknown API keys. Please try again later.', {
          retryAfterSeconds: Math.max(1, Math.ceil((entry.since + windowMs - now) / 1000)),
        });
      }
      const counted = entry;
      counted.failures++;
      return () => {
        counted.failures--;
      };
    },
  };
}
