import { randomUUID } from 'node:crypto';
import { AppError } from '../../errors.js';
import type { Database, Queryable, Row } from '../postgres.js';
import { date, dateOrNull, jsonObject, number, text, textOrNull } from '../row.js';

/**
 * What accounts ask for about personal data: a file with all of it; removal of the data of one site, of all own sites, of one visitor;
 * own sites made anonymous.
 */
export const PRIVACY_REQUEST_TYPES = [
  'export',
  'delete_website',
  'delete_data',
  'delete_visitor',
  'anonymize',
] as const;
export type PrivacyRequestType = (typeof PRIVACY_REQUEST_TYPES)[number];
export type PrivacyRequestStatus = 'pending' | 'completed' | 'failed';

export interface NewPrivacyRequest {
  readonly userId: string;
  readonly type: PrivacyRequestType;
  readonly reason?: string;
  /** Public site id, where it is about one site. */
  readonly siteId?: string;
  readonly visitorId?: string;
}

export interface PrivacyRequest {
  readonly id: string;
  readonly userId: string;
  readonly type: PrivacyRequestType;
  readonly status: PrivacyRequestStatus;
  readonly reason: string;
  readonly siteId: string | null;
  /** Null again when it is completed, or given up. */
  readonly visitorId: string | null;
  /** Of a pending one: a secret that stays the same over its attempts. Hex. */
  readonly salt: string | null;
  /** Of the last attempt, when it failed; safe to show. */
  readonly error: string | null;
  readonly attempts: number;
  readonly createdAt: Date;
  readonly completedAt: Date | null;
}

export interface TakenPrivacyRequest extends PrivacyRequest {
  readonly lease: string;
}

export interface PrivacyRequestStore {
  /**
   * Stores a request with the sites it is about; a pending one that asks for the same is answered instead.
   * @throws AppError `limit_reached` when too many visitors of the site wait
   */
  create(request: NewPrivacyRequest): Promise<PrivacyRequest>;
  /** Newest first, at most 100. */
  list(userId: string): Promise<PrivacyRequest[]>;
  /**
   * Public ids of the sites a request removes or changes: the one that it names, which an instance admin may ask for as well, or those that
   * are still the account's. A visitor's request has none.
   */
  sitesOf(id: string): Promise<string[]>;
  find(userId: string, id: string): Promise<PrivacyRequest | null>;
  /** Takes the oldest due one for `leaseMs`, or that one if it is due. */
  take(leaseMs: number, id: string | null): Promise<TakenPrivacyRequest | null>;
  /** Prolongs a lease. False when it is lost. */
  renew(id: string, lease: string, leaseMs: number): Promise<boolean>;
  /** Notes that it is done and forgets whom it was about. */
  complete(id: string, lease: string): Promise<void>;
  /** Notes a failed attempt and when to try again; null: never, and it is forgotten whom it was about. */
  fail(id: string, lease: string, error: string, retryMs: number | null): Promise<void>;
  /** Removes completed and failed requests older than this. */
  expire(maxAgeMs: number): Promise<void>;
  settings(userId: string): Promise<Readonly<Record<string, unknown>>>;
  /** Replaces the given settings and answers all. */
  saveSettings(
    userId: string,
    settings: Readonly<Record<string, unknown>>,
  ): Promise<Readonly<Record<string, unknown>>>;
}

const COLUMNS = `id, user_id, type, status, reason, site_id, visitor_id, encode(salt, 'hex') AS salt, error, attempts,
  created_at, completed_at`;

const MAX_VISITORS_WAITING = 20;

const SAME = `user_id = $1 AND type = $2 AND site_id IS NOT DISTINCT FROM $3 AND visitor_id IS NOT DISTINCT FROM $4 AND status = 'pending'`;

