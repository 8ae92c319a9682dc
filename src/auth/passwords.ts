import { randomBytes } from 'node:crypto';
import argon2 from 'argon2';
import type { Registry } from 'prom-client';
import { isBcrypt, verifyBcrypt } from './bcrypt.js';
import { createLimiter } from './limiter.js';

export const MIN_PASSWORD_LENGTH = 8;
export const MAX_PASSWORD_LENGTH = 256;

export interface PasswordsOptions {
  readonly registry: Registry;
  /** Computations at the same time; default 2, which leaves threads of the pool for files and names. */
  readonly concurrency?: number;
  /** Computations that may wait; default 64, about a second. */
  readonly maxWaiting?: number;
}

export interface Passwords {
  /** @throws AppError `overloaded` */
  hash(password: string): Promise<string>;
  /**
   * Whether the password belongs to the hash. Without a hash (no such account) it takes as long and says no.
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

  return {
    hash: (password) => limiter.run(() => argon2.hash(password, COST)),
    verify: (hash, password) =>
      limiter.run(async () => {
        if (hash !== null && isBcrypt(hash)) return verifyBcrypt(hash, password);
        const known = hash?.startsWith('$argon2') ?? false;
        const same = await argon2.verify(known && hash !== null ? hash : nobody, password);
        return known && same;
      }),
    isOutdated: (hash) => !hash.startsWith('$argon2id$') || argon2.needsRehash(hash, COST),
  };
}
