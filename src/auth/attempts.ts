import { createHash } from 'node:crypto';
import { AppError } from '../errors.js';
import type { Cache } from '../storage/cache/cache.js';
import type { Logger } from '../telemetry.js';

export interface AttemptsOptions {
  readonly cache: Pick<Cache, 'increment' | 'delete'>;
  readonly log: Logger;
  /** Attempts of one subject before more are refused; default 10 in 5 minutes. */
  readonly max?: number | undefined;
}

/** Counts attempts to guess a password. */
export interface Attempts {
  /**
   * Counts an attempt before it is made, so that simultaneous ones count too.
   * @param subject who is tried, and by whom; only its hash is kept
   * @throws AppError `rate_limited`
   */
  count(subject: string): Promise<void>;
  /** To be called after a success. Never rejects. */
  clear(subject: string): Promise<void>;
}

const WINDOW_MS = 5 * 60_000;

export function createAttempts({ cache, log, max = 10 }: AttemptsOptions): Attempts {
  return {
    async count(subject) {
      let attempts: number;
      try {
        attempts = await cache.increment(keyOf(subject), 1, WINDOW_MS);
      } catch (error) {
        // A cache that is away must not lock everybody out; the cost of hashing still bounds guessing.
        log.warn({ err: error }, 'login attempts are not counted');
        return;
      }
      if (attempts > max) {
        throw new AppError('rate_limited', 'Too many failed sign-ins. Please try again in a few minutes.', {
          retryAfterSeconds: WINDOW_MS / 1000,
        });
      }
    },
    clear: (subject) => cache.delete(keyOf(subject)).catch(() => {}),
  };
}

/** Names neither the account nor the visitor to whoever reads the cache. */
const keyOf = (subject: string): string =>
  `auth:attempts:${createHash('sha256').update(subject).digest('base64url')}`;
