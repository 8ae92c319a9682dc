import { partitionOf } from '../../events/partition.js';
import { copyTables, ROW_TABLES, type RowTable } from '../../events/tables.js';
import type { Clickhouse } from '../clickhouse.js';
import { inTime } from '../clickhouse-body.js';
import { attempt, storeError } from './clickhouse-insert.js';
import { ask } from './clickhouse-statements.js';
import type { IdCandidates } from './event-store.js';

/** Ids of one query: their text stays below the 128 KiB that the server takes as one parameter. */
const IDS_A_QUERY = 2_000;
const ID_BYTES = 16;

/** A look-up ends after this time, so that a server that hangs reads as unavailable. */
const LOOKUP_TIMEOUT_MS = 30_000;

/** What one query asks for. */
interface Chunk {
  readonly tables: readonly RowTable[];
  readonly sites: Set<string>;
  readonly ids: Set<string>;
  /** `site id`, because the query itself finds any id with any site. */
  readonly pairs: Set<string>;
  /** Widest time range of the candidates; undefined: any time. */
  range: { from: number; to: number } | undefined;
}

/** See EventStore.existingIds. */
export async function existingIds(
  clickhouse: Clickhouse,
  candidates: readonly IdCandidates[],
): Promise<Set<string>> {
  const found = new Set<string>();
  for (const chunk of chunksOf(candidates))
    for (const [site, id] of await query(clickhouse, chunk))
      if (chunk.pairs.has(`${site} ${id}`)) found.add(id);
  return found;
}

/**
 * Candidates of other tables do not share a query, nor do those with a time range and those without: the latter read the site's whole
 * history.
 */
function* chunksOf(candidates: readonly IdCandidates[]): Generator<Chunk> {
  const open = new Map<string, Chunk>();
  for (const { siteId, table, ids, from, to } of candidates) {
    const range = from === undefined || to === undefined ? undefined : { from, to };
    const tables = copyTables(table);
    const key = `${tables.join()} ${range !== undefined}`;
    for (const id of ids) {
      let chunk = open.get(key);
      if (!chunk) {
        chunk = { tables, sites: new Set(), ids: new Set(), pairs: new Set(), range: range && { ...range } };
        open.set(key, chunk);
      }
      const hex = Buffer.from(id.buffer, id.byteOffset, ID_BYTES).toString('hex');
      chunk.sites.add(siteId);
      chunk.ids.add(hex);
      chunk.pairs.add(`${siteId} ${hex}`);
      if (chunk.range && range) {
        chunk.range.from = Math.min(chunk.range.from, range.from);
        chunk.range.to = Math.max(chunk.range.to, range.to);
      }
      if (chunk.ids.size >= IDS_A_QUERY) {
        open.delete(key);
        yield chunk;
      }
    }
  }
  yield* open.values();
}

function query(clickhouse: Clickhouse, chunk: Chunk): Promise<[string, string][]> {
  // Only an IN over a subquery makes use of the bloom filter here; both time conditions prune by the primary key.
  const time =
    chunk.range === undefined
      ? ''
      : ` AND timestamp BETWEEN fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND fromUnixTimestamp64Milli({to:Int64}, 'UTC')
          AND toDate(timestamp) BETWEEN toDate(fromUnixTimestamp64Milli({from:Int64}, 'UTC')) AND toDate(fromUnixTimestamp64Milli({to:Int64}, 'UTC'))`;
  const selects = chunk.tables.map(
    (table) =>
      `SELECT site_id, lower(hex(event_id)) AS id FROM ${table}
       WHERE site_id IN {sites:Array(String)}
         AND event_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), ${ID_BYTES}))${time}`,
  );
  const parameters = { sites: [...chunk.sites], ids: [...chunk.ids], ...chunk.range };
  return attempt(() =>
    ask<[string, string]>(clickhouse, selects.join(' UNION ALL '), parameters, {
      signal: AbortSignal.timeout(LOOKUP_TIMEOUT_MS),
      settings: { max_execution_time: LOOKUP_TIMEOUT_MS / 1_000 },
    }),
  );
}

/** See EventStore.recentIds. */
export async function recentIds(
  { client }: Clickhouse,
  partition: number,
  partitions: number,
  since: number,
  limit: number,
): Promise<Uint8Array[] | null> {
  // partitionOf in SQL for ids of our own form; ids of any other form come along and are told apart here.
  const selects = ROW_TABLES.map(
    (table) =>
      `SELECT event_id, if(match(site_id, '^[0-9a-f]{8,}$'), '', site_id) AS odd_site FROM ${table}
       WHERE received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
         AND (odd_site != '' OR reinterpretAsUInt32(reverse(unhex(right(site_id, 8)))) % {partitions:UInt32} = {partition:UInt32})`,
  );
  const signal = AbortSignal.timeout(LOOKUP_TIMEOUT_MS);
  try {
    const { stream } = await client.exec({
      query: `SELECT * FROM (${selects.join(' UNION ALL ')}) LIMIT {limit:UInt64} FORMAT RowBinary`,
      query_params: { since: Math.floor(since), partition, partitions, limit: limit + 1 },
      abort_signal: signal,
      clickhouse_settings: { max_execution_time: LOOKUP_TIMEOUT_MS / 1_000, wait_end_of_query: 1 },
    });
    const pieces: Buffer[] = [];
    for await (const piece of inTime<Buffer>(stream, signal)) pieces.push(Buffer.from(piece));
    return readIds(Buffer.concat(pieces), limit, (site) => partitionOf(site, partitions) === partition);
  } catch (error) {
    throw storeError(error);
  }
}

/** Rows of a 16-byte id and a text below 128 bytes (LEB128 of one byte; a site id that is longer than that is nobody's). */
function readIds(data: Buffer, limit: number, mine: (site: string) => boolean): Uint8Array[] | null {
  const ids: Uint8Array[] = [];
  let rows = 0;
  for (let at = 0; at < data.length; rows++) {
    const id = data.subarray(at, at + ID_BYTES);
    const length = data[at + ID_BYTES] ?? 0;
    at += ID_BYTES + 1 + length;
    if (length === 0 || mine(data.toString('utf8', at - length, at))) ids.push(id);
  }
  return rows > limit ? null : ids;
}
