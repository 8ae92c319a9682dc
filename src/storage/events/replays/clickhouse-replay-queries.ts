/** The questions of ReplayStore as ClickHouse SQL; columns in the order that replay-rows.ts tells. */
import { SKEW_LIMIT_MS } from '../../../replays/recording-row.js';
import { type OrphanQuery, PAGES_SHOWN, type SessionQuery } from '../../../replays/replay-store.js';
import type { Sql } from '../metrics/clickhouse-rows.js';

/** A session that began in a range has chunks that were received in it or up to a day later, and nobody records for a day before. */
const RANGE_SLACK_MS = 86_400_000;

const ALIVE = 'session_key NOT IN (SELECT session_key FROM replay_deletions WHERE site_id = {site:String})';
const ms = (name: string) => `fromUnixTimestamp64Milli({${name}:Int64}, 'UTC')`;

const PART_COLUMNS = `lower(hex(chunk_id)), session_id, sequence, part, parts, first_ms, last_ms,
  toUnixTimestamp64Milli(received_at), raw_bytes, object_key, object_offset, object_length`;

/** One row a session, with the columns of a summary. All columns of a chunk stand in its first part. */
function sessionsOf(query: SessionQuery): Sql {
  const { siteId, from, to } = query;
  const bounds = [
    ...(from === undefined ? [] : [`received_at >= ${ms('received_from')}`]),
    ...(to === undefined ? [] : [`received_at <= ${ms('received_to')}`]),
  ];
  const first = '(first_ms, sequence, chunk_id)';
  const known = (column: string) => `argMinIf(${column}, ${first}, ${column} != '')`;
  return {
    text: `SELECT lower(hex(session_key)) AS key, any(session_id) AS id,
        min(toUnixTimestamp64Milli(received_at) - last_ms) AS skew, if(abs(skew) > ${SKEW_LIMIT_MS}, skew, 0) AS shift,
        min(first_ms) + shift AS start_ms, max(last_ms) + shift AS end_ms, count() AS chunks,
        ${known('browser')} AS the_browser, ${known('device')} AS the_device, ${known('os')} AS the_os,
        ${known('country_code')} AS the_country, argMin(page, ${first}) AS entry_page,
        arraySlice(arraySort(groupUniqArray(page)), 1, ${PAGES_SHOWN}) AS pages,
        sum(clicks) AS the_clicks, sum(rage_clicks) AS the_rage, sum(errors) AS the_errors,
        toBool(max(has_full_snapshot) = 1) AS has_snapshot,
        toBool(argMin(has_full_snapshot, ${first}) = 0 OR min(sequence) > 0
          OR max(sequence) - min(sequence) + 1 != uniqExact(sequence)) AS is_incomplete
        ${query.page === undefined ? '' : ', countIf(positionCaseInsensitiveUTF8(page, {page:String}) > 0) AS on_page'}
      FROM replay_chunks FINAL
      WHERE ${['site_id = {site:String}', 'part = 0', ALIVE, ...bounds].join(' AND ')}
      GROUP BY key`,
    params: {
      site: siteId,
      ...(query.page === undefined ? {} : { page: query.page }),
      ...(from === undefined ? {} : { received_from: Math.floor(from - RANGE_SLACK_MS) }),
      ...(to === undefined ? {} : { received_to: Math.ceil(to + RANGE_SLACK_MS) }),
    },
  };
}

/** What the filters say of a session. */
function filtersOf(query: SessionQuery): Sql {
  const conditions: string[] = [];
  const params: Record<string, unknown> = {};
  const add = (value: unknown, name: string, condition: string) => {
    if (value === undefined) return;
    conditions.push(condition);
    params[name] = value;
  };
  add(query.from, 'from', 'start_ms >= {from:Float64}');
  add(query.to, 'to', 'start_ms <= {to:Float64}');
  add(query.minDuration, 'min_duration', 'end_ms - start_ms >= {min_duration:Float64} * 1000');
  add(query.maxDuration, 'max_duration', 'end_ms - start_ms <= {max_duration:Float64} * 1000');
  add(query.countryCodes, 'countries', 'the_country IN {countries:Array(String)}');
  add(query.browser, 'browser', 'lowerUTF8(the_browser) = lowerUTF8({browser:String})');
  add(query.os, 'os', 'lowerUTF8(the_os) = lowerUTF8({os:String})');
  add(query.device, 'device', 'lowerUTF8(the_device) = lowerUTF8({device:String})');
  if (query.page !== undefined) conditions.push('on_page > 0');
  if (query.hasRageClicks !== undefined)
    conditions.push(query.hasRageClicks ? 'the_rage > 0' : 'the_rage = 0');
  if (query.hasErrors !== undefined) conditions.push(query.hasErrors ? 'the_errors > 0' : 'the_errors = 0');
  return { text: conditions.length === 0 ? '1' : conditions.join(' AND '), params };
}

