import { partitionOf } from '../../../events/partition.js';
import type { Clickhouse } from '../../clickhouse.js';
import { attempt } from '../clickhouse-insert.js';
import { ask } from '../clickhouse-statements.js';
import type { IdCandidates } from '../event-store.js';

const IDS_A_QUERY = 1_000;
const LOOKUP_TIMEOUT_MS = 30_000;

/** See EventStore.existingIds. Recordings are few, so a site's index is asked whatever the time. */
export async function existingPartIds(
  clickhouse: Clickhouse,
  candidates: readonly IdCandidates[],
): Promise<Set<string>> {
  const found = new Set<string>();
  for (const { siteId, ids } of candidates) {
    const wanted = ids.map((id) => Buffer.from(id.buffer, id.byteOffset, 16).toString('hex'));
    for (let at = 0; at < wanted.length; at += IDS_A_QUERY) {
      const rows = await query(
        clickhouse,
        // Only an IN over a subquery makes use of the bloom filter here.
        `SELECT DISTINCT lower(hex(event_id)) FROM replay_chunks
         WHERE site_id = {site:String} AND event_id IN (SELECT toFixedString(unhex(arrayJoin({ids:Array(String)})), 16))`,
        { site: siteId, ids: wanted.slice(at, at + IDS_A_QUERY) },
      );
      for (const [id = ''] of rows) found.add(id);
    }
  }
  return found;
}

/** See EventStore.recentIds. */
export async function recentPartIds(
  clickhouse: Clickhouse,
  partition: number,
  partitions: number,
  since: number,
  limit: number,
): Promise<Uint8Array[] | null> {
  const sites = await query(
    clickhouse,
    `SELECT DISTINCT site_id FROM replay_chunks WHERE received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')`,
    { since: Math.floor(since) },
  );
  const mine = sites.flat().filter((site) => partitionOf(site, partitions) === partition);
  if (mine.length === 0) return [];
  const rows = await query(
    clickhouse,
    `SELECT DISTINCT lower(hex(event_id)) FROM replay_chunks
     WHERE received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND site_id IN {sites:Array(String)} LIMIT {limit:UInt64}`,
    { since: Math.floor(since), sites: mine, limit: limit + 1 },
  );
  return rows.length > limit ? null : rows.flat().map((id) => Buffer.from(id, 'hex'));
}

const query = (clickhouse: Clickhouse, text: string, params: Record<string, unknown>): Promise<string[][]> =>
  attempt(() =>
    ask<string[]>(clickhouse, text, params, {
      signal: AbortSignal.timeout(LOOKUP_TIMEOUT_MS),
      settings: { max_execution_time: LOOKUP_TIMEOUT_MS / 1_000 },
    }),
  );
