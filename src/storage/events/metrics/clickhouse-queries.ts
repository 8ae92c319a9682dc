/** The questions of MetricsStore as ClickHouse SQL. Every one answers rows in the order of the fields named at its end. */
import type { SessionAttribute } from '../../../metrics/filters.js';
import type { PageOrder, Scope } from '../../../metrics/metrics-store.js';
import {
  BOUNCED,
  type Cut,
  DURATION_MS,
  EXIT_MS,
  type RowSource,
  ScopedRows,
  type Sql,
  STARTED,
  seconds,
  VIEWS_AND_VISITORS,
} from './clickhouse-rows.js';

/** views, visitors, sessions, bounces, durationMs, sessionViews */
export function totalsSql(scope: Scope, source: RowSource, cut?: Cut): Sql {
  const rows = new ScopedRows(scope, source, cut);
  const ofSessions = `countIf(started) AS sessions, countIf(started AND ${BOUNCED}) AS bounces,
      sumIf(${DURATION_MS}, started) AS duration, sumIf(pv, started) AS session_views`;
  const started = (sessions: string) => `(SELECT *, ${STARTED} AS started FROM (${sessions}))`;
  // Without filters nothing ties page views to their sessions, and counting the two apart is quicker.
  const text = rows.filtered
    ? `SELECT sum(views), uniqExactArray(visitors), ${ofSessions} FROM ${started(rows.perSession([], [], VIEWS_AND_VISITORS))}`
    : `SELECT views, visitors, sessions, bounces, duration, session_views
       FROM (SELECT sum(v) AS views, uniqExactIf(visitor, v > 0) AS visitors FROM (${rows.rowsInPeriod([])})) AS of_views
       CROSS JOIN (SELECT ${ofSessions} FROM ${started(rows.perSession([]))}) AS of_sessions`;
  return { text, params: rows.params };
}

/** visitors */
export function returningSql(scope: Scope, source: RowSource, cut?: Cut): Sql {
  const rows = new ScopedRows(scope, source, cut);
  const visitors = rows.filtered
    ? `SELECT arrayJoin(visitors) FROM (${rows.perSession([], [], VIEWS_AND_VISITORS)})`
    : `SELECT visitor FROM (${rows.rowsInPeriod([])}) WHERE v > 0`;
  const from = `fromUnixTimestamp64Milli({from:Int64}, 'UTC')`;
  const [visitor, earlier] =
    source === 'rollup'
      ? ['visitor', `slot <= {from:Int64} / 1000 AND first_ts < ${from}`]
      : ['cityHash64(visitor_id)', `timestamp < ${from}`];
  const text = `SELECT uniqExact(${visitor}) FROM ${rows.table}
    WHERE site_id = {site:String} AND ${earlier}${rows.inCut} AND ${visitor} IN (${visitors})`;
  return { text, params: rows.params };
}

/**
 * start of the bucket (seconds), views, visitors, sessions, bounces; buckets without anything are absent
 * @param starts ascending instants in ms, the last one being the end
 */
export function timelineSql(scope: Scope, starts: readonly number[], source: RowSource, cut?: Cut): Sql {
  const rows = new ScopedRows(scope, source, cut);
  const bound = rows.bind('Array(Int64)', seconds(starts));
  const bucketOf = (at: string) => `roundDown(toInt64(toUnixTimestamp(${at})), ${bound})`;
  const text = rows.filtered ? filteredTimeline(rows, bucketOf) : plainTimeline(rows, bucketOf);
  return { text, params: rows.params };
}

