import type { Database, Row } from '../postgres.js';
import { date, text, textOrNull } from '../row.js';

/** What somebody did. Ids are UUIDs. */
export interface AuditEntry {
  readonly at: Date;
  /** `METHOD /pattern` of the operation, or `sign in`. */
  readonly action: string;
  readonly outcome: 'done' | 'failed';
  /** Who; null: nobody that is known. */
  readonly userId: string | null;
  /** The API key that was used. */
  readonly keyId: string | null;
  readonly websiteId: string | null;
  /** What else it was done to: a member, a funnel, a key. */
  readonly targetId: string | null;
  /** Network of the client, /24 or /48; '' when unknown. */
  readonly network: string;
}

export type StoredAuditEntry = Omit<AuditEntry, 'outcome'> & {
  /** Grows with every entry; a number in decimal digits. */
  readonly id: string;
  readonly outcome: string;
};

export interface AuditQuery {
  /** Only what was done with this website. */
  readonly websiteId?: string | undefined;
  /** Only what was done by this account. */
  readonly userId?: string | undefined;
  /** Only entries before the one with this id. */
  readonly before?: string | undefined;
  readonly limit: number;
}

/** The audit log: entries are added, read and, when old, deleted, never changed. */
export interface AuditStore {
  append(entries: readonly AuditEntry[]): Promise<void>;
  /** Newest first. */
  list(query: AuditQuery): Promise<StoredAuditEntry[]>;
  /** Deletes entries from before `until`. @returns how many */
  expire(until: Date): Promise<number>;
}

const APPEND = `INSERT INTO audit_log (at, action, outcome, user_id, key_id, website_id, target_id, address)
  SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[], $7::uuid[], $8::text[])`;

const COLUMNS = 'id::text AS id, at, action, outcome, user_id, key_id, website_id, target_id, address';

/** In pieces, so that no statement runs into its time-out. */
const EXPIRE = `DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at < $1 ORDER BY at LIMIT 10000)
  RETURNING 1 AS gone`;

export function createAuditStore(db: Database): AuditStore {
  return {
    async append(entries) {
      await db.query(APPEND, [
        entries.map(({ at }) => at),
        entries.map(({ action }) => action.slice(0, 200)),
        entries.map(({ outcome }) => outcome),
        entries.map(({ userId }) => userId),
        entries.map(({ keyId }) => keyId),
        entries.map(({ websiteId }) => websiteId),
        entries.map(({ targetId }) => targetId),
        entries.map(({ network }) => network),
      ]);
    },

    async list({ websiteId, userId, before, limit }) {
      const values: unknown[] = [];
      const conditions: string[] = [];
      const where = (condition: string, value: string | undefined) => {
        if (value !== undefined) conditions.push(`${condition} $${values.push(value)}`);
      };
      where('website_id =', websiteId);
      where('user_id =', userId);
      where('id <', before);
      const filter = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`;
      const rows = await db.query(
        `SELECT ${COLUMNS} FROM audit_log ${filter} ORDER BY audit_log.id DESC LIMIT $${values.push(limit)}`,
        values,
      );
      return rows.map(readEntry);
    },

    async expire(until) {
      let gone = 0;
      for (;;) {
        const { length } = await db.query(EXPIRE, [until]);
        gone += length;
        if (length === 0) return gone;
      }
    },
  };
}

function readEntry(row: Row): StoredAuditEntry {
  return {
    id: text(row, 'id'),
    at: date(row, 'at'),
    action: text(row, 'action'),
    outcome: text(row, 'outcome'),
    userId: textOrNull(row, 'user_id'),
    keyId: textOrNull(row, 'key_id'),
    websiteId: textOrNull(row, 'website_id'),
    targetId: textOrNull(row, 'target_id'),
    network: text(row, 'address'),
  };
}
