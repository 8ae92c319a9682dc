import type { AuditLog } from '../audit/audit-log.js';
import { AppError } from '../errors.js';
import type { MetadataStore, User } from '../storage/metadata/metadata.js';
import type { Logger } from '../telemetry.js';
import type { AddressNotice } from './address-notice.js';
import type { Attempts } from './attempts.js';
import type { Authenticator } from './authenticator.js';
import { checkedEmail, checkedName, checkPassword } from './credentials.js';
import { forgetAccess } from './ended-access.js';
import type { Passwords } from './passwords.js';
import { invalidToken, type Tokens } from './tokens.js';

export interface ProfileServiceOptions {
  readonly metadata: Pick<MetadataStore, 'users' | 'sessions'>;
  readonly passwords: Passwords;
  readonly tokens: Pick<Tokens, 'sessionOf'>;
  readonly attempts: Attempts;
  readonly authenticator: Pick<Authenticator, 'sessionEnded' | 'keyEnded'>;
  readonly audit: Pick<AuditLog, 'record'>;
  readonly addressMoved: AddressNotice;
  readonly log: Logger;
}

export interface PasswordChange {
  readonly currentPassword: string;
  readonly newPassword: string;
  /** Whether the account's API keys end, too. */
  readonly revokeApiKeys: boolean;
}

/** Who changes the own password. */
export interface PasswordChanger {
  readonly accessToken: string;
  /** Of the client, for the audit log. */
  readonly address: string;
}

/** What an account may change of itself. */
export interface ProfileService {
  /**
   * A former address is told that there is another one.
   * @throws AppError `invalid_parameter`, `email_taken`, `rate_limited` (of changed addresses), `invalid_token` when the account is gone
   */
  update(userId: string, profile: { readonly name: string; readonly email: string }): Promise<User>;
  /**
   * All sessions of the account end but that of the caller; API keys only if wanted.
   * @throws AppError `invalid_credentials` (the current password is wrong), `invalid_parameter`, `rate_limited`, `overloaded`,
   * `conflict` (changed by somebody else meanwhile)
   */
  changePassword(userId: string, change: PasswordChange, caller: PasswordChanger): Promise<void>;
}

export function createProfileService(options: ProfileServiceOptions): ProfileService {
  const { passwords, tokens, attempts, authenticator, addressMoved, log } = options;
  const { users, sessions } = options.metadata;
  return {
    async update(userId, { name, email }) {
      const next = { name: checkedName(name), email: checkedEmail(email) };
      const before = await users.findById(userId);
      if (before === null) throw invalidToken('access');
      const moves = before.email.toLowerCase() !== next.email.toLowerCase();
      // Each is a mail to somebody.
      if (moves) await attempts.count(`address change\n${userId}`);
      const user = await users.updateProfile(userId, next.name, next.email);
      if (user === 'taken') throw new AppError('email_taken', 'user with this email already exists');
      if (user === null) throw invalidToken('access');
      // The address that the nodes remember for the account's sessions may be the old one.
      for (const session of await sessions.ofAccount(userId)) await authenticator.sessionEnded(session);
      if (moves) addressMoved(before);
      return user;
    },

    async changePassword(userId, { currentPassword, newPassword, revokeApiKeys }, { accessToken, address }) {
      checkPassword(newPassword);
      const subject = `password change\n${userId}`;
      await attempts.count(subject);
      const user = await users.findById(userId);
      if (!user) throw invalidToken('access');
      const { passwordHash } = user;
      if (!(await passwords.verify(passwordHash, currentPassword)) || passwordHash === null) {
        throw new AppError('invalid_credentials', 'current password is incorrect');
      }
      const ended = await users.changePassword(userId, {
        previous: passwordHash,
        next: await passwords.hash(newPassword),
        keepSession: await tokens.sessionOf('access', accessToken),
        revokeKeys: revokeApiKeys,
      });
      if (ended === null) throw new AppError('conflict', 'the password was changed meanwhile; try again');
      await attempts.clear(subject);
      await forgetAccess(options, ended, userId, address);
      const counts = { endedSessions: ended.sessions.length, revokedKeys: ended.keys.length };
      log.info({ userId, ...counts }, 'password changed');
    },
  };
}
