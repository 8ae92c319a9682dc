import { ClickHouseError } from '@clickhouse/client';
import { type Clickhouse, reasonOf } from '../clickhouse.js';
import { storeError } from './clickhouse-insert.js';
import { ask, change, inParts, MADE_ANEW } from './clickhouse-statements.js';
import { RepairFailedError, type RepairRange, StoreUnavailableError } from './event-store.js';

/** What is being stored now was received after this long ago, ms; imported events say that they were some minutes ago. */
export const UNDER_WAY_MS = 20 * 60_000;
/** An answer is awaited for this long, and the server is at work for less: what was given up must not take effect later. */
const TIMEOUT_MS = 30_000;
const EXECUTION_MS = 25_000;

/** What a slot of the session rollup must agree on with the events it stands for; one row a session, from either side. */
const FROM_EVENTS = `
  SELECT site_id, toStartOfFifteenMinutes(timestamp) AS slot, cityHash64(session_id) AS session,
    countIf(kind = 1) AS views, countIf(kind = 2) AS customs, min(timestamp) AS first, max(timestamp) AS last,
    max(if(event_type = 'page_exit', toUInt64(toUnixTimestamp64Milli(timestamp)) * 2048 + least(time_on_page, 1800), 0)) AS exit,
    customs AS listed
  FROM events WHERE (site_id, toStartOfFifteenMinutes(timestamp)) IN recent GROUP BY site_id, slot, session`;
const FROM_ROLLUP = `
  SELECT site_id, slot, session, sum(page_views) AS views, sum(session_slots.customs) AS customs, min(first_ts) AS first,
    max(last_ts) AS last, max(last_exit) AS exit, sum(length(custom_ts)) AS listed
  FROM session_slots WHERE (site_id, slot) IN recent GROUP BY site_id, slot, session`;
const differing = (recent: string) => `
  WITH recent AS (${recent})
  SELECT site_id, groupUniqArray(toUnixTimestamp(slot)) AS slots FROM (
    SELECT site_id, slot, session FROM (${FROM_EVENTS} UNION ALL ${FROM_ROLLUP})
    GROUP BY site_id, slot, session
    HAVING count() != 2 OR uniqExact(views, customs, first, last, exit, listed) != 1)
  GROUP BY site_id`;
const IN_PARTITION = `match(site_id, '^[0-9a-f]{8,}$')
    AND reinterpretAsUInt32(reverse(unhex(right(site_id, 8)))) % {partitions:UInt32} = {partition:UInt32}`;
const OF_PARTITION = `
  SELECT DISTINCT site_id, toStartOfFifteenMinutes(timestamp) FROM events
  WHERE received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND ${IN_PARTITION}`;
/** The books are small, and a partition that has none has no events but perhaps of now. */
const SITES_OF_PARTITION = `SELECT DISTINCT site_id FROM ingest_books WHERE ${IN_PARTITION}`;
const NEWEST = `
  SELECT count() > 0, toUnixTimestamp64Milli(max(received_at)) FROM events
  WHERE received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC') AND site_id IN (${SITES_OF_PARTITION})`;
/** How far back the newest event is looked for, ms, one after the other: as a rule the first finds it, and reads little. */
const NEWEST_WITHIN_MS = [3_600_000, 86_400_000, 31 * 86_400_000, Number.POSITIVE_INFINITY] as const;
const OF_SITE = `
  SELECT DISTINCT site_id, toStartOfFifteenMinutes(timestamp) FROM events
  WHERE site_id = {site:String} AND (timestamp >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
    OR received_at >= fromUnixTimestamp64Milli({receivedSince:Int64}, 'UTC'))`;
const OF_IMPORT = `
  SELECT DISTINCT site_id, toStartOfFifteenMinutes(timestamp) AS slot FROM events
  WHERE site_id = {site:String} AND received_at >= fromUnixTimestamp64Milli({receivedSince:Int64}, 'UTC')
    AND slot IN (SELECT slot FROM import_rows WHERE site_id = {site:String} AND import_id = {import:String})`;
/** Attempts to meet a moment in which a site gets nothing. */
const SITE_ROUNDS = 20;
/** Attempts to make a partition whole: nothing comes meanwhile, but an earlier attempt may end. */
const PARTITION_ROUNDS = 5;
/**
 * The server answers, but takes no inserts either: TOO_MANY_SIMULTANEOUS_QUERIES, TABLE_IS_READ_ONLY, NOT_ENOUGH_SPACE, and those of
 * authentication.
 */
const AWAY_CODES = new Set(['202', '242', '243', '192', '193', '194', '516']);

interface OfPartition extends Record<string, unknown> {
  readonly partition: number;
  readonly partitions: number;
}

/** When the newest stored event of a partition was received, ms since epoch; of one without any, now. */
async function newestOf(clickhouse: Clickhouse, partition: OfPartition): Promise<number> {
  const now = Date.now();
  const [site] = await ask<[string]>(clickhouse, `${SITES_OF_PARTITION} LIMIT 1`, partition, within());
  for (const backMs of site === undefined ? [] : NEWEST_WITHIN_MS) {
    const since = Math.max(0, now - backMs);
    const [found] = await ask<[number, string]>(clickhouse, NEWEST, { ...partition, since }, within());
    if (Number(found?.[0]) > 0) return Math.min(now, Number(found?.[1]));
  }
  return now;
}

