/** Custom events as ClickHouse SQL: counted by the lists that ride along in the rollup. */
import type { Scope } from '../../../metrics/metrics-store.js';
import type { SomeSessions } from './clickhouse-conditions.js';
import { type Cut, OF_FEW_ROWS, type RowSource, ScopedRows, type Sql, seconds } from './clickhouse-rows.js';

const DAY_MS = 86_400_000;

/** `at`, `type` and `visitor` of the custom events of the period, of the sessions that the filters let through. */
function customEvents(rows: ScopedRows): string {
  const list = {
    slots: 'groupArrayArray(arrayMap((t, name) -> (t, name, visitor), custom_ts, custom_type)) AS list',
    finished: 'arrayMap((t, name, w) -> (t, name, w), custom_ts, custom_type, custom_visitor) AS list',
  };
  const events = rows.filtered
    ? `SELECT event.1 AS at, event.2 AS type, event.3 AS visitor FROM (${rows.perSession([], ['events'], [list])}) ARRAY JOIN list AS event`
    : `SELECT at, type, visitor FROM (${rows.rowsInPeriod(['events'])}) ARRAY JOIN custom_ts AS at, custom_type AS type`;
  return `(SELECT * FROM (${events}) WHERE at >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
      AND at < fromUnixTimestamp64Milli({to:Int64}, 'UTC'))`;
}

/** type, count, visitors */
export function eventTypesSql(scope: Scope, limit: number, source: RowSource, cut?: Cut): Sql {
  const rows = new ScopedRows(scope, source, cut);
  const text = `SELECT type, count() AS events, uniqExact(visitor) FROM ${customEvents(rows)} GROUP BY type
    ${rows.tail(`ORDER BY events DESC, type LIMIT ${rows.bind('UInt32', limit)}`)}`;
  return { text, params: rows.params };
}

/** count, visitors */
export function oneEventTypeSql(scope: Scope, type: string, source: RowSource): Sql {
  const rows = new ScopedRows(scope, source);
  const text = `SELECT count(), uniqExact(visitor) FROM ${customEvents(rows)} WHERE type = ${rows.bind('String', type)}`;
  return { text, params: rows.params };
}

/** types */
export function countEventTypesSql(scope: Scope, source: RowSource): Sql {
  const rows = new ScopedRows(scope, source);
  return { text: `SELECT uniqExact(type) FROM ${customEvents(rows)}`, params: rows.params };
}

/** UTC day (days since 1970), type, count */
export function eventDaysSql(scope: Scope, source: RowSource, cut?: Cut): Sql {
  const rows = new ScopedRows(scope, source, cut);
  const text = `SELECT toUInt32(toDate(at)) AS day, type, count() FROM ${customEvents(rows)} GROUP BY day, type`;
  return { text, params: rows.params };
}

/** start of the bucket (seconds), custom events */
export function eventTimelineSql(scope: Scope, starts: readonly number[], source: RowSource, cut?: Cut): Sql {
  const rows = new ScopedRows(scope, source, cut);
  const bound = rows.bind('Array(Int64)', seconds(starts));
  const text = `SELECT roundDown(toInt64(toUnixTimestamp(at)), ${bound}) AS bucket, count()
    FROM ${customEvents(rows)} GROUP BY bucket ORDER BY bucket`;
  return { text, params: rows.params };
}

/** Of the latest of some events: its properties as they are shown, its instant in ms, its session's hash. */
const latest = (rows: Pick<ScopedRows, 'sample'>): string =>
  `${rows.sample('argMax(properties, (timestamp, properties))')} AS shown, toUnixTimestamp64Milli(max(timestamp)) AS at,
    toString(cityHash64(argMax(session_id, (timestamp, properties)))) AS latest_session`;

/**
 * type, properties of its latest event, its instant (ms), its session: read from raw events
 * @param latestDays types and the UTC day of the latest event of each
 */
export function latestPropertiesSql(
  scope: Scope,
  latestDays: ReadonlyMap<string, number>,
  source: RowSource,
): Sql {
  const days = [...new Set(latestDays.values())];
  const from = Math.max(scope.from, Math.min(...days) * DAY_MS);
  const to = Math.min(scope.to, (Math.max(...days) + 1) * DAY_MS);
  // Whether the filters let a session through does not depend on the period.
  const rows = new ScopedRows({ ...scope, from, to }, source);
  const lets = rows.filtered
    ? `AND cityHash64(session_id) IN (SELECT session FROM (${rows.perSession([])}))`
    : '';
  const text = `SELECT toString(event_type) AS type, ${latest(rows)} FROM events
    WHERE site_id = {site:String} AND kind = 2 AND timestamp >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
      AND timestamp < fromUnixTimestamp64Milli({to:Int64}, 'UTC') AND toDate(timestamp) IN (${rows.bind('Array(Date)', days.map(dateOf))})
      AND event_type IN (${rows.bind('Array(String)', [...latestDays.keys()])}) ${lets}
    GROUP BY type`;
  return { text, params: rows.params };
}

/**
 * type, properties of its latest event, its instant (ms), its session, 0: of sessions that are copied, where the filters let them
 * through; and '', '', 0, session, 1: which of `mine` are copied
 * @param since the earliest instant that is of interest, ms since epoch
 * @param mine hashes of sessions
 */
export function changedPropertiesSql(
  scope: Scope,
  sessions: SomeSessions,
  since: number,
  mine: readonly string[],
): Sql {
  const rows = new ScopedRows({ ...scope, from: Math.max(scope.from, since) }, 'rollup', { sessions });
  const copied = `FROM ${rows.table} WHERE site_id = {site:String}${rows.inCut}`;
  const text = `SELECT toString(event_type) AS type, ${latest(rows)}, 0 AS is_mine FROM events
    WHERE site_id = {site:String} AND kind = 2 AND timestamp >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
      AND timestamp < fromUnixTimestamp64Milli({to:Int64}, 'UTC') AND cityHash64(session_id) IN (${rows.letThrough(copied)})
    GROUP BY type
    UNION ALL SELECT DISTINCT '', '', 0, toString(session), 1 ${copied}
      AND session IN (${rows.bind('Array(UInt64)', `[${mine.join(',')}]`)})
    ${OF_FEW_ROWS}`;
  return { text, params: rows.params };
}

const dateOf = (day: number): string => new Date(day * DAY_MS).toISOString().slice(0, 10);
