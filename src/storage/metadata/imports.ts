import { randomUUID } from 'node:crypto';
import type { Database } from '../postgres.js';
import { text, textOrNull } from '../row.js';
import { COLUMNS, CREATE, LOCK_OWNER, LOCK_TURNS, PLAIN_COLUMNS, TAKE } from './import-queries.js';
import {
  type ImportFormat,
  type ImportProgress,
  type ImportRecord,
  type ImportState,
  readImport,
  stateOf,
} from './import-record.js';

export type { ImportFormat, ImportProgress, ImportRecord, ImportState, RowError } from './import-record.js';

export interface NewImport {
  readonly id: string;
  readonly websiteId: string;
  readonly siteId: string;
  readonly userId: string;
  readonly format: ImportFormat;
  readonly fileName: string;
  readonly bytes: number;
  /** Of a report, which is done at once. */
  readonly report: Readonly<Record<string, unknown>> | null;
  /** Of a report: how many figures it has. */
  readonly rows: number;
}

/** How many imports a website may have that are not undone. */
export interface ImportLimits {
  readonly all: number;
  readonly reports: number;
  /** Of those with work to do. */
  readonly waiting: number;
  /** Of those with work to do, of all websites of its owner. */
  readonly ofOwner: number;
}

/** Whether who has taken an import may go on: `lost` to somebody else, or the import is `gone` with its website. */
export type Claim = 'held' | 'lost' | 'gone';

export interface TakenImport extends ImportRecord {
  readonly lease: string;
}

/** Imports and who works on them. */
export interface ImportStore {
  /** Null when the website has as many as `limits` allow. */
  create(item: NewImport, limits: ImportLimits): Promise<ImportRecord | null>;
  /** Newest first, without what reports say. */
  list(websiteId: string, limit: number): Promise<ImportRecord[]>;
  find(websiteId: string, id: string): Promise<ImportRecord | null>;
  /** Which of these ids are imports whose file is still needed. */
  unfinished(ids: readonly string[]): Promise<Set<string>>;
  /** Of which of these ids what was noted of events is still needed: to undo them, or to leave out what they have sent. */
  noteworthy(ids: readonly string[]): Promise<Set<string>>;
  /**
   * Takes an import that has work to do and that nobody holds, of a site of which nobody holds one. Accounts take turns, and the imports of
   * an account do. What was left of a site's import in the midst of the work comes before its other imports, which could count the same rows.
   * @param busy accounts whose imports are not taken at the moment
   */
  take(leaseMs: number, busy?: readonly string[]): Promise<TakenImport | null>;
  /** Ids of a site's imports that are worked on, or were left in the midst of it. @param siteId the public one */
  running(siteId: string): Promise<string[]>;
  /** Renews the lease. False when it is lost. */
  renew(id: string, lease: string, leaseMs: number): Promise<boolean>;
  /** Whether the lease is still held, whatever the clock says: nobody else has taken the import by now. */
  claim(id: string, lease: string): Promise<Claim>;
  /** Notes how far it has come. @returns the state it is in now; null when the lease is lost */
  progress(id: string, lease: string, progress: ImportProgress): Promise<ImportState | null>;
  /** Ends the work, and the lease. @returns false when the lease was lost, or (but for `undone`) when it is to be undone meanwhile */
  end(id: string, lease: string, state: 'done' | 'failed' | 'undone', error: string | null): Promise<boolean>;
  /** Ends the lease in the midst of the work: others come first, then somebody may go on, at once or after a while. */
  leave(id: string, lease: string, pauseMs: number): Promise<void>;
  /** Ends the lease between two steps of the work: also other imports of the site may come first. */
  pass(id: string, lease: string): Promise<void>;
  /** Asks for an import to be undone, in whatever state it is. @returns null when there is none */
  requestUndo(websiteId: string, id: string): Promise<ImportRecord | null>;
}

