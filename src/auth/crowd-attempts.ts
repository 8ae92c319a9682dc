import { createHash } from 'node:crypto';
import { AppError } from '../errors.js';
import type { Cache } from '../storage/cache/cache.js';
import type { Logger } from '../telemetry.js';

export interface CrowdAttemptsOptions {
  readonly cache: Pick<Cache, 'get' | 'increment' | 'delete'>;
  readonly log: Logger;
  /** Wrong guesses of all together before networks that guess wrong are refused; default 100 in 5 minutes. */
  readonly max?: number | undefined;
}

/**
 * Counts wrong guesses of one password from anywhere, so that many addresses together may not guess without end either. Beyond the bound
 * only networks that guess wrong themselves are refused: whoever knows the password is not kept out by others.
 */
export interface CrowdAttempts {
  /**
   * @param subject what is guessed at; only its hash is kept
   * @param network that guesses
   * @throws AppError `rate_limited`
   */
  check(subject: string, network: string): Promise<void>;
  /** To be called after a wrong guess. Never rejects. */
  failed(subject: string, network: string): Promise<void>;
  /** To be called after a right one. Never rejects. */
  succeeded(subject: string, network: string): Promise<void>;
}

const WINDOW_MS = 5 * 60_000;
/** Slips of a network that are nothing, whatever others do. */
const SLIPS = 3;

export function createCrowdAttempts({ cache, log, max = 100 }: CrowdAttemptsOptions): CrowdAttempts {
  /** A cache that is away must not lock everybody out. */
  const orNothing = <T>(work: Promise<T>): Promise<T | null> =>
    work.catch((err: unknown) => {
      log.warn({ err }, 'wrong passwords are not counted');
      return null;
    });
  const reaches = async (key: string, bound: number): Promise<boolean> =>
    Number(await orNothing(cache.get(key))) >= bound;

  return {
    async check(subject, network) {
      if (!(await reaches(keyOf(subject), max))) return;
      if (!(await reaches(keyOf(subject, network), SLIPS))) return;
      throw new AppError('rate_limited', 'Too many wrong passwords. Please try again in a few minutes.', {
        retryAfterSeconds: WINDOW_MS / 1000,
      });
    },
    async failed(subject, network) {
      const keys = [keyOf(subject), keyOf(subject, network)];
      await Promise.all(keys.map((key) => orNothing(cache.increment(key, 1, WINDOW_MS))));
    },
    async succeeded(subject, network) {
      await orNothing(cache.delete(keyOf(subject, network)));
    },
  };
}

/** Names neither what is guessed at nor the network to whoever reads the cache. */
const keyOf = (...parts: string[]): string =>
  `auth:wrong:${createHash('sha256').update(parts.join('\n\n')).digest('base64url')}`;
