import { setTimeout as pause } from 'node:timers/promises';
import type { Attempts } from '../auth/attempts.js';
import type { Authenticator } from '../auth/authenticator.js';
import type { Passwords } from '../auth/passwords.js';
import { invalidToken } from '../auth/tokens.js';
import { AppError } from '../errors.js';
import type { MetadataStore, UserStore } from '../storage/metadata/metadata.js';
import type { Logger } from '../telemetry.js';
import type { SiteNotices } from '../websites/site-notices.js';

export interface AccountDeletionOptions {
  readonly metadata: Pick<MetadataStore, 'accountDeletion'> & {
    readonly users: Pick<UserStore, 'findById'>;
  };
  readonly passwords: Pick<Passwords, 'verify'>;
  readonly attempts: Attempts;
  readonly authenticator: Pick<Authenticator, 'sessionEnded'>;
  readonly notices: Pick<SiteNotices, 'changed'>;
  /** Removes what else is kept of the account, while it is still there. */
  readonly beforehand: (userId: string) => Promise<void>;
  /** The same for what may have come while the account went. */
  readonly afterwards: (userId: string) => Promise<void>;
  /** Purges the account's sites; those that cannot be purged now are by themselves later. */
  readonly purge: (siteIds: readonly string[]) => Promise<unknown>;
  readonly log: Logger;
  /** How long the call waits for the purge, ms. Default 10,000. */
  readonly waitMs?: number;
}

const WAIT_MS = 10_000;

export interface AccountDeletion {
  /**
   * Removes the account at once, and all data of its websites as far as the stores can be reached now; the rest follows by itself.
   * @param password of the account; an account without one needs none
   * @throws AppError `invalid_credentials`, `rate_limited`, `overloaded`, `conflict` (the password was changed meanwhile; or the
   * account is the only admin of an instance that has other accounts)
   */
  delete(userId: string, password: string): Promise<void>;
}

export function createAccountDeletion(options: AccountDeletionOptions): AccountDeletion {
  const { metadata, passwords, attempts, authenticator, notices, beforehand, afterwards, purge, log } =
    options;
  return {
    async delete(userId, password) {
      const subject = `account deletion\n${userId}`;
      await attempts.count(subject);
      const user = await metadata.users.findById(userId);
      if (user === null) throw invalidToken('access');
      if (user.passwordHash !== null && !(await passwords.verify(user.passwordHash, password)))
        throw new AppError('invalid_credentials', 'password is incorrect');
      if (await metadata.accountDeletion.isLastAdmin(userId)) throw lastAdmin();
      await beforehand(userId);
      const gone = await metadata.accountDeletion.delete(userId, user.passwordHash);
      if (gone === 'last admin') throw lastAdmin();
      if (gone === null) throw new AppError('conflict', 'the account was changed meanwhile; try again');
      for (const session of gone.sessions) await authenticator.sessionEnded(session);
      for (const site of gone.sites) await notices.changed(site);
      await attempts.clear(subject);
      log.info({ userId, websites: gone.sites.length }, 'account deleted');
      await afterwards(userId).catch((err: unknown) =>
        log.warn({ userId, err }, 'what came while an account was deleted may have stayed'),
      );
      const purged = purge(gone.sites.map(({ siteId }) => siteId)).catch((err: unknown) =>
        log.warn({ userId, err }, 'the websites of a deleted account are purged later'),
      );
      const waited = new AbortController();
      const late = pause(options.waitMs ?? WAIT_MS, undefined, { signal: waited.signal }).catch(() => {});
      await Promise.race([purged, late]).finally(() => waited.abort());
    },
  };
}

const lastAdmin = () =>
  new AppError('conflict', 'the only admin of the instance cannot leave while it has other accounts');
