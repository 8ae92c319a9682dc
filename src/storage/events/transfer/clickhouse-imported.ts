import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { AddedRow, ImportedRows } from '../../../transfer/imported-rows.js';
import { type Clickhouse, type ClickhouseOptions, openClickhouse } from '../../clickhouse.js';
import { drained } from '../../clickhouse-body.js';
import { STATEMENT_TIMEOUT_MS } from '../../clickhouse-migrations.js';
import { deleteRows } from '../clickhouse-deletion.js';
import { attempt } from '../clickhouse-insert.js';
import { repairImported, UNDER_WAY_MS, viewQuery } from '../clickhouse-repair.js';
import { ask, change, inParts, MADE_ANEW } from '../clickhouse-statements.js';
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
    added: (siteId, importIds, ids) => attempt(() => added(clickhouse, siteId, importIds, ids)),
    imports: () => attempt(() => imports(clickhouse)),
    forget: (siteId, importId) =>
      attempt(async () => {
        const parameters = { site: siteId, import: importId };
        await deleteRows(clickhouse, [own(clickhouse, 'import_rows')], OWN, parameters);
      }),
    close: () => clickhouse.close(),
  };
}

async function noted(
  clickhouse: Clickhouse,
  siteId: string,
  importId: string,
  chunk: number,
): Promise<Set<string>> {
  const found = await ask<[string]>(
    clickhouse,
    `SELECT lower(hex(event_id)) FROM import_rows WHERE ${OWN} AND chunk = {chunk:UInt32}`,
    { site: siteId, import: importId, chunk },
    { signal: AbortSignal.timeout(NOTE_TIMEOUT_MS) },
  );
  return new Set(found.map(([id]) => id));
}

async function added(
  clickhouse: Clickhouse,
  siteId: string,
  importIds: readonly string[],
  ids: readonly string[],
): Promise<Set<string>> {
  const found = new Set<string>();
  for (const part of inParts(ids)) {
    const some = await ask<[string]>(
      clickhouse,
      `SELECT DISTINCT lower(hex(event_id)) FROM import_rows WHERE site_id = {site:String} AND import_id IN {imports:Array(String)}
        AND event_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))`,
      { site: siteId, imports: importIds, ids: part },
      { signal: AbortSignal.timeout(NOTE_TIMEOUT_MS) },
    );
    for (const [id] of some) found.add(id);
  }
  return found;
}

async function imports(clickhouse: Clickhouse): Promise<{ siteId: string; importId: string }[]> {
  const found = await ask<[string, string]>(
    clickhouse,
    'SELECT site_id, import_id FROM import_rows GROUP BY site_id, import_id',
    {},
    { settings: { optimize_aggregation_in_order: 1 } },
  );
  return found.map(([siteId, importId]) => ({ siteId, importId }));
}

/** A chunk may be noted in two steps. */
function hashOf(rows: readonly AddedRow[]): string {
  const hash = createHash('sha256');
  for (const { id } of rows) hash.update(id);
  return hash.digest('hex').slice(0, 32);
}

async function note(
  { client }: Clickhouse,
  siteId: string,
  importId: string,
  chunk: number,
  rows: readonly AddedRow[],
): Promise<void> {
  if (rows.length === 0) return;
  const signal = AbortSignal.timeout(NOTE_TIMEOUT_MS);
  const body = Readable.from(rows.map(binary), { objectMode: false });
  try {
    const { stream } = await client.exec({
      query: `INSERT INTO import_rows SELECT {site:String}, {import:String}, {chunk:UInt32}, unhex(id), toStartOfFifteenMinutes(at),
          cityHash64(session_id), cityHash64(visitor_id)
        FROM input('id String, at DateTime64(3, ''UTC''), session_id String, visitor_id String') FORMAT RowBinary`,
      query_params: { site: siteId, import: importId, chunk },
      values: body,
      abort_signal: signal,
      clickhouse_settings: {
        async_insert: 0,
        insert_deduplicate: 1,
        insert_deduplication_token: `import-${importId}-${chunk}-${hashOf(rows)}`,
        max_execution_time: NOTE_TIMEOUT_MS / 1_000,
        max_insert_block_size: '1048449',
        min_insert_block_size_rows: '1048449',
        wait_end_of_query: 1,
      },
    });
    await drained(stream, signal);
  } finally {
    body.destroy();
  }
}

const binary = ({ id, timestamp, sessionId, visitorId }: AddedRow): Uint8Array =>
  new RowBinaryWriter().text(id).ms(timestamp).text(sessionId).text(visitorId).finish();

/** The table that holds rows itself. */
const own = ({ cluster }: Clickhouse, table: string): string =>
  cluster === undefined ? table : `${table}_local`;

/** Number of no chunk. */
const LATER = 0xffff_ffff;

/**
 * The notes tell which sessions of which quarters of an hour the rollup has to be made anew for. Live events of these that come meanwhile count
 * twice until both are compared; imported ones are of the past as a rule.
 */
async function undo(clickhouse: Clickhouse, siteId: string, importId: string): Promise<void> {
  const parameters = { site: siteId, import: importId };
  const notes = own(clickhouse, 'import_rows');
  const events = `site_id = {site:String} AND event_id IN (SELECT event_id FROM ${notes} WHERE ${OWN})`;
  const slots = `site_id = {site:String} AND (slot, session) IN (SELECT slot, session FROM ${notes} WHERE ${OWN})`;
  // Of sites that were made anonymous the sessions are others than those that were noted.
  await change(
    clickhouse,
    `INSERT INTO import_rows
     SELECT site_id, {import:String}, ${LATER}, event_id, toStartOfFifteenMinutes(timestamp) AS at, cityHash64(session_id) AS id, 0 FROM events
     WHERE site_id = {site:String} AND event_id GLOBAL IN (SELECT event_id FROM import_rows WHERE ${OWN})
       AND (at, id) GLOBAL NOT IN (SELECT slot, session FROM import_rows WHERE ${OWN})`,
    parameters,
    { settings: MADE_ANEW },
  );
  await deleteRows(
    clickhouse,
    [own(clickhouse, 'events'), own(clickhouse, 'bot_events')],
    events,
    parameters,
  );
  await deleteRows(clickhouse, [own(clickhouse, 'session_slots')], slots, parameters);
  const view = (await viewQuery(clickhouse)).replaceAll(/\bevents_local\b/g, 'events');
  const ofSlots = slots.replace(`FROM ${notes}`, 'FROM import_rows');
  const receivedSince = Date.now() - UNDER_WAY_MS;
  await change(clickhouse, `INSERT INTO session_slots SELECT * FROM (${view}) WHERE ${ofSlots}`, parameters, {
    settings: MADE_ANEW,
  });
  if (clickhouse.cluster === undefined) await repairImported(clickhouse, siteId, importId, receivedSince);
}
