import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import argon2 from 'argon2';
import type { Registry } from 'prom-client';
import { isBcrypt, mayBeBcrypted, verifyBcrypt } from './bcrypt.js';
import { createLimiter } from './limiter.js';

export const MIN_PASSWORD_LENGTH = 8;
export const MAX_PASSWORD_LENGTH = 256;

export interface PasswordsOptions {
  readonly registry: Registry;
  /** Computations at the same time; default 2, which leaves threads of the pool for files and names. */
  readonly concurrency?: number;
  /** Computations that may wait; default 64, about a second. */
  readonly maxWaiting?: number;
  /** How long a no takes at least, ms; default 250, more than any of the ways to one. */
  readonly refusalMs?: number;
}

export interface Passwords {
  /** @throws AppError `overloaded` */
  hash(password: string): Promise<string>;
  /**
   * Whether the password belongs to the hash. Without a hash (no such account) it says no. The time of a no does not tell which kind
   * of hash there was, if any.
   * @throws AppError `overloaded`
   */
  verify(hash: string | null, password: string): Promise<boolean>;
  /** Whether a hash was made another way than `hash` makes them. */
  isOutdated(hash: string): boolean;
}

// OWASP password storage cheat sheet: argon2id with 19 MiB, 2 passes, 1 lane; about 25 ms of a core.
const COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;

export async function createPasswords(options: PasswordsOptions): Promise<Passwords> {
  const limiter = createLimiter({
    concurrency: options.concurrency ?? 2,
    maxWaiting: options.maxWaiting ?? 64,
    registry: options.registry,
  });
  const nobody = await argon2.hash(randomBytes(16), COST);

  const refusalMs = options.refusalMs ?? 250;

  const compare = async (hash: string | null, password: string): Promise<boolean> => {
    if (hash !== null && isBcrypt(hash) && mayBeBcrypted(password)) return verifyBcrypt(hash, password);
    const known = hash?.startsWith('$argon2') ?? false;
    const same = await argon2.verify(known && hash !== null ? hash : nobody, password);
    return known && same;
  };

  return {
    hash: (password) => limiter.run(() => argon2.hash(password, COST)),
    async verify(hash, password) {
      const answerAt = performance.now() + refusalMs;
      if (await limiter.run(() => compare(hash, password))) return true;
      await pause(Math.max(0, answerAt - performance.now()));
      return false;
    },
    isOutdated: (hash) => !hash.startsWith('$argon2id$') || argon2.needsRehash(hash, COST),
  };
}