export function sessionsSql(query: SessionQuery): Sql {
  const sessions = sessionsOf(query);
  const filters = filtersOf(query);
  const { after, limit, offset } = query;
  const behind = after === undefined ? '' : 'AND (start_ms, key) < ({after_ms:Int64}, {after_key:String})';
  return {
    text: `SELECT key, id, start_ms, end_ms, chunks, the_browser, the_device, the_os, the_country, entry_page, pages, the_clicks,
        the_rage, the_errors, has_snapshot, is_incomplete
      FROM (${sessions.text}) WHERE ${filters.text} ${behind}
      ORDER BY start_ms DESC, key DESC LIMIT {limit:UInt32} OFFSET {offset:UInt32}`,
    params: {
      ...sessions.params,
      ...filters.params,
      ...{ limit, offset },
      ...(after === undefined ? {} : { after_ms: after.startMs, after_key: after.sessionKey }),
    },
  };
}

export function countSessionsSql(query: SessionQuery): Sql {
  const sessions = sessionsOf(query);
  const filters = filtersOf(query);
  return {
    text: `SELECT count() FROM (${sessions.text}) WHERE ${filters.text}`,
    params: { ...sessions.params, ...filters.params },
  };
}

export function partsSql(siteId: string, sessionKey: string, limit: number): Sql {
  return {
    text: `SELECT ${PART_COLUMNS} FROM replay_chunks FINAL
      WHERE site_id = {site:String} AND session_key = toFixedString(unhex({key:String}), 16) AND ${ALIVE}
      ORDER BY first_ms, sequence, chunk_id, part LIMIT {limit:UInt32}`,
    params: { site: siteId, key: sessionKey, limit },
  };
}

export function snapshotSql(siteId: string, page: string): Sql {
  return {
    text: `SELECT ${PART_COLUMNS} FROM replay_chunks FINAL
      WHERE site_id = {site:String} AND chunk_id IN (
        SELECT chunk_id FROM replay_chunks FINAL
        WHERE site_id = {site:String} AND page = {page:String} AND has_full_snapshot = 1 AND part = 0 AND ${ALIVE}
        ORDER BY received_at DESC, first_ms DESC, chunk_id LIMIT 1)
      ORDER BY part`,
    params: { site: siteId, page },
  };
}

export function buriedSql(siteId: string, sessionKeys: readonly string[]): Sql {
  return {
    text: `SELECT DISTINCT lower(hex(session_key)) FROM replay_deletions
      WHERE site_id = {site:String} AND lower(hex(session_key)) IN {keys:Array(String)}`,
    params: { site: siteId, keys: [...sessionKeys] },
  };
}

export function hauntingSql(since: number, limit: number): Sql {
  return {
    text: `SELECT DISTINCT site_id, lower(hex(session_key)) FROM replay_chunks
      WHERE (site_id, session_key) IN (SELECT site_id, session_key FROM replay_deletions WHERE deleted_at >= ${ms('since')})
      LIMIT {limit:UInt32}`,
    params: { since: Math.floor(since), limit },
  };
}

export function objectsOfSql(siteId: string, sessionKeys: readonly string[]): Sql {
  return {
    text: `SELECT DISTINCT object_key FROM replay_chunks FINAL
      WHERE site_id = {site:String} AND lower(hex(session_key)) IN {keys:Array(String)} ORDER BY object_key`,
    params: { site: siteId, keys: [...sessionKeys] },
  };
}

export function partsInSql(siteId: string, objectKeys: readonly string[]): Sql {
  return {
    text: `SELECT lower(hex(event_id)), lower(hex(session_key)), object_key, object_offset, object_length,
        toUnixTimestamp64Milli(received_at)
      FROM replay_chunks FINAL
      WHERE site_id = {site:String} AND object_key IN {keys:Array(String)} ORDER BY object_key, object_offset`,
    params: { site: siteId, keys: [...objectKeys] },
  };
}

export function sitesWithDeletionsSql(since: number): Sql {
  return {
    text: `SELECT DISTINCT site_id FROM replay_deletions WHERE deleted_at >= ${ms('since')}`,
    params: { since: Math.floor(since) },
  };
}

export function sitesWithObjectsSql(since: number): Sql {
  return {
    text: `SELECT DISTINCT site_id FROM replay_objects WHERE written_at >= ${ms('since')}`,
    params: { since: Math.floor(since) },
  };
}

export function orphansSql({ since, before, limit, siteId }: OrphanQuery): Sql {
  const ofSite = siteId === undefined ? '' : 'site_id = {site:String} AND';
  const params = { before: Math.floor(before), since: Math.floor(since), limit };
  // Rows are received before their object is written, by as much as the stream lags behind.
  const received =
    siteId === undefined
      ? `WHERE received_at >= ${ms('since')} - INTERVAL 7 DAY`
      : 'WHERE site_id = {site:String}';
  return {
    text: `SELECT site_id, object_key, toUnixTimestamp64Milli(written_at) FROM replay_objects FINAL
      WHERE ${ofSite} written_at < ${ms('before')} AND written_at >= ${ms('since')}
        AND (site_id, object_key) NOT IN (SELECT site_id, object_key FROM replay_chunks FINAL ${received})
      ORDER BY written_at LIMIT {limit:UInt32}`,
    params: siteId === undefined ? params : { ...params, site: siteId },
  };
}

export function objectsBeforeSql(siteId: string, before: number, limit: number): Sql {
  return {
    text: `SELECT site_id, object_key, toUnixTimestamp64Milli(written_at) FROM replay_objects FINAL
      WHERE site_id = {site:String} AND written_at < ${ms('before')} ORDER BY written_at LIMIT {limit:UInt32}`,
    params: { site: siteId, before: Math.floor(before), limit },
  };
}
