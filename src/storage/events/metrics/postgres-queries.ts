/** The questions of MetricsStore as Postgres SQL. Every query answers rows in the order of the fields named above it. */
import type { SessionAttribute } from '../../../metrics/filters.js';
import { MOST_SAMPLES, type PageOrder, type Scope } from '../../../metrics/metrics-store.js';
import { BOUNCED, DURATION_MS, EXIT_MS, instant, type PgSql, Query, STARTED } from './postgres-rows.js';

/** views, visitors, sessions, bounces, durationMs, sessionViews */
export function totalsSql(scope: Scope): PgSql {
  const query = new Query(scope);
  return { text: totalsText(query), values: query.values };
}

/** site, views, visitors, sessions, bounces, durationMs */
export function totalsOfSitesSql(siteIds: readonly string[], from: number, to: number): PgSql {
  const query = new Query({ siteId: siteIds, from, to, filters: [] }, 'wanted.site');
  const text = `SELECT site, views, visitors, sessions, bounces, duration FROM unnest($1::text[]) AS wanted (site)
    CROSS JOIN LATERAL (${totalsText(query)}) AS totals (views, visitors, sessions, bounces, duration, session_views)`;
  return { text, values: query.values };
}

function totalsText(query: Query): string {
  return `${query.base([])}
    SELECT (SELECT count(*) FROM v), (SELECT count(DISTINCT visitor_id) FROM v),
      count(*), count(*) FILTER (WHERE ${BOUNCED}), coalesce(sum(${DURATION_MS}), 0), coalesce(sum(pv), 0)
    FROM f WHERE ${STARTED}`;
}

/** visitors */
export function returningSql(scope: Scope): PgSql {
  const query = new Query(scope);
  const text = `${query.base([])}
    SELECT count(*) FROM (SELECT DISTINCT visitor_id FROM v) AS visitors
    WHERE (
      SELECT true FROM events WHERE events.site_id = $1 AND events.visitor_id = visitors.visitor_id
        AND events.timestamp < ${instant('$2')} LIMIT 1
    )`;
  return { text, values: query.values };
}

/** start of the bucket (ms), views, visitors, sessions, bounces; buckets without anything are absent */
export function timelineSql(scope: Scope, starts: readonly number[]): PgSql {
  const query = new Query(scope);
  const bound = query.bind(starts.slice(0, -1), 'bigint[]');
  const bucket = (at: string) => `(${bound})[width_bucket(${at}, ${bound})]`;
  const text = `${query.base([])},
      views AS (SELECT ${bucket('ts')} AS bucket, count(*) AS views, count(DISTINCT visitor_id) AS visitors FROM v GROUP BY 1),
      sessions AS (
        SELECT ${bucket('start')} AS bucket, count(*) AS sessions, count(*) FILTER (WHERE ${BOUNCED}) AS bounces
        FROM f WHERE ${STARTED} GROUP BY 1
      )
    SELECT bucket, coalesce(views, 0), coalesce(visitors, 0), coalesce(sessions, 0), coalesce(bounces, 0)
    FROM views FULL JOIN sessions USING (bucket) ORDER BY bucket`;
  return { text, values: query.values };
}

/** label, views, visitors, sessions, bounces */
export function breakdownSql(
  scope: Scope,
  attribute: SessionAttribute,
  missing: string,
  limit: number | undefined,
): PgSql {
  const query = new Query(scope);
  const text = `${query.base([attribute])},
      labels AS (
        SELECT *, CASE WHEN ${attribute} = '' THEN ${query.bind(missing, 'text')} ELSE ${attribute} END AS label FROM f
      ),
      views AS (
        SELECT label, count(*) AS views, count(DISTINCT visitor_id) AS visitors FROM v JOIN labels USING (session_id) GROUP BY label
      ),
      sessions AS (
        SELECT label, count(*) AS sessions, count(*) FILTER (WHERE ${BOUNCED}) AS bounces
        FROM labels WHERE ${STARTED} GROUP BY label
      )
    SELECT label, views, visitors, coalesce(sessions, 0), coalesce(bounces, 0)
    FROM views LEFT JOIN sessions USING (label)
    ORDER BY visitors DESC, views DESC, label COLLATE "C"
    ${limit === undefined ? '' : `LIMIT ${query.bind(limit, 'bigint')}`}`;
  return { text, values: query.values };
}

const PAGE_ORDERS: Readonly<Record<PageOrder, string>> = {
  visitors: 'WHERE c_views > 0 ORDER BY c_visitors DESC, c_views DESC, page COLLATE "C"',
  entries: 'WHERE c_entries > 0 ORDER BY c_entries DESC, page COLLATE "C"',
  exits: 'WHERE c_exits > 0 ORDER BY c_exits DESC, page COLLATE "C"',
};

