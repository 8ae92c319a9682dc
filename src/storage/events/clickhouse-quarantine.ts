import { SOURCES } from '../../events/frame.js';
import { tableNamed } from '../../events/tables.js';
import type { Clickhouse } from '../clickhouse.js';
import { renderMigration } from '../clickhouse-sql.js';
import { attempt, storeError } from './clickhouse-insert.js';
import { ask } from './clickhouse-statements.js';
import { QUARANTINE_PAGE_BYTES, type QuarantinedRow, type StoredQuarantinedRow } from './event-store.js';
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

/** See EventStore.listQuarantine. Sizes first: the rows themselves may be too many to hold. */
export async function listQuarantine(
  clickhouse: Clickhouse,
  siteId: string,
  limit: number,
  before: string | undefined,
): Promise<StoredQuarantinedRow[]> {
  const [cursor] =
    before === undefined
      ? []
      : await attempt(() =>
          ask<[string]>(clickhouse, `SELECT ${AT} ${OF_SITE} AND id = {before:String}`, {
            site: siteId,
            before,
          }),
        );
  const behind =
    cursor === undefined
      ? ''
      : `AND (quarantined_at, id) < (fromUnixTimestamp64Milli({at:Int64}, 'UTC'), {before:String})`;
  const page = `${behind} ORDER BY quarantined_at DESC, id DESC LIMIT {limit:UInt32}`;
  const parameters = { site: siteId, at: cursor?.[0] ?? '0', before: before ?? '' };
  const sizes = await attempt(() =>
    ask<[string]>(clickhouse, `SELECT toString(length(bytes)) ${OF_SITE} ${page}`, { ...parameters, limit }),
  );
  let rows = 0;
  for (let bytes = 0; rows < sizes.length && bytes < QUARANTINE_PAGE_BYTES; rows++)
    bytes += Number(sizes[rows]?.[0]);
  return rows === 0 ? [] : select(clickhouse, page, { ...parameters, limit: rows });
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

const AT = 'toString(toUnixTimestamp64Milli(quarantined_at))';
const OF_SITE = 'FROM quarantine WHERE site_id = {site:String}';

const select = async (
  clickhouse: Clickhouse,
  condition: string,
  parameters: Record<string, unknown>,
): Promise<StoredQuarantinedRow[]> => {
  const query = `SELECT id, site_id, source, row_table, ${AT}, reason, base64Encode(bytes) ${OF_SITE} ${condition}`;
  const options = { signal: AbortSignal.timeout(TIMEOUT_MS) };
  return (await attempt(() => ask<Line>(clickhouse, query, parameters, options))).map(fromLine);
};

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
