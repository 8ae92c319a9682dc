import type { Database } from '../postgres.js';
import { bool, text, texts } from '../row.js';
import { thinOut } from './execution-removal.js';

/** What went with an account. */
export interface DeletedAccount {
  readonly sites: readonly { readonly id: string; readonly siteId: string }[];
  /** Ids of the sessions that ended. */
  readonly sessions: readonly string[];
  /** Hashes of the secrets of its API keys. */
  readonly keys: readonly Uint8Array[];
}

export interface AccountDeletionStore {
  /**
   * Removes an account with its sessions, keys and memberships and its websites with what belongs to them, all at once; noted is that the
   * data of those have to be purged, and what the account has outside of the database.
   * @param passwordHash the account's own when the decision was made
   * @returns null when there is no such account, or its password was changed meanwhile; `last admin` when nobody would be left to look after
   * the other accounts
   */
  delete(userId: string, passwordHash: string | null): Promise<DeletedAccount | 'last admin' | null>;
  /** Whether the account is the only instance admin, and there are other accounts. */
  isLastAdmin(userId: string): Promise<boolean>;
  /** Deleted accounts that may have left something outside of the database, longest gone first. */
  leftovers(limit: number): Promise<string[]>;
  /** Nothing is left of the account. */
  cleared(userId: string): Promise<void>;
}

const IS_LAST_ADMIN = `SELECT u.role = 'admin'
    AND NOT EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND id <> u.id)
    AND EXISTS (SELECT 1 FROM users WHERE id <> u.id) AS is_last
  FROM users u WHERE u.id = $1`;

async function isLastAdmin(db: Pick<Database, 'query'>, userId: string): Promise<boolean> {
  const [row] = await db.query(IS_LAST_ADMIN, [userId]);
  return row !== undefined && bool(row, 'is_last');
}

export function createAccountDeletionStore(db: Database): AccountDeletionStore {
  return {
    isLastAdmin: (userId) => isLastAdmin(db, userId),
    async delete(userId, passwordHash) {
      const own = await db.query(
        `SELECT w.site_id FROM websites w JOIN users u ON u.id = w.user_id
         WHERE u.id = $1 AND u.password_hash IS NOT DISTINCT FROM $2`,
        [userId, passwordHash],
      );
      // Most of what its automations did goes before, or a single statement would have to remove it all. Nothing works less without.
      await thinOut(db, { siteIds: own.map((row) => text(row, 'site_id')) });
      return db.transaction(async (tx) => {
        // Of two admins that leave at the same moment the second waits here, and then is the last.
        await tx.query("SELECT id FROM users WHERE role = 'admin' ORDER BY id FOR UPDATE", []);
        const [user] = await tx.query(
          'SELECT id FROM users WHERE id = $1 AND password_hash IS NOT DISTINCT FROM $2 FOR UPDATE',
          [userId, passwordHash],
        );
        if (!user) return null;
        if (await isLastAdmin(tx, userId)) return 'last admin';
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
        const keys = await tx.query('DELETE FROM api_keys WHERE user_id = $1 RETURNING secret_hash', [
          userId,
        ]);
        await tx.query('DELETE FROM users WHERE id = $1', [userId]);
        await tx.query('INSERT INTO account_leftovers (user_id) VALUES ($1) ON CONFLICT DO NOTHING', [
          userId,
        ]);
        return {
          sites,
          sessions: sessions ? texts(sessions, 'ids') : [],
          keys: keys.flatMap(({ secret_hash: hash }) => (hash instanceof Uint8Array ? [hash] : [])),
        };
      });
    },

    async leftovers(limit) {
      const rows = await db.query(
        'SELECT user_id FROM account_leftovers ORDER BY deleted_at, user_id LIMIT $1',
        [limit],
      );
      return rows.map((row) => text(row, 'user_id'));
    },

    async cleared(userId) {
      await db.query('DELETE FROM account_leftovers WHERE user_id = $1', [userId]);
    },
  };
}
