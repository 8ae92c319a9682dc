import type { Database, Row } from '../postgres.js';
import { date, dateOrNull, text, texts, textsOrNull } from '../row.js';
import type { User } from './metadata.js';

export interface ApiKeyRecord {
  readonly id: string;
  readonly userId: string;
  readonly name: string;
  /** First characters of the secret. */
  readonly prefix: string;
  readonly scopes: readonly string[];
  /** UUIDs of the websites it is bound to; null: all of the account. */
  readonly websiteIds: readonly string[] | null;
  readonly createdAt: Date;
  /** null: never. */
  readonly expiresAt: Date | null;
  /** As of the last minute or so; null: never. */
  readonly lastUsedAt: Date | null;
}

export type NewApiKey = Omit<ApiKeyRecord, 'createdAt' | 'lastUsedAt'> & {
  /** SHA-256. */
  readonly secretHash: Uint8Array;
};

/** What a presented key stands for. */
export interface KnownKey {
  readonly id: string;
  readonly scopes: readonly string[];
  readonly websiteIds: readonly string[] | null;
  readonly expiresAt: Date | null;
  readonly userId: string;
  readonly email: string;
  readonly role: User['role'];
}

/** Keys of accounts for programs. */
export interface ApiKeyStore {
  /** Newest first. */
  list(userId: string): Promise<ApiKeyRecord[]>;
  /** Null when the account has `limit` keys already, or is gone. */
  create(key: NewApiKey, limit: number): Promise<ApiKeyRecord | null>;
  /** @returns the hash of the deleted key's secret; null when the account has no such key */
  delete(userId: string, id: string): Promise<Uint8Array | null>;
  /** A key by the hash of its secret, expired or not, with what its account is now. */
  find(secretHash: Uint8Array): Promise<KnownKey | null>;
  /** Notes when keys were last used; a later time that is stored already stays. */
  touch(uses: readonly { readonly id: string; readonly at: Date }[]): Promise<void>;
}

const COLUMNS = `k.id, k.user_id, k.name, k.prefix, k.scopes, k.website_ids::text[] AS website_ids,
  k.created_at, k.expires_at, k.last_used_at`;

// The account's row is locked first, so that keys made at the same time are counted one after the other.
const LOCK_ACCOUNT = 'SELECT id FROM users WHERE id = $1 FOR UPDATE';

const CREATE = `INSERT INTO api_keys AS k (id, user_id, name, prefix, secret_hash, scopes, website_ids, expires_at)
  SELECT $1::uuid, u.id, $3::text, $4::text, $5::bytea, $6::text[], $7::uuid[], $8::timestamptz FROM users u
  WHERE u.id = $2::uuid AND (SELECT count(*) FROM api_keys WHERE user_id = $2::uuid) < $9::int
  RETURNING ${COLUMNS}`;

const FIND = `SELECT k.id, k.scopes, k.website_ids::text[] AS website_ids, k.expires_at, u.id AS user_id, u.email, u.role
  FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.secret_hash = $1`;

const TOUCH = `UPDATE api_keys k SET last_used_at = greatest(k.last_used_at, u.at)
  FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, at) WHERE k.id = u.id`;

export function createApiKeyStore(db: Database): ApiKeyStore {
  return {
    async list(userId) {
      const rows = await db.query(
        `SELECT ${COLUMNS} FROM api_keys k WHERE k.user_id = $1 ORDER BY k.created_at DESC, k.id`,
        [userId],
      );
      return rows.map(readKey);
    },

    create: ({ id, userId, name, prefix, secretHash, scopes, websiteIds, expiresAt }, limit) =>
      db.transaction(async (tx) => {
        await tx.query(LOCK_ACCOUNT, [userId]);
        const hash = Buffer.from(secretHash);
        const values = [id, userId, name, prefix, hash, scopes, websiteIds, expiresAt, limit];
        const [row] = await tx.query(CREATE, values);
        return row ? readKey(row) : null;
      }),

    async delete(userId, id) {
      const [row] = await db.query(
        'DELETE FROM api_keys WHERE user_id = $1 AND id = $2 RETURNING secret_hash',
        [userId, id],
      );
      return row?.secret_hash instanceof Uint8Array ? row.secret_hash : null;
    },

    async find(secretHash) {
      const [row] = await db.query(FIND, [Buffer.from(secretHash)]);
      return row ? readKnown(row) : null;
    },

    async touch(uses) {
      await db.query(TOUCH, [uses.map(({ id }) => id), uses.map(({ at }) => at)]);
    },
  };
}

function readKey(row: Row): ApiKeyRecord {
  return {
    id: text(row, 'id'),
    userId: text(row, 'user_id'),
    name: text(row, 'name'),
    prefix: text(row, 'prefix'),
    scopes: texts(row, 'scopes'),
    websiteIds: textsOrNull(row, 'website_ids'),
    createdAt: date(row, 'created_at'),
    expiresAt: dateOrNull(row, 'expires_at'),
    lastUsedAt: dateOrNull(row, 'last_used_at'),
  };
}

function readKnown(row: Row): KnownKey {
  return {
    id: text(row, 'id'),
    scopes: texts(row, 'scopes'),
    websiteIds: textsOrNull(row, 'website_ids'),
    expiresAt: dateOrNull(row, 'expires_at'),
    userId: text(row, 'user_id'),
    email: text(row, 'email'),
    role: text(row, 'role') === 'admin' ? 'admin' : 'user',
  };
}
