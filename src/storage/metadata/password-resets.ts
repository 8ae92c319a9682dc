import type { Database } from '../postgres.js';
import { text } from '../row.js';
import { type EndedAccess, writePassword } from './password-change.js';

export interface NewPasswordReset {
  readonly userId: string;
  /** Where the link goes; the account must still have this address. */
  readonly email: string;
  /** SHA-256 of the token. */
  readonly tokenHash: Uint8Array;
  /** Life of the token, ms. */
  readonly ttlMs: number;
}

/** Links that set a new password, once. */
export interface PasswordResetStore {
  /** False when the account is gone, has another address by now, or has had `perHour` links in the last hour. */
  add(reset: NewPasswordReset, perHour: number): Promise<boolean>;
  /** Forgets a link that reached nobody, so that it does not count. */
  remove(tokenHash: Uint8Array): Promise<void>;
  /** Whether a token could be used now. */
  isOpen(tokenHash: Uint8Array): Promise<boolean>;
  /**
   * Sets the account's password with a token, closes all its tokens and ends all its sessions, at once; and its API keys, if wanted.
   * @returns null when the token is unknown, expired, used or closed
   */
  use(tokenHash: Uint8Array, passwordHash: string, revokeKeys: boolean): Promise<UsedReset | null>;
}

export interface UsedReset {
  readonly userId: string;
  readonly ended: EndedAccess;
}

const IS_OPEN = 'token_hash = $1 AND closed_at IS NULL AND expires_at > now()';

export function createPasswordResetStore(db: Database): PasswordResetStore {
  return {
    add: ({ userId, email, tokenHash, ttlMs }, perHour) =>
      db.transaction(async (tx) => {
        // Links of one account are made one after another, and never for an address that is being changed.
        const [account] = await tx.query(
          'SELECT id FROM users WHERE id = $1 AND email = $2 FOR NO KEY UPDATE',
          [userId, email],
        );
        if (!account) return false;
        await tx.query(
          "DELETE FROM password_resets WHERE user_id = $1 AND created_at < now() - interval '1 hour' AND expires_at < now()",
          [userId],
        );
        const added = await tx.query(
          `INSERT INTO password_resets (token_hash, user_id, expires_at)
           SELECT $1, $2, now() + $3::int * interval '1 millisecond' WHERE (
             SELECT count(*) FROM password_resets WHERE user_id = $2 AND created_at > now() - interval '1 hour'
           ) < $4::int RETURNING user_id`,
          [Buffer.from(tokenHash), userId, ttlMs, perHour],
        );
        return added.length > 0;
      }),

    async remove(tokenHash) {
      await db.query('DELETE FROM password_resets WHERE token_hash = $1', [Buffer.from(tokenHash)]);
    },

    async isOpen(tokenHash) {
      const rows = await db.query(`SELECT user_id FROM password_resets WHERE ${IS_OPEN}`, [
        Buffer.from(tokenHash),
      ]);
      return rows.length > 0;
    },

    use: (tokenHash, passwordHash, revokeKeys) =>
      db.transaction(async (tx) => {
        const token = Buffer.from(tokenHash);
        const [holder] = await tx.query(
          `SELECT id FROM users WHERE id = (SELECT user_id FROM password_resets WHERE ${IS_OPEN}) FOR NO KEY UPDATE`,
          [token],
        );
        if (!holder) return null;
        // Again, now that nobody else can use or close it.
        const [open] = await tx.query(`SELECT user_id FROM password_resets WHERE ${IS_OPEN}`, [token]);
        if (!open) return null;
        const userId = text(holder, 'id');
        const ended = await writePassword(tx, userId, {
          hash: passwordHash,
          reason: 'password reset',
          ...{ keepSession: null, revokeKeys },
        });
        return { userId, ended };
      }),
  };
}
