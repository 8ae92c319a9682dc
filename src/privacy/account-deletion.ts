import { setTimeout as pause } from 'node:timers/promises';
import type { Attempts } from '../auth/attempts.js';
import type { Authenticator } from '../auth/authenticator.js';
import type { Passwords } from '../auth/passwords.js';
import { invalidToken } from '../auth/tokens.js';
import { AppError } from '../errors.js';
import type { MetadataStore, UserStore } from '../storage/metadata/metadata.js';
import type { Logger } from '../telemetry.js';
import type { SiteNotices } from '../websites/site-notices.js';
import type { AccountLeftovers } from './account-leftovers.js';

export interface AccountDeletionOptions {
  readonly metadata: Pick<MetadataStore, 'accountDeletion'> & {
    readonly users: Pick<UserStore, 'findById'>;
  };
  readonly passwords: Pick<Passwords, 'verify'>;
  readonly attempts: Attempts;
  readonly authenticator: Pick<Authenticator, 'sessionEnded' | 'keyEnded'>;
  readonly notices: Pick<SiteNotices, 'changed'>;
  /** Removes what is kept of the account outside of the database, once it is gone; noted with its deletion, so a crash may come. */
  readonly leftovers: Pick<AccountLeftovers, 'clear'>;
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
  const { metadata, passwords, attempts, authenticator, notices, leftovers, purge, log } = options;
  /** The account is gone, whatever else fails: others hear of it a little later then. */
  const told = async <T>(userId: string, whats: readonly T[], tell: (what: T) => Promise<void>) => {
    for (const what of whats)
      await tell(what).catch((err: unknown) =>
        log.warn({ userId, err }, 'not everybody was told that an account was deleted'),
      );
  };
  return {
    async delete(userId, password) {
      const subject = `account deletion\n${userId}`;
      await attempts.count(subject);
      const user = await metadata.users.findById(userId);
      if (user === null) throw invalidToken('access');
      if (user.passwordHash !== null && !(await passwords.verify(user.passwordHash, password)))
        throw new AppError('invalid_credentials', 'password is incorrect');
      if (await metadata.accountDeletion.isLastAdmin(userId)) throw lastAdmin();
      const gone = await metadata.accountDeletion.delete(userId, user.passwordHash);
      if (gone === 'last admin') throw lastAdmin();
      if (gone === null) throw new AppError('conflict', 'the account was changed meanwhile; try again');
      log.info({ userId, websites: gone.sites.length }, 'account deleted');
      await told(userId, gone.sessions, (session) => authenticator.sessionEnded(session));
      await told(userId, gone.keys, (hash) => authenticator.keyEnded(hash));
      await told(userId, gone.sites, (site) => notices.changed(site));
      await told(userId, [subject], (it) => attempts.clear(it));
      await leftovers.clear(userId);
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
