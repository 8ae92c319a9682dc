import { createHash, randomBytes } from 'node:crypto';
import { AppError } from '../errors.js';
import type { User, UserStore } from '../storage/metadata/metadata.js';
import type {
  FactorAttempt,
  SecondFactorState,
  SecondFactorStore,
} from '../storage/metadata/second-factors.js';
import type { Logger } from '../telemetry.js';
import type { Attempts } from './attempts.js';
import type { Authenticator } from './authenticator.js';
import type { Passwords } from './passwords.js';
import { createSealing } from './sealing.js';
import { invalidToken, type Tokens } from './tokens.js';
import { base32, keyUri, matchingStep } from './totp.js';

export interface SecondFactorOptions {
  readonly factors: SecondFactorStore;
  readonly users: Pick<UserStore, 'findById'>;
  readonly passwords: Passwords;
  readonly tokens: Pick<Tokens, 'sessionOf'>;
  readonly authenticator: Pick<Authenticator, 'sessionEnded'>;
  /** Of the password that begins and ends the factor. */
  readonly attempts: Attempts;
  /** Of the instance; what is kept of a factor is sealed with a key made from it. */
  readonly secret: string;
  readonly log: Logger;
  /** Clock in ms, for tests. */
  readonly now?: () => number;
}

/** The optional second factor of an account: codes of an authenticator app, and recovery codes for when it is lost. */
export interface SecondFactor {
  state(userId: string): Promise<SecondFactorState | null>;
  isEnabled(userId: string): Promise<boolean>;
  /**
   * Gives out a secret that counts once a code confirms it; an earlier unconfirmed one is void.
   * @param password of the account: a session that somebody took over must not lock its holder out for good
   * @returns the secret in base 32 and the address that apps read from a QR code
   * @throws AppError `invalid_credentials` (the password), `rate_limited`, `overloaded`, `conflict` when the factor is enabled
   */
  setup(userId: string, password: string): Promise<{ secret: string; uri: string }>;
  /**
   * All sessions of the account end but that of the caller.
   * @param accessToken of the caller
   * @returns recovery codes, which nobody can read again
   * @throws AppError `invalid_second_factor`, `rate_limited`, `conflict` (enabled already, or no secret was given out)
   */
  enable(userId: string, code: string, accessToken: string): Promise<readonly string[]>;
  /** @throws AppError `invalid_credentials` (the password), `invalid_second_factor`, `rate_limited`, `conflict` (not enabled) */
  disable(userId: string, password: string, code: string): Promise<void>;
  /**
   * Takes a code of the app or a recovery code, each once.
   * @throws AppError `invalid_second_factor`, `rate_limited`, `conflict` (not enabled)
   */
  verify(userId: string, code: string): Promise<void>;
}

const SECRET_BYTES = 20;
const RECOVERY_CODES = 10;
/** 80 bits: too many to search for behind an unsalted hash. */
const RECOVERY_BYTES = 10;
const ISSUER = 'Seentics';

export function createSecondFactor(options: SecondFactorOptions): SecondFactor {
  const { factors, users, passwords, tokens, authenticator, attempts, log, now = Date.now } = options;
  const sealing = createSealing(options.secret, 'second factor');

  const attempt = async (userId: string): Promise<FactorAttempt> => {
    const found = await factors.attempt(userId);
    if (found === null) throw notEnabled();
    if (!('lockedSeconds' in found)) return found;
    throw new AppError('rate_limited', 'Too many wrong codes. Please try again later.', {
      retryAfterSeconds: found.lockedSeconds,
    });
  };

  const provePassword = async (userId: string, password: string): Promise<User> => {
    const subject = `second factor\n${userId}`;
    await attempts.count(subject);
    const user = await users.findById(userId);
    if (!user) throw invalidToken('access');
    if (!(await passwords.verify(user.passwordHash, password))) {
      throw new AppError('invalid_credentials', 'current password is incorrect');
    }
    await attempts.clear(subject);
    return user;
  };

  const stepOf = (userId: string, { secret, lastStep }: FactorAttempt, code: string): number | null => {
    const opened = sealing.open(secret, userId);
    if (opened !== null) return matchingStep(opened, code, now(), lastStep);
    log.error({ userId }, 'the second factor of an account cannot be read: was JWT_SECRET changed?');
    return null;
  };

  const verify = async (userId: string, given: string): Promise<void> => {
    const code = given.replace(/[\s-]/g, '').toUpperCase();
    const found = await attempt(userId);
    if (!found.isEnabled) throw notEnabled();
    const step = stepOf(userId, found, code);
    const isTaken =
      step === null
        ? await factors.useRecoveryCode(userId, hashOfCode(code))
        : await factors.useStep(userId, step);
    if (!isTaken) throw wrongCode();
  };

  const isEnabled = async (userId: string): Promise<boolean> => {
    const state = await factors.find(userId);
    return state !== null && state.enabledAt !== null;
  };

  return {
    verify,
    isEnabled,
    state: (userId) => factors.find(userId),

    async setup(userId, password) {
      const { email } = await provePassword(userId, password);
      const secret = randomBytes(SECRET_BYTES);
      if (!(await factors.begin(userId, sealing.seal(secret, userId)))) {
        throw new AppError('conflict', 'The second factor is enabled; disable it first');
      }
      return { secret: base32(secret), uri: keyUri(secret, ISSUER, email) };
    },

    async enable(userId, code, accessToken) {
      // Asked first: the attempts of a factor that is enabled are for signing in.
      if (await isEnabled(userId)) throw new AppError('conflict', 'The second factor is enabled already');
      const found = await attempt(userId);
      const step = stepOf(userId, found, code.replace(/[\s-]/g, ''));
      if (step === null) throw wrongCode();
      const codes = Array.from({ length: RECOVERY_CODES }, () => base32(randomBytes(RECOVERY_BYTES)));
      const ended = await factors.enable(userId, {
        ...{ secret: found.secret, step, recoveryHashes: codes.map(hashOfCode) },
        keepSession: await tokens.sessionOf('access', accessToken),
      });
      if (ended === null) throw new AppError('conflict', 'The second factor was set up anew meanwhile');
      for (const session of ended) await authenticator.sessionEnded(session);
      log.info({ userId, endedSessions: ended.length }, 'second factor enabled');
      return codes.map((text) => text.replace(/(.{4})(?=.)/g, '$1-').toLowerCase());
    },

    async disable(userId, password, code) {
      await provePassword(userId, password);
      await verify(userId, code);
      await factors.remove(userId);
      log.info({ userId }, 'second factor disabled');
    },
  };
}

const hashOfCode = (code: string): Uint8Array => createHash('sha256').update(code).digest();

const notEnabled = () => new AppError('conflict', 'The account has no second factor');

const wrongCode = () => new AppError('invalid_second_factor', 'The code is wrong or was used before');