export function createPrivacyRequestStore(db: Database): PrivacyRequestStore {
  return {
    create: ({ userId, type, siteId, visitorId, reason }) =>
      db.transaction(async (tx) => {
        await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
          `seentics_privacy_${userId}`,
        ]);
        const same = [userId, type, siteId ?? null, visitorId ?? null];
        const [known] = await tx.query(`SELECT ${COLUMNS} FROM privacy_requests WHERE ${SAME} LIMIT 1`, same);
        if (known) return readRequest(known);
        if (type === 'delete_visitor' && (await waitingVisitors(tx, siteId ?? '')) >= MAX_VISITORS_WAITING)
          throw new AppError(
            'limit_reached',
            `${MAX_VISITORS_WAITING} visitors of the website wait: ask again later`,
          );
        const [row] = await tx.query(
          `INSERT INTO privacy_requests (id, user_id, type, site_id, visitor_id, reason, salt)
           VALUES ($5, $1, $2, $3, $4, $6, uuid_send(gen_random_uuid())) RETURNING ${COLUMNS}`,
          [...same, randomUUID(), reason ?? ''],
        );
        if (!row) throw new Error('the inserted request did not come back');
        const made = readRequest(row);
        await tx.query(
          `INSERT INTO privacy_request_sites (request_id, site_id) SELECT $1, site_id FROM websites
           WHERE $3 IN ('delete_data', 'anonymize') AND user_id = $2 OR $3 = 'delete_website' AND site_id = $4`,
          [made.id, userId, type, siteId ?? null],
        );
        return made;
      }),

    async list(userId) {
      const rows = await db.query(
        `SELECT ${COLUMNS} FROM privacy_requests WHERE user_id = $1 ORDER BY created_at DESC, id LIMIT 100`,
        [userId],
      );
      return rows.map(readRequest);
    },

    async sitesOf(id) {
      const rows = await db.query(
        `SELECT s.site_id FROM privacy_request_sites s JOIN privacy_requests r ON r.id = s.request_id
         JOIN websites w ON w.site_id = s.site_id AND (w.user_id = r.user_id OR r.type = 'delete_website')
         WHERE s.request_id = $1 ORDER BY s.site_id`,
        [id],
      );
      return rows.map((row) => text(row, 'site_id'));
    },

    async find(userId, id) {
      const [row] = await db.query(`SELECT ${COLUMNS} FROM privacy_requests WHERE user_id = $1 AND id = $2`, [
        userId,
        id,
      ]);
      return row ? readRequest(row) : null;
    },

    async take(leaseMs, id) {
      const [row] = await db.query(
        `UPDATE privacy_requests SET lease = $1, due_at = now() + $2::float8 * interval '1 millisecond', attempts = attempts + 1
         WHERE id = (SELECT id FROM privacy_requests WHERE status = 'pending' AND due_at <= now() AND ($3::uuid IS NULL OR id = $3)
                     ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING ${COLUMNS}, lease`,
        [randomUUID(), leaseMs, id],
      );
      return row ? { ...readRequest(row), lease: text(row, 'lease') } : null;
    },

    async renew(id, lease, leaseMs) {
      const rows = await db.query(
        `UPDATE privacy_requests SET due_at = now() + $3::float8 * interval '1 millisecond'
         WHERE id = $1 AND lease = $2 AND status = 'pending' RETURNING id`,
        [id, lease, leaseMs],
      );
      return rows.length > 0;
    },

    async complete(id, lease) {
      await db.query(
        `UPDATE privacy_requests SET status = 'completed', completed_at = now(), visitor_id = NULL, salt = NULL, error = NULL,
           lease = NULL WHERE id = $1 AND lease = $2`,
        [id, lease],
      );
    },

    async fail(id, lease, error, retryMs) {
      await db.query(
        `UPDATE privacy_requests SET error = $3, lease = NULL,
           due_at = now() + COALESCE($4::float8, 0) * interval '1 millisecond',
           status = CASE WHEN $4::float8 IS NULL THEN 'failed' ELSE status END,
           completed_at = CASE WHEN $4::float8 IS NULL THEN now() END,
           visitor_id = CASE WHEN $4::float8 IS NOT NULL THEN visitor_id END,
           salt = CASE WHEN $4::float8 IS NOT NULL THEN salt END
         WHERE id = $1 AND lease = $2`,
        [id, lease, error, retryMs],
      );
    },

    async expire(maxAgeMs) {
      await db.query(
        `DELETE FROM privacy_requests WHERE status <> 'pending' AND completed_at < now() - $1::float8 * interval '1 millisecond'`,
        [maxAgeMs],
      );
    },

    async settings(userId) {
      const [row] = await db.query('SELECT settings FROM privacy_settings WHERE user_id = $1', [userId]);
      return row ? jsonObject(row, 'settings') : {};
    },

    async saveSettings(userId, settings) {
      const [row] = await db.query(
        `INSERT INTO privacy_settings AS p (user_id, settings) VALUES ($1, $2::jsonb)
         ON CONFLICT (user_id) DO UPDATE SET settings = p.settings || excluded.settings, updated_at = now() RETURNING settings`,
        [userId, JSON.stringify(settings)],
      );
      return row ? jsonObject(row, 'settings') : {};
    },
  };
}

async function waitingVisitors(tx: Queryable, siteId: string): Promise<number> {
  const [row] = await tx.query(
    "SELECT count(*)::int AS n FROM privacy_requests WHERE site_id = $1 AND type = 'delete_visitor' AND status = 'pending'",
    [siteId],
  );
  return row ? number(row, 'n') : 0;
}

function readRequest(row: Row): PrivacyRequest {
  const type = PRIVACY_REQUEST_TYPES.find((known) => known === row.type);
  const status = (['pending', 'completed', 'failed'] as const).find((known) => known === row.status);
  if (type === undefined || status === undefined) throw new TypeError('a privacy request of an unknown kind');
  return {
    id: text(row, 'id'),
    userId: text(row, 'user_id'),
    ...{ type, status },
    reason: text(row, 'reason'),
    siteId: textOrNull(row, 'site_id'),
    visitorId: textOrNull(row, 'visitor_id'),
    salt: textOrNull(row, 'salt'),
    error: textOrNull(row, 'error'),
    attempts: number(row, 'attempts'),
    createdAt: date(row, 'created_at'),
    completedAt: dateOrNull(row, 'completed_at'),
  };
}