const within = () => ({
  signal: AbortSignal.timeout(TIMEOUT_MS),
  settings: { max_execution_time: EXECUTION_MS / 1_000 },
});

/**
 * Makes the session rollup whole where a crash of the server left a part of `events` without its part of the rollup: the two are
 * stored one after the other. A retry under the same token completes them; an owner that has only the stored ids to go by can not.
 * Slots that events fall into which were received within `backMs` before the newest are compared (the server may have been away for
 * long since), and those that differ are made anew from the events, until none differs. Nobody may insert rows of the partition
 * meanwhile. Not for clusters, whose replicas have to agree first.
 * @returns how many slots of fifteen minutes were made anew
 * @throws StoreUnavailableError, RepairFailedError
 */
export async function repairRollup(
  clickhouse: Clickhouse,
  partition: number,
  partitions: number,
  { backMs, since: oldest = Number.POSITIVE_INFINITY, validUntil, changing }: RepairRange,
): Promise<number> {
  if (clickhouse.cluster !== undefined) return 0;
  try {
    const since = Math.min((await newestOf(clickhouse, { partition, partitions })) - backMs, oldest);
    let repaired = 0;
    for (let round = 0; round < PARTITION_ROUNDS; round++) {
      const found = await compare(clickhouse, differing(OF_PARTITION), { since, partition, partitions });
      if (found.length === 0) return repaired;
      changing?.();
      for (const [site, slots] of found) {
        await rebuild(clickhouse, site, slots, validUntil);
        repaired += slots.length;
      }
    }
    throw new RepairFailedError('the rollup differs however often it is made anew');
  } catch (error) {
    throw await repairError(clickhouse, error);
  }
}

/** Is the store away, or can it not do what was asked? */
async function repairError(clickhouse: Clickhouse, error: unknown): Promise<Error> {
  if (error instanceof StoreUnavailableError || error instanceof RepairFailedError) return error;
  const isAnswered =
    error instanceof ClickHouseError
      ? !AWAY_CODES.has(error.code)
      : await clickhouse.ping().then(
          () => true,
          () => false,
        );
  return isAnswered ? new RepairFailedError(reasonOf(error), { cause: error }) : storeError(error);
}

/**
 * Makes the rollup of a site's events since a time agree with them while more of them may come: what came in between is seen by
 * comparing again. Slots of before that time count as well where events fall into that were received lately; both in ms.
 * @throws StoreUnavailableError, also when it does not agree in the end
 */
export const repairSite = (
  clickhouse: Clickhouse,
  site: string,
  times: { readonly since: number; readonly receivedSince: number },
): Promise<void> => repairWhileComing(clickhouse, site, OF_SITE, times);

/**
 * The same for the slots of which an import has notes, those in which something was received since a time, ms.
 * @throws StoreUnavailableError, also when it does not agree in the end
 */
export const repairImported = (
  clickhouse: Clickhouse,
  site: string,
  importId: string,
  receivedSince: number,
): Promise<void> => repairWhileComing(clickhouse, site, OF_IMPORT, { import: importId, receivedSince });

async function repairWhileComing(
  clickhouse: Clickhouse,
  site: string,
  recent: string,
  parameters: Record<string, unknown>,
): Promise<void> {
  for (let round = 0; round < SITE_ROUNDS; round++) {
    const [found] = await compare(clickhouse, differing(recent), { ...parameters, site });
    if (found === undefined) return;
    await rebuild(clickhouse, site, found[1]);
  }
  throw new StoreUnavailableError('the rollup of a busy site could not be made anew');
}

/** Sites and the slots of theirs that differ, s since epoch. */
const compare = (clickhouse: Clickhouse, query: string, parameters: Record<string, unknown>) =>
  ask<[string, number[]]>(clickhouse, query, parameters, within());

async function rebuild(
  clickhouse: Clickhouse,
  site: string,
  slots: readonly number[],
  validUntil: () => number = () => Number.POSITIVE_INFINITY,
): Promise<void> {
  const view = await viewQuery(clickhouse);
  const ofSlots = 'site_id = {site:String} AND slot IN {slots:Array(UInt32)}';
  const options = () => {
    const leftMs = Math.min(EXECUTION_MS, validUntil() - Date.now());
    if (leftMs <= 0) throw new StoreUnavailableError('the partition may be of another owner by now');
    return {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      settings: {
        ...{ ...MADE_ANEW, lightweight_deletes_sync: '2', mutations_sync: '2' },
        max_execution_time: leftMs / 1_000,
      },
    };
  };
  for (const part of inParts(slots)) {
    const parameters = { site, slots: part };
    await change(clickhouse, `DELETE FROM session_slots WHERE ${ofSlots}`, parameters, options());
    await change(
      clickhouse,
      `INSERT INTO session_slots SELECT * FROM (${view}) WHERE ${ofSlots}`,
      parameters,
      options(),
    );
  }
}

/** The query of the materialised view, as the server keeps it: there is one definition of the rollup. */
export async function viewQuery(clickhouse: Clickhouse): Promise<string> {
  const [row] = await ask<[string]>(
    clickhouse,
    `SELECT as_select FROM system.tables WHERE database = currentDatabase() AND name = 'session_slots_view'`,
    {},
    { signal: AbortSignal.timeout(TIMEOUT_MS) },
  );
  if (row === undefined) throw new Error('there is no session_slots_view');
  return row[0];
}