function plainTimeline(rows: ScopedRows, bucketOf: (at: string) => string): string {
  return `SELECT bucket, sum(views), sum(visitors), sum(sessions), sum(bounces) FROM (
      SELECT ${bucketOf('slot')} AS bucket, sum(v) AS views, uniqExactIf(visitor, v > 0) AS visitors, 0 AS sessions, 0 AS bounces
      FROM (${rows.rowsInPeriod([])}) GROUP BY bucket
      UNION ALL
      SELECT ${bucketOf('start')} AS bucket, 0, 0, count(), countIf(${BOUNCED})
      FROM (${rows.perSession([])}) WHERE ${STARTED} GROUP BY bucket
    ) GROUP BY bucket ORDER BY bucket`;
}

function filteredTimeline(rows: ScopedRows, bucketOf: (at: string) => string): string {
  const inPeriod =
    "t >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND t < fromUnixTimestamp64Milli({to:Int64}, 'UTC')";
  const cells = {
    slots: `groupArrayIf((${bucketOf('slot')}, visitor, v), v > 0) AS cells`,
    finished: `multiIf(v = 0, [], is_plain AND ${bucketOf('start')} = ${bucketOf('last')}, [(${bucketOf('start')}, visitor, toUInt64(v))],
      arrayMap((t, w) -> (${bucketOf('t')}, w, toUInt64(1)),
        arrayFilter((t, p) -> ${inPeriod} AND ${rows.pageCondition('p')}, view_ts, view_page),
        arrayFilter((w, t, p) -> ${inPeriod} AND ${rows.pageCondition('p')}, view_visitor, view_ts, view_page))) AS cells`,
  };
  return `SELECT cell.1 AS bucket, sum(cell.3), uniqExactIf(cell.2, cell.3 > 0), sum(cell.4), sum(cell.5)
    FROM (SELECT arrayJoin(arrayConcat(
        arrayMap(c -> (c.1, c.2, toUInt64(c.3), toUInt8(0), toUInt8(0)), cells),
        if(${STARTED}, [(${bucketOf('start')}, toUInt64(0), toUInt64(0), toUInt8(1), toUInt8(${BOUNCED}))], [])
      )) AS cell FROM (${rows.perSession([], [], [cells])}))
    GROUP BY bucket ORDER BY bucket`;
}

/** A session attribute to list the values of; `missing` is the label of the missing value. */
export interface LabelledAttribute {
  readonly attribute: SessionAttribute;
  readonly missing: string;
}

/**
 * index of the attribute from 0, label, views, visitors, sessions, bounces: several attributes in one pass over the sessions
 * @param limit most rows of each attribute; undefined: all
 */
export function breakdownsSql(
  scope: Scope,
  wanted: readonly LabelledAttribute[],
  limit: number | undefined,
  source: RowSource,
  cut?: Cut,
): Sql {
  const rows = new ScopedRows(scope, source, cut);
  const labels = wanted.map((one) => labelOf(rows, one));
  const attributes = wanted.map(({ attribute }) => attribute);
  const most = limit === undefined ? '' : `LIMIT ${rows.bind('UInt32', limit)} BY attribute`;
  const text = `SELECT attribute, label, sum(views) AS label_views, uniqExactArray(visitors) AS label_visitors,
      countIf(started), countIf(started AND bounced)
    FROM (
      SELECT views, visitors, ${STARTED} AS started, ${BOUNCED} AS bounced, [${labels.join(', ')}] AS labels
      FROM (${rows.perSession(attributes, [], VIEWS_AND_VISITORS)})
    ) ARRAY JOIN labels AS label, range(toUInt64(${labels.length})) AS attribute
    GROUP BY attribute, label
    ${rows.tail(`HAVING label_views > 0 ORDER BY attribute, label_visitors DESC, label_views DESC, label ${most}`)}`;
  return { text, params: rows.params };
}

const labelOf = (rows: ScopedRows, { attribute, missing }: LabelledAttribute): string =>
  `if(${attribute} = '', ${rows.bind('String', missing)}, ${attribute})`;

const PAGE_ORDERS: Readonly<Record<PageOrder, string>> = {
  visitors: 'HAVING c_views > 0 ORDER BY c_visitors DESC, c_views DESC, page',
  entries: 'HAVING c_entries > 0 ORDER BY c_entries DESC, page',
  exits: 'HAVING c_exits > 0 ORDER BY c_exits DESC, page',
};

