import { SOURCES } from '../../events/frame.js';
import { tableNamed } from '../../events/tables.js';
import type { Database, Queryable, Row } from '../postgres.js';
import { date, text } from '../row.js';
import { QUARANTINE_PAGE_BYTES, type QuarantinedRow, type StoredQuarantinedRow } from './event-store.js';
import { bytes, storable } from './postgres-insert.js';

const COLUMNS = 'id, site_id, source, row_table, quarantined_at, reason, bytes';

/** Inserts within the caller's transaction. */
export async function addToQuarantine(tx: Queryable, entries: readonly QuarantinedRow[]): Promise<void> {
  await tx.query(
    `INSERT INTO quarantine (${COLUMNS})
     SELECT id, site_id, source, row_table, timestamptz 'epoch' + quarantined_at * interval '1 millisecond', reason, decode(bytes, 'base64')
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[]) AS entries (${COLUMNS})
     ON CONFLICT (site_id, id) DO NOTHING`,
    [
      entries.map((entry) => entry.id),
      entries.map((entry) => entry.siteId),
      entries.map((entry) => entry.source),
      entries.map((entry) => entry.table),
      entries.map((entry) => Math.floor(entry.quarantinedAt)),
      entries.map((entry) => storable(entry.reason)),
      entries.map((entry) => Buffer.from(entry.bytes).toString('base64')),
    ],
  );
}

/** See EventStore.listQuarantine. */
export async function listQuarantine(
  db: Database,
  siteId: string,
  limit: number,
  before: string | undefined,
): Promise<StoredQuarantinedRow[]> {
  const rows = await db.query(
    `WITH page AS (
       SELECT id, quarantined_at, octet_length(bytes) AS size FROM quarantine
       WHERE site_id = $1 AND (quarantined_at, id COLLATE "C") <
         (COALESCE((SELECT quarantined_at FROM quarantine WHERE site_id = $1 AND id = $2), 'infinity'), $2 COLLATE "C")
       ORDER BY quarantined_at DESC, id COLLATE "C" DESC LIMIT $3
     ), filled AS (
       SELECT id, sum(size) OVER (ORDER BY quarantined_at DESC, id COLLATE "C" DESC) - size AS ahead FROM page
     )
     SELECT ${COLUMNS} FROM quarantine WHERE site_id = $1 AND id IN (SELECT id FROM filled WHERE ahead < $4)
     ORDER BY quarantined_at DESC, id COLLATE "C" DESC`,
    [siteId, before ?? '', limit, QUARANTINE_PAGE_BYTES],
  );
  return rows.map(fromRow);
}

/** See EventStore.quarantined. */
export async function quarantined(
  db: Database,
  siteId: string,
  ids: readonly string[],
): Promise<StoredQuarantinedRow[]> {
  const rows = await db.query(
    `SELECT ${COLUMNS} FROM quarantine WHERE site_id = $1 AND id = ANY($2::text[])`,
    [siteId, ids],
  );
  return rows.map(fromRow);
}

/** See EventStore.takeQuarantined. */
export async function takeQuarantined(
  db: Database,
  siteId: string,
  ids: readonly string[],
): Promise<StoredQuarantinedRow[]> {
  const rows = await db.query(
    `DELETE FROM quarantine WHERE site_id = $1 AND id = ANY($2::text[]) RETURNING ${COLUMNS}`,
    [siteId, ids],
  );
  return rows.map(fromRow);
}

const fromRow = (row: Row): StoredQuarantinedRow => ({
  id: text(row, 'id'),
  siteId: text(row, 'site_id'),
  source: SOURCES.find((known) => known === text(row, 'source')) ?? 'event',
  table: tableNamed(text(row, 'row_table')) ?? 'events',
  quarantinedAt: date(row, 'quarantined_at').getTime(),
  reason: text(row, 'reason'),
  bytes: bytes(row, 'bytes'),
});