export function createImportStore(db: Database): ImportStore {
  return {
    create: ({ id, websiteId, siteId, userId, format, fileName, bytes, report, rows }, limits) =>
      db.transaction(async (tx) => {
        await tx.query(LOCK_OWNER, [websiteId]);
        const kept = [fileName, bytes, report && JSON.stringify(report), rows];
        const [row] = await tx.query(CREATE, [
          ...[id, websiteId, siteId, userId, format, ...kept],
          ...[limits.all, limits.reports, limits.waiting, limits.ofOwner],
        ]);
        return row ? readImport(row) : null;
      }),

    async list(websiteId, limit) {
      const rows = await db.query(
        `SELECT ${PLAIN_COLUMNS} FROM imports i WHERE website_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2`,
        [websiteId, limit],
      );
      return rows.map(readImport);
    },

    async find(websiteId, id) {
      const [row] = await db.query(`SELECT ${COLUMNS} FROM imports i WHERE website_id = $1 AND id = $2`, [
        websiteId,
        id,
      ]);
      return row ? readImport(row) : null;
    },

    async unfinished(ids) {
      const rows = await db.query(
        `SELECT id FROM imports WHERE id = ANY ($1::uuid[]) AND state IN ('queued', 'running', 'undoing')`,
        [ids],
      );
      return new Set(rows.map((row) => text(row, 'id')));
    },

    async noteworthy(ids) {
      const rows = await db.query(
        `SELECT id::text FROM imports WHERE id = ANY ($1::uuid[]) AND state <> 'undone'
         UNION SELECT encode(visitor_hash, 'hex')::uuid::text FROM erasures WHERE visitor_hash = ANY (
           SELECT uuid_send(id) FROM unnest($1::uuid[]) AS given (id))`,
        [ids],
      );
      return new Set(rows.map((row) => text(row, 'id')));
    },

    take: (leaseMs, busy = []) =>
      db.transaction(async (tx) => {
        await tx.query(LOCK_TURNS);
        const lease = randomUUID();
        const [row] = await tx.query(TAKE, [lease, leaseMs, busy]);
        return row ? { ...readImport(row), lease } : null;
      }),

    async renew(id, lease, leaseMs) {
      const rows = await db.query(
        `UPDATE imports SET lease_until = now() + $3::float8 * interval '1 millisecond' WHERE id = $1 AND lease = $2 RETURNING id`,
        [id, lease, leaseMs],
      );
      return rows.length > 0;
    },

    async running(siteId) {
      const rows = await db.query("SELECT id::text FROM imports WHERE site_id = $1 AND state = 'running'", [
        siteId,
      ]);
      return rows.map((row) => text(row, 'id'));
    },

    async claim(id, lease) {
      const [row] = await db.query('SELECT lease::text FROM imports WHERE id = $1', [id]);
      if (!row) return 'gone';
      return textOrNull(row, 'lease') === lease ? 'held' : 'lost';
    },

    async progress(id, lease, progress) {
      const [row] = await db.query(
        `UPDATE imports SET done_bytes = $3, chunk = $4, rows_read = $5, rows_added = $6, rows_duplicate = $7, rows_rejected = $8,
           errors = $9 WHERE id = $1 AND lease = $2 RETURNING state`,
        [
          ...[id, lease, progress.doneBytes, progress.chunk, progress.rowsRead, progress.rowsAdded],
          ...[progress.rowsDuplicate, progress.rowsRejected, JSON.stringify(progress.errors)],
        ],
      );
      return row ? stateOf(row) : null;
    },

    async end(id, lease, state, error) {
      const [row] = await db.query(
        `UPDATE imports SET state = CASE WHEN state = 'undoing' AND $3 <> 'undone' THEN state ELSE $3 END, error = $4, lease = NULL,
           report = CASE WHEN $3 = 'undone' THEN NULL ELSE report END,
           lease_until = NULL, finished_at = now(), worked_at = now() WHERE id = $1 AND lease = $2 RETURNING state`,
        [id, lease, state, error],
      );
      return row !== undefined && stateOf(row) === state;
    },

    async leave(id, lease, pauseMs) {
      await db.query(
        `UPDATE imports SET lease = NULL, lease_until = now() + $3::float8 * interval '1 millisecond', worked_at = now()
         WHERE id = $1 AND lease = $2`,
        [id, lease, pauseMs],
      );
    },

    async pass(id, lease) {
      await db.query(
        `UPDATE imports SET lease = NULL, lease_until = NULL, worked_at = now(),
           state = CASE WHEN state = 'running' THEN 'queued' ELSE state END WHERE id = $1 AND lease = $2`,
        [id, lease],
      );
    },

    async requestUndo(websiteId, id) {
      const [row] = await db.query(
        `UPDATE imports i SET state = CASE WHEN state = 'undone' THEN state ELSE 'undoing' END WHERE website_id = $1 AND id = $2
         RETURNING ${COLUMNS}`,
        [websiteId, id],
      );
      return row ? readImport(row) : null;
    },
  };
}