/** page, views, visitors, sessions, bounces, entries, exits, entryBounces, timeMs, timed */
export function pagesSql(scope: Scope, order: PageOrder, limit: number, source: RowSource, cut?: Cut): Sql {
  const rows = new ScopedRows(scope, source, cut);
  const list = {
    slots:
      'arraySort(groupArrayArray(arrayMap((t, p) -> (toUnixTimestamp64Milli(t), p, visitor), view_ts, view_page))) AS list',
    finished:
      'arrayMap((t, p, w) -> (toUnixTimestamp64Milli(t), p, w), view_ts, view_page, view_visitor) AS list',
  };
  const text = `SELECT page, countIf(inside) AS c_views, uniqExactIf(visitor, inside) AS c_visitors,
      countIf(nth = 1 AND started), countIf(nth = 1 AND started AND bounced),
      countIf(i = 1 AND started) AS c_entries, countIf(i = n AND started) AS c_exits,
      countIf(i = 1 AND started AND bounced), sumIf(spent, inside AND known), countIf(inside AND known)
    FROM (
      SELECT view.1 AS ts, view.2 AS page, view.3 AS visitor, i, nth, n, started, bounced,
        ts >= {from:Int64} AND ts < {to:Int64} AND ${rows.pageCondition('page')} AS inside,
        i < n OR until > ts AS known, least(1800000, until - ts) AS spent
      FROM (
        SELECT list, length(list) AS n, ${STARTED} AS started, ${BOUNCED} AS bounced, ${EXIT_MS} AS exit_ms,
          if(exit_ms > toUnixTimestamp64Milli(lv), exit_ms, toUnixTimestamp64Milli(last)) AS last_until
        FROM (${rows.perSession([], ['views'], [list])}) WHERE pv > 0
      )
      ARRAY JOIN list AS view, arrayEnumerate(list) AS i, arrayEnumerateUniq(list.2) AS nth,
        arrayPushBack(arrayPopFront(list.1), last_until) AS until
    )
    GROUP BY page ${rows.tail(`${PAGE_ORDERS[order]} LIMIT ${rows.bind('UInt32', limit)}`)}`;
  return { text, params: rows.params };
}

/** start of the cohort's bucket (seconds), start of the active bucket (seconds), visitors */
export function cohortsSql(siteId: string, starts: readonly number[], source: RowSource, cut?: Cut): Sql {
  const [visitor, time] = source === 'rollup' ? ['visitor', 'slot'] : ['cityHash64(visitor_id)', 'timestamp'];
  const [from = 0] = starts;
  const rows = new ScopedRows({ siteId, from, to: starts.at(-1) ?? from, filters: [] }, source, cut);
  const at = `toInt64(toUnixTimestamp(${time}))`;
  const bounds = rows.bind('Array(Int64)', seconds(starts));
  const text = `SELECT roundDown(first, ${bounds}) AS cohort, active, count() FROM (
      SELECT ${visitor} AS who, min(${at}) AS first,
        groupUniqArrayIf(roundDown(${at}, ${bounds}), ${at} * 1000 >= {from:Int64}) AS buckets
      FROM ${rows.table} WHERE site_id = {site:String} AND ${at} * 1000 < {to:Int64}${rows.inCut}
      GROUP BY who HAVING first * 1000 >= {from:Int64}
    ) ARRAY JOIN buckets AS active GROUP BY cohort, active ORDER BY cohort, active`;
  return { text, params: rows.params };
}

/** visitors */
export function liveSql(siteId: string, since: number): Sql {
  return {
    text: `SELECT uniqExact(visitor_id) FROM events
      WHERE site_id = {site:String} AND received_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')`,
    params: { site: siteId, since },
  };
}
