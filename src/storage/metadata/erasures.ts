import type { Database } from '../postgres.js';
import { number, text, textOrNull } from '../row.js';

/** Rows that nobody may store any more. */
export interface Erasure {
  /** Public site id. */
  readonly siteId: string;
  /** 64 hex characters (`visitorHashOf`); null: everything of the site. */
  readonly visitorHash: string | null;
  /** Rows received up to then, ms since epoch; Infinity for a deleted site. */
  readonly receivedUntil: number;
}

export interface ErasureStore {
  /**
   * What was erased of some sites, deleted ones included.
   * @param since only erasures of rows received then or later, ms since epoch; default: all
   */
  of(siteIds: readonly string[], since?: number): Promise<Erasure[]>;
  /** Something that is never the same again, for an hour at least, after an erasure was noted or a site was deleted. */
  version(): Promise<string>;
  /** Notes an erasure, in place of an earlier one of the same subject. */
  note(erasure: Erasure): Promise<void>;
  /** Has a request emptied the site already? */
  isWiped(siteId: string, requestId: string): Promise<boolean>;
  /** Notes that a request has emptied a site, and the last of its erasure, both at once. */
  wiped(siteId: string, requestId: string, receivedUntil: number): Promise<void>;
  /** Removes all imports of a site. @returns how long a node may still take each for its own, ms; 0: none does */
  dropImports(siteId: string): Promise<readonly { readonly id: string; readonly leaseMs: number }[]>;
  /** Forgets erasures older than any row that may still be under way. */
  expire(maxAgeMs: number): Promise<void>;
}

/** Of site, visitor, time. */
const NOTE = `INSERT INTO erasures (site_id, visitor_hash, received_until) VALUES ($1, decode($2, 'hex'), to_timestamp($3::float8 / 1000))
  ON CONFLICT (site_id, visitor_hash) DO UPDATE SET received_until = excluded.received_until`;

export function createErasureStore(db: Database): ErasureStore {
  return {
    async of(siteIds, since = 0) {
      const rows = await db.query(
        `SELECT site_id, NULL AS visitor, 'Infinity'::float8 AS until FROM site_purges WHERE site_id = ANY ($1::text[])
         UNION ALL
         SELECT site_id, encode(visitor_hash, 'hex'), (extract(epoch FROM received_until) * 1000)::float8 FROM erasures
         WHERE site_id = ANY ($1::text[]) AND received_until >= to_timestamp($2::float8 / 1000)`,
        [siteIds, since],
      );
      return rows.map((row) => ({
        siteId: text(row, 'site_id'),
        visitorHash: textOrNull(row, 'visitor') || null,
        receivedUntil: number(row, 'until'),
      }));
    },

    async version() {
      const [row] = await db.query(
        "SELECT COALESCE(md5(string_agg(id::text, ' ' ORDER BY id)), '') AS version FROM erasure_changes",
      );
      return row ? text(row, 'version') : '';
    },

    async note({ siteId, visitorHash, receivedUntil }) {
      await db.query(NOTE, [siteId, visitorHash ?? '', receivedUntil]);
    },

    async isWiped(siteId, requestId) {
      const rows = await db.query(
        'SELECT 1 FROM privacy_request_sites WHERE request_id = $1 AND site_id = $2 AND wiped_until IS NOT NULL',
        [requestId, siteId],
      );
      return rows.length > 0;
    },

    async wiped(siteId, requestId, receivedUntil) {
      await db.query(
        `WITH done AS (UPDATE privacy_request_sites SET wiped_until = to_timestamp($3::float8 / 1000)
           WHERE request_id = $4 AND site_id = $1)
         ${NOTE}`,
        [siteId, '', receivedUntil, requestId],
      );
    },

    async dropImports(siteId) {
      const rows = await db.query(
        `DELETE FROM imports WHERE site_id = $1
         RETURNING id, GREATEST(0, COALESCE(extract(epoch FROM lease_until - now()) * 1000, 0))::float8 AS lease_ms`,
        [siteId],
      );
      return rows.map((row) => ({ id: text(row, 'id'), leaseMs: number(row, 'lease_ms') }));
    },

    async expire(maxAgeMs) {
      await db.query(
        "DELETE FROM erasures WHERE received_until < now() - $1::float8 * interval '1 millisecond'",
        [maxAgeMs],
      );
      await db.query("DELETE FROM erasure_changes WHERE changed_at < now() - interval '2 hours'");
    },
  };
}