/** page, views, visitors, sessions, bounces, entries, exits, entryBounces, timeMs, timed */
export function pagesSql(scope: Scope, order: PageOrder, limit: number): PgSql {
  const query = new Query(scope);
  const text = `${query.base([])},
      a AS (
        SELECT page, visitor_id, ts, ts >= $2 AND ts < $3 AND ${query.pageCondition()} AS inside, ${STARTED} AS started, ${BOUNCED} AS bounced,
          row_number() OVER list AS i, pv AS n, row_number() OVER (PARTITION BY session_id, page ORDER BY ts) AS nth,
          coalesce(lead(ts) OVER list, CASE WHEN ${EXIT_MS} > lv THEN ${EXIT_MS} ELSE last END) AS until
        FROM e JOIN f USING (session_id) WHERE kind = 1
        WINDOW list AS (PARTITION BY session_id ORDER BY ts, page COLLATE "C")
      ),
      b AS (
        SELECT page, count(*) FILTER (WHERE inside) AS c_views, count(DISTINCT visitor_id) FILTER (WHERE inside) AS c_visitors,
          count(*) FILTER (WHERE nth = 1 AND started) AS c_sessions,
          count(*) FILTER (WHERE nth = 1 AND started AND bounced) AS c_bounces,
          count(*) FILTER (WHERE i = 1 AND started) AS c_entries, count(*) FILTER (WHERE i = n AND started) AS c_exits,
          count(*) FILTER (WHERE i = 1 AND started AND bounced) AS c_entry_bounces,
          coalesce(sum(least(1800000, until - ts)) FILTER (WHERE inside AND (i < n OR until > ts)), 0) AS c_time,
          count(*) FILTER (WHERE inside AND (i < n OR until > ts)) AS c_timed
        FROM a GROUP BY page
      )
    SELECT page, c_views, c_visitors, c_sessions, c_bounces, c_entries, c_exits, c_entry_bounces, c_time, c_timed
    FROM b ${PAGE_ORDERS[order]} LIMIT ${query.bind(limit, 'bigint')}`;
  return { text, values: query.values };
}

const CUSTOM = 'kind = 2';

/** type, properties of the latest, count, visitors */
export function eventTypesSql(scope: Scope, limit: number): PgSql {
  const query = new Query(scope);
  const order = 'ORDER BY events DESC, event_type COLLATE "C"';
  const text = `${query.picked(['event_type', 'visitor_id', 'properties'], CUSTOM)}, counted AS (
        SELECT event_type, count(*) AS events, count(DISTINCT visitor_id) AS visitors
        FROM picked GROUP BY event_type ${order} LIMIT ${query.bind(limit, 'bigint')}
      ), latest AS (
        SELECT DISTINCT ON (event_type) event_type, properties
        FROM picked JOIN (SELECT event_type FROM counted ${order} LIMIT ${query.bind(MOST_SAMPLES, 'bigint')}) AS sampled USING (event_type)
        ORDER BY event_type, ts DESC, properties COLLATE "C" DESC
      )
    SELECT event_type, coalesce(${query.sample('properties')}, ''), events, visitors
    FROM counted LEFT JOIN latest USING (event_type) ${order}`;
  return { text, values: query.values };
}

/** count, visitors */
export function oneEventTypeSql(scope: Scope, type: string): PgSql {
  const query = new Query(scope);
  const text = `${query.picked(['visitor_id'], `${CUSTOM} AND event_type = ${query.bind(type, 'text')}`)}
    SELECT count(*), count(DISTINCT visitor_id) FROM picked`;
  return { text, values: query.values };
}

/** types */
export function countEventTypesSql(scope: Scope): PgSql {
  const query = new Query(scope);
  const text = `${query.picked(['event_type'], CUSTOM)} SELECT count(DISTINCT event_type) FROM picked`;
  return { text, values: query.values };
}

/** start of the bucket (ms), custom events */
export function eventTimelineSql(scope: Scope, starts: readonly number[]): PgSql {
  const query = new Query(scope);
  const bound = query.bind(starts.slice(0, -1), 'bigint[]');
  const text = `${query.picked([], CUSTOM)}
    SELECT (${bound})[width_bucket(ts, ${bound})] AS bucket, count(*) FROM picked GROUP BY 1 ORDER BY 1`;
  return { text, values: query.values };
}

/** start of the cohort's bucket (ms), start of the active bucket (ms), visitors */
export function cohortsSql(siteId: string, starts: readonly number[]): PgSql {
  const text = `WITH seen AS (
      SELECT visitor_id, (extract(epoch FROM timestamp) * 1000)::bigint AS ts FROM events
      WHERE site_id = $1 AND timestamp < ${instant('$4')}
    ), first_seen AS (
      SELECT visitor_id, min(ts) AS first FROM seen GROUP BY visitor_id HAVING min(ts) >= $3
    ), pairs AS (
      SELECT DISTINCT visitor_id, ($2::bigint[])[width_bucket(first, $2::bigint[])] AS cohort,
        ($2::bigint[])[width_bucket(ts, $2::bigint[])] AS active
      FROM first_seen JOIN seen USING (visitor_id)
    )
    SELECT cohort, active, count(*) FROM pairs GROUP BY cohort, active ORDER BY cohort, active`;
  return { text, values: [siteId, starts.slice(0, -1), starts[0] ?? 0, starts.at(-1) ?? 0] };
}

/** visitors */
export function liveSql(siteId: string, since: number): PgSql {
  return {
    text: `SELECT count(DISTINCT visitor_id) FROM events WHERE site_id = $1 AND received_at >= ${instant('$2')}`,
    values: [siteId, since],
  };
}
