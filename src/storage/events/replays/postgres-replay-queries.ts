/** The questions of ReplayStore as Postgres SQL; columns in the order that replay-rows.ts tells. */
import { SKEW_LIMIT_MS } from '../../../replays/recording-row.js';
import { type OrphanQuery, PAGES_SHOWN, type SessionQuery } from '../../../replays/replay-store.js';

export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** A session that began in a range has chunks that were received in it or up to a day later, and nobody records for a day before. */
const RANGE_SLACK_MS = 86_400_000;

const hex = (column: string) => `encode(uuid_send(${column}), 'hex')`;
const msOf = (column: string) => `(extract(epoch FROM ${column}) * 1000)::bigint`;
/** Exact for milliseconds, unlike to_timestamp() of a fraction. */
export const instant = (parameter: string) =>
  `timestamptz 'epoch' + ${parameter}::bigint * interval '1 millisecond'`;

const ALIVE = `NOT EXISTS (SELECT 1 FROM replay_deletions AS d WHERE d.site_id = c.site_id AND d.session_key = c.session_key)`;

const PART_COLUMNS = `${hex('c.chunk_id')}, c.session_id, c.sequence, c.part, c.parts, c.first_ms, c.last_ms,
  ${msOf('c.received_at')}, c.raw_bytes, c.object_key, c.object_offset, c.object_length`;

class Values {
  readonly list: unknown[] = [];

  /** The placeholder of a value. */
  put(value: unknown): string {
    this.list.push(value);
    return `$${this.list.length}`;
  }
}

/** One row a session, with the columns of a summary. All columns of a chunk stand in its first part. */
function sessionsOf(query: SessionQuery, values: Values): string {
  const { siteId, from, to, page } = query;
  const conditions = [`c.site_id = ${values.put(siteId)}`, 'c.part = 0', ALIVE];
  if (from !== undefined)
    conditions.push(`c.received_at >= ${instant(values.put(Math.floor(from - RANGE_SLACK_MS)))}`);
  if (to !== undefined)
    conditions.push(`c.received_at <= ${instant(values.put(Math.ceil(to + RANGE_SLACK_MS)))}`);
  const order = 'ORDER BY first_ms, sequence, chunk_id';
  const known = (column: string) =>
    `coalesce((array_agg(${column} ${order}) FILTER (WHERE ${column} <> ''))[1], '')`;
  const onPage =
    page === undefined ? 'true' : `bool_or(position(lower(${values.put(page)}::text) IN lower(page)) > 0)`;
  return `SELECT *, first_of + shift AS start_ms, last_of + shift AS end_ms FROM (
      SELECT *, CASE WHEN abs(skew) > ${SKEW_LIMIT_MS} THEN skew ELSE 0 END AS shift FROM (
        SELECT ${hex('session_key')} AS key, min(session_id) AS id, min(${msOf('received_at')} - last_ms) AS skew,
          min(first_ms) AS first_of, max(last_ms) AS last_of, count(*) AS chunks,
          ${known('browser')} AS browser, ${known('device')} AS device, ${known('os')} AS os,
          ${known('country_code')} AS country_code, (array_agg(page ${order}))[1] AS entry_page,
          (array_agg(DISTINCT page COLLATE "C" ORDER BY page COLLATE "C"))[1:${PAGES_SHOWN}] AS pages,
          sum(clicks) AS clicks, sum(rage_clicks) AS rage_clicks, sum(errors) AS errors,
          bool_or(has_full_snapshot) AS has_snapshot,
          NOT (array_agg(has_full_snapshot ${order}))[1] OR min(sequence) > 0
            OR max(sequence) - min(sequence) + 1 <> count(DISTINCT sequence) AS is_incomplete,
          ${onPage} AS on_page
        FROM replay_chunks AS c WHERE ${conditions.join(' AND ')}
        GROUP BY session_key) AS grouped) AS shifted`;
}

/** What the filters say of a session. */
function filtersOf(query: SessionQuery, values: Values): string {
  const conditions = ['on_page'];
  const add = (value: unknown, condition: (parameter: string) => string) => {
    if (value !== undefined) conditions.push(condition(values.put(value)));
  };
  add(query.from, (at) => `start_ms >= ${at}::float8`);
  add(query.to, (at) => `start_ms <= ${at}::float8`);
  add(query.minDuration, (at) => `end_ms - start_ms >= ${at}::float8 * 1000`);
  add(query.maxDuration, (at) => `end_ms - start_ms <= ${at}::float8 * 1000`);
  add(query.countryCodes, (at) => `country_code = ANY(${at}::text[])`);
  add(query.browser, (at) => `lower(browser) = lower(${at}::text)`);
  add(query.os, (at) => `lower(os) = lower(${at}::text)`);
  add(query.device, (at) => `lower(device) = lower(${at}::text)`);
  if (query.hasRageClicks !== undefined)
    conditions.push(query.hasRageClicks ? 'rage_clicks > 0' : 'rage_clicks = 0');
  if (query.hasErrors !== undefined) conditions.push(query.hasErrors ? 'errors > 0' : 'errors = 0');
  return conditions.join(' AND ');
}

