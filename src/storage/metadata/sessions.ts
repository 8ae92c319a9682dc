import type { Database } from '../postgres.js';
import { text } from '../row.js';
import type { SessionStore } from './metadata.js';
import { readUser, USER_COLUMNS } from './users.js';

// The account's row is shared: a change of its password waits for this session, or this waits for the change and sees its version.
const OPEN = `
  WITH account AS (
    SELECT id FROM users WHERE id = $2 AND password_version = $6 FOR SHARE
  ), gone AS (
    DELETE FROM auth_sessions WHERE user_id = $2 AND (
      expires_at < now()
      OR id IN (SELECT id FROM auth_sessions WHERE user_id = $2 ORDER BY created_at DESC OFFSET $5))
  ), session AS (
    INSERT INTO auth_sessions (id, user_id, expires_at) SELECT $1, id, $4 FROM account RETURNING id
  )
  INSERT INTO refresh_tokens (token_hash, session_id, expires_at) SELECT $3, id, $4 FROM session RETURNING session_id`;

// One statement: a crash in between neither loses the session nor leaves two usable tokens. Of two simultaneous calls with one token
// the second waits for the row lock and then finds it used, which the grace may allow.
const ROTATE = `
  WITH used AS (
    UPDATE refresh_tokens t SET used_at = coalesce(t.used_at, now()) FROM auth_sessions s
    WHERE t.token_hash = $1 AND (t.used_at IS NULL OR ($4::int > 0 AND t.used_at > now() - $4::int * interval '1 millisecond'))
      AND t.expires_at > now()
      AND s.id = t.session_id AND s.revoked_at IS NULL
    RETURNING t.session_id
  ), next AS (
    INSERT INTO refresh_tokens (token_hash, session_id, expires_at) SELECT $2, session_id, $3 FROM used
  ), gone AS (
    DELETE FROM refresh_tokens t USING used WHERE t.session_id = used.session_id AND t.expires_at < now()
  ), session AS (
    UPDATE auth_sessions s SET expires_at = $3 FROM used WHERE s.id = used.session_id RETURNING s.user_id
  )
  SELECT ${USER_COLUMNS} FROM session JOIN users u ON u.id = session.user_id`;

const REVOKE_REUSED = `
  UPDATE auth_sessions s SET revoked_at = now(), revoked_reason = 'refresh token used twice' FROM refresh_tokens t
  WHERE t.token_hash = $1 AND t.used_at IS NOT NULL AND s.id = t.session_id AND s.revoked_at IS NULL
  RETURNING s.id`;

const FIND_ACCOUNT = `
  SELECT ${USER_COLUMNS} FROM auth_sessions s JOIN users u ON u.id = s.user_id
  WHERE s.id = $1 AND s.revoked_at IS NULL AND s.expires_at > now()`;

export function createSessionStore(db: Database): SessionStore {
  return {
    async open({ id, userId, passwordVersion, tokenHash, expiresAt }, keep) {
      const token = Buffer.from(tokenHash);
      const values = [id, userId, token, expiresAt, Math.max(keep - 1, 0), passwordVersion];
      return (await db.query(OPEN, values)).length > 0;
    },

    async rotate(tokenHash, nextHash, expiresAt, graceMs) {
      const [row] = await db.query(ROTATE, [
        Buffer.from(tokenHash),
        Buffer.from(nextHash),
        expiresAt,
        graceMs,
      ]);
      return row ? readUser(row) : null;
    },

    async revokeReused(tokenHash) {
      const [row] = await db.query(REVOKE_REUSED, [Buffer.from(tokenHash)]);
      return row ? text(row, 'id') : null;
    },

    async revoke(sessionId, reason) {
      await db.query(
        'UPDATE auth_sessions SET revoked_at = now(), revoked_reason = $2 WHERE id = $1 AND revoked_at IS NULL',
        [sessionId, reason],
      );
    },

    async ofAccount(userId) {
      const rows = await db.query(
        'SELECT id FROM auth_sessions WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now()',
        [userId],
      );
      return rows.map((row) => text(row, 'id'));
    },

    async findAccount(sessionId) {
      const [row] = await db.query(FIND_ACCOUNT, [sessionId]);
      return row ? readUser(row) : null;
    },
  };
}
