import type { Database } from '../postgres.js';
import { number, text, textOrNull } from '../row.js';

/** Rows that nobody may store any more. */
export interface Erasure {
  /** Public site id. */
  readonly siteId: string;
  /** 64 hex characters (`visitorHashOf`); null: everything of the site, or what an import has added. */
  readonly visitorHash: string | null;
  /** UUID of an import that was undone. */
  readonly importId?: string;
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
  note(erasure: Omit<Erasure, 'importId'>): Promise<void>;
  /**
   * Notes that what an import has added, and was received up to then (ms since epoch), is to be stored no more. Noted again, the earlier
   * time holds: an import that is being undone sends nothing more.
   */
  noteUndone(siteId: string, importId: string, receivedUntil: number): Promise<void>;
  /** Has a request emptied the site already? */
  isWiped(siteId: string, requestId: string): Promise<boolean>;
  /** Notes that a request has emptied a site, and the last of its erasure, both at once. */
  wiped(siteId: string, requestId: string, receivedUntil: number): Promise<void>;
  /**
   * Removes all imports of a site; who works on one finds that it is gone (`ImportStore.claim`).
   * @returns ids of those whose uploaded file is left, of imports that went with the site as well
   */
  dropImports(siteId: string): Promise<readonly string[]>;
  /** Notes that the uploaded files of imports are gone. */
  uploadsGone(importIds: readonly string[]): Promise<void>;
  /** Forgets erasures older than any row that may still be under way. */
  expire(maxAgeMs: number): Promise<void>;
}

/** Of site, visitor (32 bytes) or import (16) or neither, time. */
const NOTE = `INSERT INTO erasures (site_id, visitor_hash, received_until) VALUES ($1, decode($2, 'hex'), to_timestamp($3::float8 / 1000))
  ON CONFLICT (site_id, visitor_hash) DO UPDATE SET received_until = CASE length(excluded.visitor_hash)
    WHEN 16 THEN LEAST(erasures.received_until, excluded.received_until) ELSE excluded.received_until END`;

export function createErasureStore(db: Database): ErasureStore {
  return {
    async of(siteIds, since = 0) {
      const rows = await db.query(
        `SELECT site_id, NULL AS visitor, NULL AS import, 'Infinity'::float8 AS until FROM site_purges WHERE site_id = ANY ($1::text[])
         UNION ALL
         SELECT site_id, CASE length(visitor_hash) WHEN 32 THEN encode(visitor_hash, 'hex') END,
           CASE length(visitor_hash) WHEN 16 THEN encode(visitor_hash, 'hex')::uuid::text END,
           (extract(epoch FROM received_until) * 1000)::float8 FROM erasures
         WHERE site_id = ANY ($1::text[]) AND received_until >= to_timestamp($2::float8 / 1000)`,
        [siteIds, since],
      );
      return rows.map((row) => {
        const importId = textOrNull(row, 'import');
        return {
          siteId: text(row, 'site_id'),
          visitorHash: textOrNull(row, 'visitor'),
          receivedUntil: number(row, 'until'),
          ...(importId === null ? {} : { importId }),
        };
      });
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

    async noteUndone(siteId, importId, receivedUntil) {
      await db.query(NOTE, [siteId, importId.replaceAll('-', ''), receivedUntil]);
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
      await db.query('DELETE FROM imports WHERE site_id = $1', [siteId]);
      const rows = await db.query('SELECT import_id FROM left_uploads WHERE site_id = $1', [siteId]);
      return rows.map((row) => text(row, 'import_id'));
    },

    async uploadsGone(importIds) {
      await db.query('DELETE FROM left_uploads WHERE import_id = ANY ($1::uuid[])', [importIds]);
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
