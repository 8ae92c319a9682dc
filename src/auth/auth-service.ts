import { randomUUID } from 'node:crypto';
import type { AuditLog } from '../audit/audit-log.js';
import { networkOf } from '../audit/network.js';
import { AppError } from '../errors.js';
import type { Client } from '../net/client.js';
import type { MetadataStore, User } from '../storage/metadata/metadata.js';
import type { Logger } from '../telemetry.js';
import type { Attempts } from './attempts.js';
import type { Authenticator } from './authenticator.js';
import { CHALLENGE_SECONDS, type Challenges, staleChallenge } from './challenges.js';
import { checkedEmail, checkedName, checkPassword } from './credentials.js';
import type { CrowdAttempts } from './crowd-attempts.js';
import type { Passwords } from './passwords.js';
import type { SecondFactor } from './second-factor.js';
import { hashOf, invalidToken, type TokenPair, type Tokens } from './tokens.js';

export interface AuthServiceOptions {
  readonly metadata: Pick<MetadataStore, 'users' | 'sessions'>;
  /** Of one account by one client. */
  readonly attempts: Attempts;
  /** Of one account by all clients. */
  readonly attemptsInAll: CrowdAttempts;
  readonly passwords: Passwords;
  readonly tokens: Tokens;
  readonly secondFactor: Pick<SecondFactor, 'isEnabled' | 'verify'>;
  readonly challenges: Challenges;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly authenticator: Pick<Authenticator, 'sessionEnded'>;
  readonly log: Logger;
  /** Whether accounts may register after the first one. */
  readonly allowRegistration: boolean;
  /** Accounts are kept by another program: not even the first one registers, unless `allowRegistration`. */
  readonly accountsElsewhere?: boolean;
  /**
   * How long a refresh token that was just used still works, ms; default 10,000. Two tabs of a dashboard share one token and may
   * refresh at the same moment, and an answer may get lost on its way. Later a second use means that the token was copied.
   */
  readonly refreshGraceMs?: number;
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
  register(account: Credentials & { readonly name: string }, address: string): Promise<SignedIn>;
  /**
   * @param code of the second factor, where the account has one and its holder gave it at once
   * @param client for counting attempts
   * @throws AppError `invalid_credentials`, `two_factor_required` (its details hold a challenge), `invalid_second_factor`, `rate_limited`,
   * `overloaded`
   */
  login(credentials: Credentials & { readonly code?: string | undefined }, client: Client): Promise<SignedIn>;
  /**
   * The second half of a login that answered `two_factor_required`.
   * @throws AppError `invalid_credentials` (the challenge is not ours or too old), `invalid_second_factor`, `rate_limited`
   */
  loginSecondFactor(challenge: string, code: string, address: string): Promise<SignedIn>;
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

export function createAuthService(options: AuthServiceOptions): AuthService {
  const {
    attempts,
    attemptsInAll,
    passwords,
    tokens,
    authenticator,
    log,
    allowRegistration,
    secondFactor,
    challenges,
    audit,
  } = options;
  const { users, sessions } = options.metadata;
  const refreshGraceMs = options.refreshGraceMs ?? 10_000;

  const openSession = async (user: User): Promise<SignedIn> => {
    const id = randomUUID();
    const { token, hash, expiresAt } = await tokens.issueRefresh(user.id, id);
    const { passwordVersion } = user;
    const session = { id, userId: user.id, passwordVersion, tokenHash: hash, expiresAt };
    // Changed between the proof and here: whoever knows the old password only stays outside.
    if (!(await sessions.open(session, MAX_SESSIONS))) throw wrongCredentials();
    return { user, tokens: { accessToken: await tokens.issueAccess(user, id), refreshToken: token } };
  };

  const upgradeHash = async (user: User, password: string) => {
    if (user.passwordHash === null || !passwords.isOutdated(user.passwordHash)) return;
    try {
      await users.replacePasswordHash(user.id, user.passwordHash, await passwords.hash(password));
    } catch (error) {
      log.warn({ err: error }, 'a password hash was not upgraded; the next login tries again');
    }
  };

  const secondFactorRequired = async ({ id, passwordVersion }: User): Promise<AppError> => {
    const challenge = await challenges.issue({ userId: id, passwordVersion });
    return new AppError('two_factor_required', 'The account asks for a code of its authenticator app', {
      details: { challenge, expires_in: CHALLENGE_SECONDS },
    });
  };

  const note = (action: string, outcome: 'done' | 'failed', { id }: User, address: string): void => {
    audit.record({ action, outcome, userId: id, keyId: null, websiteId: null, targetId: null, address });
  };

  const proveSecondFactor = async (user: User, code: string, address: string): Promise<void> => {
    try {
      await secondFactor.verify(user.id, code);
    } catch (error) {
      note('sign in', 'failed', user, address);
      throw error;
    }
  };

  const signIn = async (user: User, address: string): Promise<SignedIn> => {
    const signedIn = await openSession(user);
    note('sign in', 'done', user, address);
    return signedIn;
  };

  const setupStatus = async () => {
    const setupComplete = options.accountsElsewhere === true || (await users.exists());
    return { setupComplete, registrationOpen: allowRegistration || !setupComplete };
  };

  return {
    async register({ name, email, password }, address) {
      const checked = checkedEmail(email);
      const trimmedName = checkedName(name);
      checkPassword(password);
      // Before the costly hash; decided for good under a lock by the store.
      if (!(await setupStatus()).registrationOpen) throw registrationClosed();
      const passwordHash = await passwords.hash(password);
      const account = { id: randomUUID(), name: trimmedName, email: checked, passwordHash };
      const user = await users.register(account, allowRegistration);
      if (user === 'closed') throw registrationClosed();
      if (user === 'taken') throw new AppError('email_taken', 'user with this email already exists');
      log.info({ userId: user.id, role: user.role }, 'account registered');
      note('register', 'done', user, address);
      return openSession(user);
    },

    async login({ email, password, code }, { address, group }) {
      const account = email.trim().toLowerCase();
      const network = networkOf(address);
      const subject = `${account}\n${group}`;
      await attempts.count(subject);
      await attemptsInAll.check(account, network);
      const user = await users.findByEmail(email.trim());
      if (!(await passwords.verify(user?.passwordHash ?? null, password)) || !user) {
        await attemptsInAll.failed(account, network);
        if (user) note('sign in', 'failed', user, address);
        throw wrongCredentials();
      }
      await Promise.all([
        attempts.clear(subject),
        attemptsInAll.succeeded(account, network),
        upgradeHash(user, password),
      ]);
      if (await secondFactor.isEnabled(user.id)) {
        if (code === undefined || code === '') throw await secondFactorRequired(user);
        await proveSecondFactor(user, code, address);
      }
      return signIn(user, address);
    },

    async loginSecondFactor(challenge, code, address) {
      const { userId, passwordVersion } = await challenges.read(challenge);
      const user = await users.findById(userId);
      if (user?.passwordVersion !== passwordVersion) throw staleChallenge();
      if (await secondFactor.isEnabled(userId)) await proveSecondFactor(user, code, address);
      return signIn(user, address);
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

const wrongCredentials = () => new AppError('invalid_credentials', 'invalid email or password');

const registrationClosed = () =>
  new AppError('registration_closed', 'Registration is closed on this instance');
