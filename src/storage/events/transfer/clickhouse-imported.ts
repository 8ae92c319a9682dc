import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { AddedRow, ImportedRows } from '../../../transfer/imported-rows.js';
import { type Clickhouse, type ClickhouseOptions, openClickhouse } from '../../clickhouse.js';
import { STATEMENT_TIMEOUT_MS } from '../../clickhouse-migrations.js';
import { deleteRows } from '../clickhouse-deletion.js';
import { attempt } from '../clickhouse-insert.js';
import { viewQuery } from '../clickhouse-repair.js';
import { RowBinaryWriter } from '../row-binary.js';

const NOTE_TIMEOUT_MS = 30_000;

const OWN = 'site_id = {site:String} AND import_id = {import:String}';

/** Which events imports have added, in ClickHouse. */
export function createClickhouseImported(options: ClickhouseOptions): ImportedRows {
  const clickhouse = openClickhouse({ requestTimeoutMs: STATEMENT_TIMEOUT_MS, ...options });
  return {
    noted: (siteId, importId, chunk) => attempt(() => noted(clickhouse, siteId, importId, chunk)),
    note: (siteId, importId, chunk, rows) => attempt(() => note(clickhouse, siteId, importId, chunk, rows)),
    undo: (siteId, importId) => attempt(() => undo(clickhouse, siteId, importId)),
    close: () => clickhouse.close(),
  };
}

async function noted(
  { client }: Clickhouse,
  siteId: string,
  importId: string,
  chunk: number,
): Promise<Set<string>> {
  const answer = await client.query({
    query: `SELECT lower(hex(event_id)) FROM import_rows WHERE ${OWN} AND chunk = {chunk:UInt32}`,
    query_params: { site: siteId, import: importId, chunk },
    format: 'JSONCompactEachRow',
    abort_signal: AbortSignal.timeout(NOTE_TIMEOUT_MS),
  });
  return new Set((await answer.json<[string]>()).map(([id]) => id));
}

/** A chunk may be noted in two steps. */
function hashOf(rows: readonly AddedRow[]): string {
  const hash = createHash('sha256');
  for (const { id } of rows) hash.update(id);
  return hash.digest('hex').slice(0, 32);
}

async function note(
  { client, cluster }: Clickhouse,
  siteId: string,
  importId: string,
  chunk: number,
  rows: readonly AddedRow[],
): Promise<void> {
  if (rows.length === 0) return;
  const body = Readable.from(rows.map(binary), { objectMode: false });
  try {
    const { stream } = await client.exec({
      query: `INSERT INTO import_rows SELECT {site:String}, {import:String}, {chunk:UInt32}, unhex(id), toStartOfFifteenMinutes(at),
          cityHash64(session_id), cityHash64(visitor_id)
        FROM input('id String, at DateTime64(3, ''UTC''), session_id String, visitor_id String') FORMAT RowBinary`,
      query_params: { site: siteId, import: importId, chunk },
      values: body,
      abort_signal: AbortSignal.timeout(NOTE_TIMEOUT_MS),
      clickhouse_settings: {
        async_insert: 0,
        insert_deduplicate: 1,
        insert_deduplication_token: `import-${importId}-${chunk}-${hashOf(rows)}`,
        max_execution_time: NOTE_TIMEOUT_MS / 1_000,
        max_insert_block_size: '1048449',
        min_insert_block_size_rows: '1048449',
        wait_end_of_query: 1,
        ...(cluster === undefined ? {} : { insert_distributed_sync: 1 }),
      },
    });
    for await (const _ of stream) {
      // An insert answers nothing; reading to the end frees the socket.
    }
  } finally {
    body.destroy();
  }
}

const binary = ({ id, timestamp, sessionId, visitorId }: AddedRow): Uint8Array =>
  new RowBinaryWriter().text(id).ms(timestamp).text(sessionId).text(visitorId).finish();

/**
 * The notes go last: they tell which sessions of which quarters of an hour the rollup has to be made anew for. Live events of the same
 * session in the same quarter of an hour must not come meanwhile; imported ones are of the past as a rule.
 */
async function undo(clickhouse: Clickhouse, siteId: string, importId: string): Promise<void> {
  const parameters = { site: siteId, import: importId };
  const own = (table: string): string => (clickhouse.cluster === undefined ? table : `${table}_local`);
  const notes = own('import_rows');
  const events = `site_id = {site:String} AND event_id IN (SELECT event_id FROM ${notes} WHERE ${OWN})`;
  const slots = `site_id = {site:String} AND (slot, session) IN (SELECT slot, session FROM ${notes} WHERE ${OWN})`;
  await deleteRows(clickhouse, [own('events'), own('bot_events')], events, parameters);
  await deleteRows(clickhouse, [own('session_slots')], slots, parameters);
  const view = (await viewQuery(clickhouse)).replaceAll(/\bevents_local\b/g, 'events');
  const ofSlots = slots.replace(`FROM ${notes}`, 'FROM import_rows');
  await clickhouse.client.command({
    query: `INSERT INTO session_slots SELECT * FROM (${view}) WHERE ${ofSlots}`,
    query_params: parameters,
    abort_signal: AbortSignal.timeout(STATEMENT_TIMEOUT_MS),
    clickhouse_settings: {
      wait_end_of_query: 1,
      max_partitions_per_insert_block: '0',
      // The same rows may have been there before they were deleted: they are no duplicates.
      insert_deduplicate: 0,
    },
  });
  await deleteRows(clickhouse, [notes], OWN, parameters);
}
