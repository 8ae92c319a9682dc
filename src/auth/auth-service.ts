import { createHash, randomUUID } from 'node:crypto';
import { AppError } from '../errors.js';
import type { Cache } from '../storage/cache/cache.js';
import type { MetadataStore, User } from '../storage/metadata/metadata.js';
import type { Logger } from '../telemetry.js';
import type { Authenticator } from './authenticator.js';
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH, type Passwords } from './passwords.js';
import { hashOf, invalidToken, type TokenPair, type Tokens } from './tokens.js';

export interface AuthServiceOptions {
  readonly metadata: Pick<MetadataStore, 'users' | 'sessions'>;
  readonly cache: Pick<Cache, 'increment' | 'delete'>;
  readonly passwords: Passwords;
  readonly tokens: Tokens;
  readonly authenticator: Pick<Authenticator, 'sessionEnded'>;
  readonly log: Logger;
  /** Whether accounts may register after the first one. */
  readonly allowRegistration: boolean;
  /**
   * How long a refresh token that was just used still works, ms; default 10,000. Two tabs of a dashboard share one token and may
   * refresh at the same moment, and an answer may get lost on its way. Later a second use means that the token was copied.
   */
  readonly refreshGraceMs?: number;
  /** Failed logins of one account from one address before more are refused; default 10 in 5 minutes. */
  readonly maxAttempts?: number;
}

export interface SignedIn {
  readonly user: User;
  readonly tokens: TokenPair;
}

export interface Credentials {
  readonly email: string;
  readonly password: string;
}

export interface AuthService {
  /** @throws AppError `registration_closed`, `email_taken`, `invalid_parameter`, `overloaded` */
  register(account: Credentials & { readonly name: string }): Promise<SignedIn>;
  /**
   * @param address of the client, for counting attempts
   * @throws AppError `invalid_credentials`, `rate_limited`, `overloaded`
   */
  login(credentials: Credentials, address: string): Promise<SignedIn>;
  /**
   * Exchanges a refresh token, once. One that comes again after the grace was copied: its whole session ends.
   * @throws AppError `invalid_token`
   */
  refresh(refreshToken: string): Promise<SignedIn>;
  /** Ends the session of whichever token is ours, expired or not; unknown ones are nothing to end. */
  logout(tokens: { accessToken: string; refreshToken: string }): Promise<void>;
  /** @throws AppError `invalid_token` when the account is gone */
  account(userId: string): Promise<User>;
  setupStatus(): Promise<{ setupComplete: boolean; registrationOpen: boolean }>;
}

/** Sessions an account may have at the same time; the oldest give way. */
const MAX_SESSIONS = 50;
const ATTEMPT_WINDOW_MS = 5 * 60_000;

