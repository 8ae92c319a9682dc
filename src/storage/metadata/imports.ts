import { randomUUID } from 'node:crypto';
import type { Database, Row } from '../postgres.js';
import { date, dateOrNull, isRecord, number, text, textOrNull } from '../row.js';

export type ImportFormat = 'csv' | 'ndjson' | 'report';
export type ImportState = 'queued' | 'running' | 'done' | 'failed' | 'undoing' | 'undone';

/** How far an import has come. */
export interface ImportProgress {
  /** Bytes of the file's text that are done: its next row begins there. */
  readonly doneBytes: number;
  /** Number of the chunk that is next. */
  readonly chunk: number;
  readonly rowsRead: number;
  readonly rowsAdded: number;
  readonly rowsDuplicate: number;
  readonly rowsRejected: number;
  /** The first of the rejected rows. */
  readonly errors: readonly RowError[];
}

export interface RowError {
  /** Number of the row, from 1, the header not counted. */
  readonly row: number;
  readonly error: string;
}

export interface ImportRecord extends ImportProgress {
  /** UUID. */
  readonly id: string;
  readonly websiteId: string;
  readonly siteId: string;
  readonly userId: string | null;
  readonly format: ImportFormat;
  readonly fileName: string;
  readonly state: ImportState;
  /** Bytes of the file's text. */
  readonly bytes: number;
  readonly error: string | null;
  readonly report: Readonly<Record<string, unknown>> | null;
  readonly createdAt: Date;
  readonly finishedAt: Date | null;
}

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
   */
  take(leaseMs: number): Promise<TakenImport | null>;
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

const PLAIN_COLUMNS = `i.id, i.website_id, i.site_id, i.user_id, i.format, i.file_name, i.state, i.bytes::float8, i.done_bytes::float8, i.chunk,
  i.rows_read::float8, i.rows_added::float8, i.rows_duplicate::float8, i.rows_rejected::float8, i.errors, i.error, i.created_at,
  i.finished_at`;
const COLUMNS = `${PLAIN_COLUMNS}, i.report`;

// The owner's row is locked first, so that imports begun at the same time are counted one after the other.
const LOCK_OWNER =
  'SELECT u.id FROM users u JOIN websites w ON w.user_id = u.id WHERE w.id = $1 FOR NO KEY UPDATE OF u';

const CREATE = `INSERT INTO imports AS i (id, website_id, site_id, user_id, format, file_name, state, bytes, report, rows_read, rows_added,
    finished_at)
  SELECT $1::uuid, $2::uuid, $3::text, $4::uuid, $5::text, $6::text, CASE WHEN $8::jsonb IS NULL THEN 'queued' ELSE 'done' END, $7::bigint,
    $8::jsonb, $9::bigint, $9::bigint, CASE WHEN $8::jsonb IS NULL THEN NULL ELSE now() END
  FROM (SELECT count(*) AS kept, count(*) FILTER (WHERE format = 'report') AS reports,
      count(*) FILTER (WHERE state IN ('queued', 'running', 'undoing')) AS waiting
    FROM imports WHERE website_id = $2::uuid AND state <> 'undone') present,
    (SELECT count(*) AS of_owner FROM imports WHERE state IN ('queued', 'running', 'undoing') AND website_id IN
      (SELECT id FROM websites WHERE user_id = (SELECT user_id FROM websites WHERE id = $2::uuid))) others
  WHERE kept < $10::bigint AND (reports < $11::bigint OR $5::text <> 'report') AND waiting < $12::bigint
    AND of_owner < $13::bigint
  RETURNING ${COLUMNS}`;

// One node at a time, so that two cannot take imports of one site.
const LOCK_TURNS = "SELECT pg_advisory_xact_lock(hashtext('seentics_import_turns'))";

// Undoings first; then accounts that have none under way, and of those the one that had the last turn longest ago; then so its imports.
const TAKE = `WITH held AS (
    SELECT website_id, user_id FROM imports WHERE lease IS NOT NULL AND lease_until > now()
  ), due AS (
    SELECT id FROM imports i WHERE state IN ('queued', 'running', 'undoing') AND (lease_until IS NULL OR lease_until <= now())
      AND website_id NOT IN (SELECT website_id FROM held)
      AND NOT (state = 'queued' AND EXISTS (
        SELECT FROM imports o WHERE o.website_id = i.website_id AND o.state IN ('running', 'undoing')))
    ORDER BY state = 'undoing' DESC, EXISTS (SELECT FROM held h WHERE h.user_id = i.user_id),
      (SELECT max(o.worked_at) FROM imports o WHERE o.user_id = i.user_id) NULLS FIRST, worked_at NULLS FIRST, created_at
    LIMIT 1 FOR UPDATE SKIP LOCKED
  )
  UPDATE imports i SET lease = $1, lease_until = now() + $2::float8 * interval '1 millisecond',
    state = CASE WHEN state = 'undoing' THEN state ELSE 'running' END
  FROM due WHERE i.id = due.id RETURNING ${COLUMNS}`;

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

    take: (leaseMs) =>
      db.transaction(async (tx) => {
        await tx.query(LOCK_TURNS);
        const lease = randomUUID();
        const [row] = await tx.query(TAKE, [lease, leaseMs]);
        return row ? { ...readImport(row), lease } : null;
      }),

    async renew(id, lease, leaseMs) {
      const rows = await db.query(
        `UPDATE imports SET lease_until = now() + $3::float8 * interval '1 millisecond' WHERE id = $1 AND lease = $2 RETURNING id`,
        [id, lease, leaseMs],
      );
      return rows.length > 0;
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

function readImport(row: Row): ImportRecord {
  const format = text(row, 'format');
  const report = row.report;
  return {
    id: text(row, 'id'),
    websiteId: text(row, 'website_id'),
    siteId: text(row, 'site_id'),
    userId: textOrNull(row, 'user_id'),
    format: format === 'csv' || format === 'report' ? format : 'ndjson',
    fileName: text(row, 'file_name'),
    state: stateOf(row),
    bytes: number(row, 'bytes'),
    doneBytes: number(row, 'done_bytes'),
    chunk: number(row, 'chunk'),
    rowsRead: number(row, 'rows_read'),
    rowsAdded: number(row, 'rows_added'),
    rowsDuplicate: number(row, 'rows_duplicate'),
    rowsRejected: number(row, 'rows_rejected'),
    errors: errorsOf(row),
    error: textOrNull(row, 'error'),
    report: isRecord(report) ? report : null,
    createdAt: date(row, 'created_at'),
    finishedAt: dateOrNull(row, 'finished_at'),
  };
}

const STATES: readonly ImportState[] = ['queued', 'running', 'done', 'failed', 'undoing', 'undone'];

function stateOf(row: Row): ImportState {
  const state = text(row, 'state');
  const known = STATES.find((it) => it === state);
  if (known === undefined) throw new TypeError(`column state: ${state}`);
  return known;
}

function errorsOf(row: Row): RowError[] {
  const list: readonly unknown[] = Array.isArray(row.errors) ? row.errors : [];
  return list.filter(isRecord).map((item) => ({ row: number(item, 'row'), error: text(item, 'error') }));
}
