import { SOURCES } from '../../events/frame.js';
import { tableNamed } from '../../events/tables.js';
import type { Clickhouse } from '../clickhouse.js';
import { renderMigration } from '../clickhouse-sql.js';
import { storeError } from './clickhouse-insert.js';
import type { QuarantinedRow, StoredQuarantinedRow } from './event-store.js';
import { RowBinaryWriter } from './row-binary.js';

const TIMEOUT_MS = 30_000;
const IDS_A_QUERY = 1_000;
const OF_IDS = 'AND id IN {ids:Array(String)}';

/** A row as it is selected below. */
type Line = [
  id: string,
  siteId: string,
  source: string,
  table: string,
  quarantinedAtMs: string,
  reason: string,
  base64: string,
];

/** Row bytes of the table `quarantine`. */
export function quarantineBytes(entries: readonly QuarantinedRow[]): Uint8Array[] {
  return entries.map((entry) =>
    new RowBinaryWriter()
      .text(entry.id)
      .text(entry.siteId)
      .text(entry.source)
      .text(entry.table)
      .ms(entry.quarantinedAt)
      .text(entry.reason)
      .bytes(entry.bytes)
      .finish(),
  );
}

/** See EventStore.listQuarantine. */
export async function listQuarantine(
  clickhouse: Clickhouse,
  siteId: string,
  limit: number,
  before: string | undefined,
): Promise<StoredQuarantinedRow[]> {
  const [cursor] =
    before === undefined
      ? []
      : await select(clickhouse, 'AND id = {before:String}', { site: siteId, before });
  const page = 'ORDER BY quarantined_at DESC, id DESC LIMIT {limit:UInt32}';
  if (cursor === undefined) return select(clickhouse, page, { site: siteId, limit });
  return select(
    clickhouse,
    `AND (quarantined_at, id) < (fromUnixTimestamp64Milli({at:Int64}, 'UTC'), {before:String}) ${page}`,
    { site: siteId, limit, at: cursor.quarantinedAt, before: cursor.id },
  );
}

/** See EventStore.quarantined. */
export async function quarantined(
  clickhouse: Clickhouse,
  siteId: string,
  ids: readonly string[],
): Promise<StoredQuarantinedRow[]> {
  const found: StoredQuarantinedRow[] = [];
  for (let start = 0; start < ids.length; start += IDS_A_QUERY) {
    const parameters = { site: siteId, ids: ids.slice(start, start + IDS_A_QUERY) };
    found.push(...(await select(clickhouse, OF_IDS, parameters)));
  }
  return found;
}

/** See EventStore.takeQuarantined. */
export async function takeQuarantined(
  clickhouse: Clickhouse,
  siteId: string,
  ids: readonly string[],
): Promise<StoredQuarantinedRow[]> {
  const taken: StoredQuarantinedRow[] = [];
  for (let start = 0; start < ids.length; start += IDS_A_QUERY) {
    const parameters = { site: siteId, ids: ids.slice(start, start + IDS_A_QUERY) };
    const rows = await select(clickhouse, OF_IDS, parameters);
    if (rows.length > 0) await remove(clickhouse, parameters);
    taken.push(...rows);
  }
  return taken;
}

async function select(
  { client }: Clickhouse,
  condition: string,
  parameters: Record<string, unknown>,
): Promise<StoredQuarantinedRow[]> {
  try {
    const answer = await client.query({
      query: `SELECT id, site_id, source, row_table, toString(toUnixTimestamp64Milli(quarantined_at)), reason, base64Encode(bytes)
              FROM quarantine WHERE site_id = {site:String} ${condition}`,
      query_params: parameters,
      format: 'JSONCompactEachRow',
      use_multipart_params: true,
      abort_signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return (await answer.json<Line>()).map(fromLine);
  } catch (error) {
    throw storeError(error);
  }
}

async function remove(clickhouse: Clickhouse, parameters: Record<string, unknown>): Promise<void> {
  const table = renderMigration('{{table:quarantine}} {{on_cluster}}', clickhouse.cluster);
  try {
    await clickhouse.client.command({
      query: `DELETE FROM ${table} WHERE site_id = {site:String} AND id IN {ids:Array(String)}`,
      query_params: parameters,
      use_multipart_params: true,
      clickhouse_settings: { lightweight_deletes_sync: '2', wait_end_of_query: 1 },
      abort_signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    throw storeError(error);
  }
}

function fromLine([id, siteId, source, table, at, reason, bytes]: Line): StoredQuarantinedRow {
  return {
    id,
    siteId,
    source: SOURCES.find((known) => known === source) ?? 'event',
    table: tableNamed(table) ?? 'events',
    quarantinedAt: Number(at),
    reason,
    bytes: Buffer.from(bytes, 'base64'),
  };
}
