import type { Database } from '../postgres.js';
import { text, texts } from '../row.js';

/** What went with an account. */
export interface DeletedAccount {
  readonly sites: readonly { readonly id: string; readonly siteId: string }[];
  /** Ids of the sessions that ended. */
  readonly sessions: readonly string[];
}

export interface AccountDeletionStore {
  /**
   * Removes an account with its sessions, keys and memberships and its websites with what belongs to them, all at once; that the data of
   * those has to be purged is noted.
   * @param passwordHash the account's own when the decision was made
   * @returns null when there is no such account, or its password was changed meanwhile
   */
  delete(userId: string, passwordHash: string | null): Promise<DeletedAccount | null>;
}

export function createAccountDeletionStore(db: Database): AccountDeletionStore {
  return {
    delete: (userId, passwordHash) =>
      db.transaction(async (tx) => {
        const [user] = await tx.query(
          'SELECT id FROM users WHERE id = $1 AND password_hash IS NOT DISTINCT FROM $2 FOR UPDATE',
          [userId, passwordHash],
        );
        if (!user) return null;
        const rows = await tx.query('DELETE FROM websites WHERE user_id = $1 RETURNING id, site_id', [
          userId,
        ]);
        const sites = rows.map((row) => ({ id: text(row, 'id'), siteId: text(row, 'site_id') }));
        const siteIds = sites.map(({ siteId }) => siteId);
        await tx.query('DELETE FROM funnels WHERE website_id = ANY ($1::text[])', [siteIds]);
        await tx.query('DELETE FROM automations WHERE website_id = ANY ($1::text[])', [siteIds]);
        await tx.query("DELETE FROM notifications WHERE split_part(topic, ' ', 2) = ANY ($1::text[])", [
          siteIds,
        ]);
        await tx.query(
          `INSERT INTO site_purges (site_id) SELECT unnest($1::text[])
           ON CONFLICT (site_id) DO UPDATE SET deleted_at = now(), purged_at = NULL`,
          [siteIds],
        );
        const [sessions] = await tx.query(
          'SELECT ARRAY(SELECT id::text FROM auth_sessions WHERE user_id = $1) AS ids',
          [userId],
        );
        await tx.query('DELETE FROM users WHERE id = $1', [userId]);
        return { sites, sessions: sessions ? texts(sessions, 'ids') : [] };
      }),
  };
}