export function sessionsSql(query: SessionQuery): Statement {
  const values = new Values();
  const sessions = sessionsOf(query, values);
  const conditions = [filtersOf(query, values)];
  const { after, limit, offset } = query;
  if (after !== undefined)
    conditions.push(
      `(start_ms, key COLLATE "C") < (${values.put(after.startMs)}::bigint, ${values.put(after.sessionKey)}::text)`,
    );
  return {
    text: `SELECT key, id, start_ms, end_ms, chunks, browser, device, os, country_code, entry_page, pages, clicks, rage_clicks,
        errors, has_snapshot, is_incomplete
      FROM (${sessions}) AS sessions WHERE ${conditions.join(' AND ')}
      ORDER BY start_ms DESC, key COLLATE "C" DESC LIMIT ${values.put(limit)}::bigint OFFSET ${values.put(offset)}::bigint`,
    values: values.list,
  };
}

export function countSessionsSql(query: SessionQuery): Statement {
  const values = new Values();
  const sessions = sessionsOf(query, values);
  return {
    text: `SELECT count(*) FROM (${sessions}) AS sessions WHERE ${filtersOf(query, values)}`,
    values: values.list,
  };
}

export function partsSql(siteId: string, sessionKey: string, limit: number): Statement {
  return {
    text: `SELECT ${PART_COLUMNS} FROM replay_chunks AS c
      WHERE c.site_id = $1 AND c.session_key = $2::uuid AND ${ALIVE}
      ORDER BY c.first_ms, c.sequence, c.chunk_id, c.part LIMIT $3`,
    values: [siteId, sessionKey, limit],
  };
}

export function snapshotSql(siteId: string, page: string): Statement {
  return {
    text: `SELECT ${PART_COLUMNS} FROM replay_chunks AS c
      WHERE c.site_id = $1 AND c.chunk_id = (
        SELECT c.chunk_id FROM replay_chunks AS c
        WHERE c.site_id = $1 AND c.page = $2 AND c.has_full_snapshot AND c.part = 0 AND ${ALIVE}
        ORDER BY c.received_at DESC, c.first_ms DESC, c.chunk_id LIMIT 1)
      ORDER BY c.part`,
    values: [siteId, page],
  };
}

export function buriedSql(siteId: string, sessionKeys: readonly string[]): Statement {
  return {
    text: `SELECT ${hex('session_key')} FROM replay_deletions WHERE site_id = $1 AND session_key = ANY($2::uuid[])`,
    values: [siteId, sessionKeys],
  };
}

export function hauntingSql(since: number, limit: number): Statement {
  return {
    text: `SELECT DISTINCT c.site_id, ${hex('c.session_key')} FROM replay_chunks AS c
      JOIN replay_deletions AS d USING (site_id, session_key)
      WHERE d.deleted_at >= ${instant('$1')} LIMIT $2::bigint`,
    values: [Math.floor(since), limit],
  };
}

export function objectsOfSql(siteId: string, sessionKeys: readonly string[]): Statement {
  return {
    text: `SELECT DISTINCT object_key FROM replay_chunks WHERE site_id = $1 AND session_key = ANY($2::uuid[]) ORDER BY object_key`,
    values: [siteId, sessionKeys],
  };
}

export function sitesWithDeletionsSql(since: number): Statement {
  return {
    text: `SELECT DISTINCT site_id FROM replay_deletions WHERE deleted_at >= ${instant('$1')}`,
    values: [Math.floor(since)],
  };
}

export function partsInSql(siteId: string, objectKeys: readonly string[]): Statement {
  return {
    text: `SELECT ${hex('event_id')}, ${hex('session_key')}, object_key, object_offset, object_length, ${msOf('received_at')}
      FROM replay_chunks WHERE site_id = $1 AND object_key = ANY($2::text[]) ORDER BY object_key, object_offset`,
    values: [siteId, objectKeys],
  };
}

export function sitesWithObjectsSql(since: number): Statement {
  return {
    text: `SELECT DISTINCT site_id FROM replay_objects WHERE written_at >= ${instant('$1')}`,
    values: [Math.floor(since)],
  };
}

export function orphansSql({ since, before, limit, siteId }: OrphanQuery): Statement {
  return {
    text: `SELECT o.site_id, o.object_key, ${msOf('o.written_at')} FROM replay_objects AS o
      WHERE o.written_at >= ${instant('$1')} AND o.written_at < ${instant('$2')} AND ($3::text IS NULL OR o.site_id = $3)
        AND NOT EXISTS (SELECT 1 FROM replay_chunks AS c WHERE c.site_id = o.site_id AND c.object_key = o.object_key)
      ORDER BY o.written_at LIMIT $4::bigint`,
    values: [Math.floor(since), Math.floor(before), siteId ?? null, limit],
  };
}

export function objectsBeforeSql(siteId: string, before: number, limit: number): Statement {
  return {
    text: `SELECT site_id, object_key, ${msOf('written_at')} FROM replay_objects
      WHERE site_id = $1 AND written_at < ${instant('$2')} ORDER BY written_at LIMIT $3::bigint`,
    values: [siteId, Math.floor(before), limit],
  };
}
