import type { Telemetry } from '../../../telemetry.js';
import type { AddedRow, ImportedRows } from '../../../transfer/imported-rows.js';
import { openPostgres } from '../../postgres.js';
import { number, text } from '../../row.js';
import { storeError } from '../postgres-insert.js';

/** Events of one statement: their removal stays far below the time that a statement may take. */
const UNDO_ROWS = 5_000;
const FIRST_ID = '00000000-0000-0000-0000-000000000000';

export interface PostgresImportedOptions {
  readonly url: string;
  readonly maxConnections: number;
  readonly minConnections: number;
  readonly telemetry: Telemetry;
}

/** Which events imports have added, in Postgres. There are no rollups to mend. */
export function createPostgresImported(options: PostgresImportedOptions): ImportedRows {
  const db = openPostgres({ ...options, maxConnections: 2, minConnections: 0, name: 'imported' });
  const attempt = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw storeError(error);
    }
  };
  return {
    noted: (siteId, importId, chunk) =>
      attempt(async () => {
        const rows = await db.query(
          `SELECT encode(uuid_send(event_id), 'hex') AS id FROM import_rows WHERE site_id = $1 AND import_id = $2 AND chunk = $3`,
          [siteId, importId, chunk],
        );
        return new Set(rows.map((row) => text(row, 'id')));
      }),

    note: (siteId: string, importId: string, chunk: number, rows: readonly AddedRow[]) =>
      attempt(async () => {
        await db.query(
          `INSERT INTO import_rows (site_id, import_id, chunk, event_id, visitor_id)
           SELECT $1, $2, $3, event_id, visitor_id FROM unnest($4::uuid[], $5::text[]) AS added (event_id, visitor_id)
           ON CONFLICT DO NOTHING`,
          [siteId, importId, chunk, rows.map(({ id }) => id), rows.map(({ visitorId }) => visitorId)],
        );
      }),

    undo: (siteId, importId) =>
      attempt(async () => {
        let after: readonly unknown[] | null = [-1, FIRST_ID];
        while (after !== null) {
          const [last] = await db.query(
            `WITH noted AS (
               SELECT chunk, event_id FROM import_rows WHERE site_id = $1 AND import_id = $2
                 AND (chunk, event_id) > ($3::integer, $4::uuid) ORDER BY chunk, event_id LIMIT ${UNDO_ROWS}
             ), human AS (
               DELETE FROM events e USING noted n WHERE e.site_id = $1 AND e.event_id = n.event_id
             ), bots AS (
               DELETE FROM bot_events e USING noted n WHERE e.site_id = $1 AND e.event_id = n.event_id
             )
             SELECT chunk, event_id::text AS id FROM noted ORDER BY noted.chunk DESC, noted.event_id DESC LIMIT 1`,
            [siteId, importId, ...after],
          );
          after = last === undefined ? null : [number(last, 'chunk'), text(last, 'id')];
        }
      }),

    added: (siteId, importIds, ids) =>
      attempt(async () => {
        const rows = await db.query(
          `SELECT DISTINCT encode(uuid_send(event_id), 'hex') AS id FROM import_rows
           WHERE site_id = $1 AND import_id = ANY ($2::uuid[]) AND event_id = ANY ($3::uuid[])`,
          [siteId, importIds, ids],
        );
        return new Set(rows.map((row) => text(row, 'id')));
      }),

    imports: () =>
      attempt(async () => {
        const rows = await db.query('SELECT DISTINCT site_id, import_id FROM import_rows', []);
        return rows.map((row) => ({ siteId: text(row, 'site_id'), importId: text(row, 'import_id') }));
      }),

    forget: (siteId, importId) =>
      attempt(async () => {
        for (let left = UNDO_ROWS; left === UNDO_ROWS; ) {
          const gone = await db.query(
            `DELETE FROM import_rows WHERE ctid = ANY (ARRAY(
               SELECT ctid FROM import_rows WHERE site_id = $1 AND import_id = $2 LIMIT ${UNDO_ROWS}))
             RETURNING chunk`,
            [siteId, importId],
          );
          left = gone.length;
        }
      }),

    close: () => db.close(),
  };
}