export function createAuthService(options: AuthServiceOptions): AuthService {
  const { cache, passwords, tokens, authenticator, log, allowRegistration } = options;
  const { users, sessions } = options.metadata;
  const maxAttempts = options.maxAttempts ?? 10;
  const refreshGraceMs = options.refreshGraceMs ?? 10_000;

  const openSession = async (user: User): Promise<SignedIn> => {
    const id = randomUUID();
    const { token, hash, expiresAt } = await tokens.issueRefresh(user.id, id);
    await sessions.open({ id, userId: user.id, tokenHash: hash, expiresAt }, MAX_SESSIONS);
    return { user, tokens: { accessToken: await tokens.issueAccess(user, id), refreshToken: token } };
  };

  /** Counts an attempt before it is made, so that simultaneous ones count too. */
  const countAttempt = async (key: string) => {
    let attempts: number;
    try {
      attempts = await cache.increment(key, 1, ATTEMPT_WINDOW_MS);
    } catch (error) {
      // A cache that is away must not lock everybody out; the cost of hashing still bounds guessing.
      log.warn({ err: error }, 'login attempts are not counted');
      return;
    }
    if (attempts > maxAttempts) {
      throw new AppError('rate_limited', 'Too many failed sign-ins. Please try again in a few minutes.', {
        retryAfterSeconds: ATTEMPT_WINDOW_MS / 1000,
      });
    }
  };

  const upgradeHash = async (user: User, password: string) => {
    if (user.passwordHash === null || !passwords.isOutdated(user.passwordHash)) return;
    try {
      await users.replacePasswordHash(user.id, user.passwordHash, await passwords.hash(password));
    } catch (error) {
      log.warn({ err: error }, 'a password hash was not upgraded; the next login tries again');
    }
  };

  const setupStatus = async () => {
    const setupComplete = await users.exists();
    return { setupComplete, registrationOpen: allowRegistration || !setupComplete };
  };

  return {
    async register({ name, email, password }) {
      const address = checkedEmail(email);
      const trimmedName = name.trim();
      if (trimmedName === '') throw new AppError('invalid_parameter', 'name must not be empty');
      checkPassword(password);
      // Before the costly hash; decided for good under a lock by the store.
      if (!(await setupStatus()).registrationOpen) throw registrationClosed();
      const passwordHash = await passwords.hash(password);
      const account = { id: randomUUID(), name: trimmedName, email: address, passwordHash };
      const user = await users.register(account, allowRegistration);
      if (user === 'closed') throw registrationClosed();
      if (user === 'taken') throw new AppError('email_taken', 'user with this email already exists');
      log.info({ userId: user.id, role: user.role }, 'account registered');
      return openSession(user);
    },

    async login({ email, password }, address) {
      const attempts = attemptsKey(email, address);
      await countAttempt(attempts);
      const user = await users.findByEmail(email.trim());
      if (!(await passwords.verify(user?.passwordHash ?? null, password)) || !user) {
        throw new AppError('invalid_credentials', 'invalid email or password');
      }
      await Promise.all([cache.delete(attempts).catch(() => {}), upgradeHash(user, password)]);
      return openSession(user);
    },

    async refresh(refreshToken) {
      const { userId, sessionId } = await tokens.read('refresh', refreshToken);
      const next = await tokens.issueRefresh(userId, sessionId);
      const user = await sessions.rotate(hashOf(refreshToken), next.hash, next.expiresAt, refreshGraceMs);
      if (!user) {
        const revoked = await sessions.revokeReused(hashOf(refreshToken));
        if (revoked !== null) {
          log.warn({ userId, sessionId: revoked }, 'a refresh token was used twice; its session was ended');
          await authenticator.sessionEnded(revoked);
        }
        throw invalidToken('refresh');
      }
      return {
        user,
        tokens: { accessToken: await tokens.issueAccess(user, sessionId), refreshToken: next.token },
      };
    },

    async logout({ accessToken, refreshToken }) {
      const ended = await Promise.all([
        accessToken === '' ? null : tokens.sessionOf('access', accessToken),
        refreshToken === '' ? null : tokens.sessionOf('refresh', refreshToken),
      ]);
      for (const sessionId of new Set(ended)) {
        if (sessionId === null) continue;
        await sessions.revoke(sessionId, 'logout');
        await authenticator.sessionEnded(sessionId);
      }
    },

    async account(userId) {
      const user = await users.findById(userId);
      if (!user) throw invalidToken('access');
      return user;
    },

    setupStatus,
  };
}

// The check of a careful form, not of RFC 5322.
const EMAIL = /^[^\s\p{Cc}@"(),:;<>[\\\]]{1,64}@[^\s\p{Cc}@"(),:;<>[\\\]]+\.[^\s\p{Cc}@".(),:;<>[\\\]]+$/u;

function checkedEmail(email: string): string {
  const trimmed = email.trim();
  if (trimmed.length > 254 || !EMAIL.test(trimmed)) {
    throw new AppError('invalid_parameter', 'email must be an e-mail address');
  }
  return trimmed;
}

function checkPassword(password: string): void {
  if (password.length < MIN_PASSWORD_LENGTH || password.length > MAX_PASSWORD_LENGTH) {
    throw new AppError(
      'invalid_parameter',
      `password must have ${MIN_PASSWORD_LENGTH} to ${MAX_PASSWORD_LENGTH} characters`,
    );
  }
}

const registrationClosed = () =>
  new AppError('registration_closed', 'Registration is closed on this instance');

/** Names neither the account nor the visitor to whoever reads the cache. */
function attemptsKey(email: string, address: string): string {
  const identity = `${email.trim().toLowerCase()}\n${address}`;
  return `auth:attempts:${createHash('sha256').update(identity).digest('base64url')}`;
}
