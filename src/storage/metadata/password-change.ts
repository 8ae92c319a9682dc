import type { Queryable } from '../postgres.js';
import { text } from '../row.js';

/** An account's new password and whom it leaves signed in. */
export interface PasswordWrite {
  /** argon2id. */
  readonly hash: string;
  /** Why sessions end. */
  readonly reason: string;
  /** The one session that stays. */
  readonly keepSession: string | null;
  /** Whether the account's API keys end, too. */
  readonly revokeKeys: boolean;
}

/** Ways into an account that a new password has closed; the nodes are still to be told. */
export interface EndedAccess {
  /** Ids. */
  readonly sessions: readonly string[];
  /** Hashes of the secrets of API keys. */
  readonly keys: readonly Uint8Array[];
}

/**
 * Sets a password, closes the account's open resets and ends its sessions. The caller's transaction must hold the account's row: a
 * session that was opened with the old password is then either seen by the last statement, or finds the new version and is not opened.
 */
export async function writePassword(
  tx: Queryable,
  userId: string,
  write: PasswordWrite,
): Promise<EndedAccess> {
  await tx.query(
    `UPDATE users SET password_hash = $2, password_version = password_version + 1, updated_at = now() WHERE id = $1`,
    [userId, write.hash],
  );
  await closeResets(tx, userId);
  const ended = await tx.query(
    `UPDATE auth_sessions SET revoked_at = now(), revoked_reason = $2
     WHERE user_id = $1 AND revoked_at IS NULL AND id IS DISTINCT FROM $3::uuid RETURNING id`,
    [userId, write.reason, write.keepSession],
  );
  const revoked = write.revokeKeys
    ? await tx.query('DELETE FROM api_keys WHERE user_id = $1 RETURNING secret_hash', [userId])
    : [];
  return {
    sessions: ended.map((row) => text(row, 'id')),
    keys: revoked.flatMap(({ secret_hash: hash }) => (hash instanceof Uint8Array ? [hash] : [])),
  };
}

/** Makes all links that were mailed to an account useless. */
export async function closeResets(tx: Queryable, userId: string): Promise<void> {
  await tx.query('UPDATE password_resets SET closed_at = now() WHERE user_id = $1 AND closed_at IS NULL', [
    userId,
  ]);
}
