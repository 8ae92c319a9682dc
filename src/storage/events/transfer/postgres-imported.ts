import type { Telemetry } from '../../../telemetry.js';
import type { AddedRow, ImportedRows } from '../../../transfer/imported-rows.js';
import { openPostgres } from '../../postgres.js';
import { text } from '../../row.js';
import { storeError } from '../postgres-insert.js';

/** Events of one statement: their removal stays far below the time that a statement may take. */
const UNDO_ROWS = 5_000;

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
        for (let left = UNDO_ROWS; left === UNDO_ROWS; ) {
          const gone = await db.query(
            `WITH noted AS (
               SELECT chunk, event_id FROM import_rows WHERE site_id = $1 AND import_id = $2 LIMIT ${UNDO_ROWS}
             ), human AS (
               DELETE FROM events e USING noted n WHERE e.site_id = $1 AND e.event_id = n.event_id
             ), bots AS (
               DELETE FROM bot_events e USING noted n WHERE e.site_id = $1 AND e.event_id = n.event_id
             )
             DELETE FROM import_rows r USING noted n
             WHERE r.site_id = $1 AND r.import_id = $2 AND r.chunk = n.chunk AND r.event_id = n.event_id RETURNING r.chunk`,
            [siteId, importId],
          );
          left = gone.length;
        }
      }),

    close: () => db.close(),
  };
}
