/**
 * The questions of MetricsStore as Postgres SQL over raw events. The same definitions as in clickhouse-rows.ts and clickhouse-queries.ts,
 * name by name. Every query answers rows in the order of the fields named above it.
 */
import type { Filter, Match, SessionAttribute } from '../../../metrics/filters.js';
import type { PageOrder, Scope } from '../../../metrics/metrics-store.js';

export interface PgSql {
  readonly text: string;
  readonly values: readonly unknown[];
}

const FIRST_KNOWN: ReadonlySet<SessionAttribute> = new Set([
  'country_code',
  'region',
  'city',
  'continent',
  'browser',
  'os',
  'device',
  'resolution',
]);
/** Of the first page view. Their order is how page views of the same millisecond are told apart. */
const OF_FIRST_VIEW = [
  'referrer_host',
  'channel',
  'utm_source',
  'utm_medium',
  'utm_campaign',
  'utm_term',
  'utm_content',
] as const;

const STARTED = '(start >= $2 AND start < $3)';
const BOUNCED = '(pv = 1 AND cu = 0)';
const EXIT_MS = '(CASE WHEN pv > 0 AND le / 2048 >= lv THEN lv + (le % 2048) * 1000 ELSE 0 END)';
const DURATION_MS = `least(1800000, greatest(last, ${EXIT_MS}) - start)`;

const instant = (parameter: string): string =>
  `(timestamptz 'epoch' + ${parameter}::bigint * interval '1 millisecond')`;
const lower = (text: string): string => `lower(${text} COLLATE "und-x-icu")`;

class Query {
  readonly values: unknown[];
  private readonly filters: readonly Filter[];

  constructor(scope: Scope) {
    this.values = [scope.siteId, scope.from, scope.to];
    this.filters = scope.filters;
  }

  bind(value: unknown, type: string): string {
    return `$${this.values.push(value)}::${type}`;
  }

  /**
   * WITH clauses: `e` all events of the sessions that have one in the period, `f` these sessions as far as the filters let them
   * through, `v` their page views in the period that the page filter lets through.
   */
  base(attributes: readonly SessionAttribute[]): string {
    const filtered = this.filters.flatMap((filter) =>
      filter.on === 'session' ? filter.any.map(({ attribute }) => attribute) : [],
    );
    const wanted = [...new Set([...attributes, ...filtered])];
    const known = wanted.filter((name) => FIRST_KNOWN.has(name));
    const fromView = wanted.some((name) => !FIRST_KNOWN.has(name));
    const paged = this.filters.some((filter) => filter.on === 'page');
    return `WITH touched AS MATERIALIZED (
        SELECT DISTINCT session_id FROM events
        WHERE site_id = $1 AND timestamp >= ${instant('$2')} AND timestamp < ${instant('$3')}
      ), e AS MATERIALIZED (
        SELECT session_id, visitor_id, kind, event_type, page, least(time_on_page, 1800) AS time_on_page,
          (extract(epoch FROM timestamp) * 1000)::bigint AS ts
          ${known.map((name) => `, ${name === 'resolution' ? RESOLUTION : name}`).join('')}
          ${fromView ? `, ${OF_FIRST_VIEW.join(', ')}` : ''}
        FROM events JOIN touched USING (session_id) WHERE site_id = $1
      ), s AS (
        SELECT session_id, min(ts) AS start, max(ts) AS last,
          count(*) FILTER (WHERE kind = 1) AS pv, count(*) FILTER (WHERE kind = 2) AS cu,
          coalesce(max(ts) FILTER (WHERE kind = 1), 0) AS lv,
          coalesce(max(ts * 2048 + time_on_page) FILTER (WHERE event_type = 'page_exit'), 0) AS le
          ${known.map((name) => `, ${firstKnown(name)} AS ${name}`).join('')}
        FROM e GROUP BY session_id
        ${paged ? `HAVING bool_or(kind = 1 AND ${this.pageCondition()})` : ''}
      ), f AS MATERIALIZED (${fromView ? this.withFirstView() : `SELECT * FROM s WHERE ${this.sessionCondition()}`}
      ), v AS (
        SELECT session_id, visitor_id, ts FROM e JOIN f USING (session_id)
        WHERE kind = 1 AND ts >= $2 AND ts < $3 AND ${this.pageCondition()}
      )`;
  }

  pageCondition(): string {
    const conditions = this.filters.flatMap((filter) => {
      if (filter.on !== 'page') return [];
      const condition = this.textCondition(lower('page'), filter.how, filter.values);
      return [filter.negate ? `NOT (${condition})` : `(${condition})`];
    });
    return conditions.length === 0 ? 'true' : conditions.join(' AND ');
  }

  private withFirstView(): string {
    const columns = OF_FIRST_VIEW.map((name) => `coalesce(first_view.${name}, '') AS ${name}`);
    const order = OF_FIRST_VIEW.map((name) => `${name} COLLATE "C"`);
    return `SELECT * FROM (
        SELECT s.*, ${columns.join(', ')} FROM s LEFT JOIN (
          SELECT DISTINCT ON (session_id) session_id, ${OF_FIRST_VIEW.join(', ')} FROM e WHERE kind = 1
          ORDER BY session_id, ts, ${order.join(', ')}
        ) AS first_view USING (session_id)
      ) AS sessions WHERE ${this.sessionCondition()}`;
  }

  private sessionCondition(): string {
    const conditions = this.filters.flatMap((filter) => {
      if (filter.on !== 'session') return [];
      const matches = filter.any.map(({ attribute, how, values }) =>
        this.textCondition(lower(attribute), how, values),
      );
      return [`${filter.negate ? 'NOT ' : ''}(${matches.join(' OR ')})`];
    });
    return conditions.length === 0 ? 'true' : conditions.join(' AND ');
  }

  private textCondition(text: string, how: Match['how'], values: readonly string[]): string {
    const bound = this.bind(values, 'text[]');
    switch (how) {
      case 'equals':
        return `${text} = ANY (${bound})`;
      case 'contains':
        return `EXISTS (SELECT FROM unnest(${bound}) AS needle WHERE strpos(${text}, needle) > 0)`;
      case 'brand':
        return `trim_array(string_to_array('.' || ${text}, '.'), 1) && ${bound}`;
    }
  }
}

const RESOLUTION =
  "CASE WHEN screen_width > 0 AND screen_height > 0 THEN screen_width || 'x' || screen_height ELSE '' END AS resolution";

/** The first value that is known, of several at the same instant the smallest. */
const firstKnown = (name: SessionAttribute): string =>
  `coalesce((array_agg(${name} ORDER BY ts, ${name} COLLATE "C") FILTER (WHERE ${name} <> ''))[1], '')`;

/** views, visitors, sessions, bounces, durationMs, sessionViews */
export function totalsSql(scope: Scope): PgSql {
  const query = new Query(scope);
  const text = `${query.base([])}
    SELECT (SELECT count(*) FROM v), (SELECT count(DISTINCT visitor_id) FROM v),
      count(*), count(*) FILTER (WHERE ${BOUNCED}), coalesce(sum(${DURATION_MS}), 0), coalesce(sum(pv), 0)
    FROM f WHERE ${STARTED}`;
  return { text, values: query.values };
}

/** visitors */
export function returningSql(scope: Scope): PgSql {
  const query = new Query(scope);
  const text = `${query.base([])}
    SELECT count(*) FROM (SELECT DISTINCT visitor_id FROM v) AS visitors
    WHERE EXISTS (
      SELECT FROM events WHERE events.site_id = $1 AND events.visitor_id = visitors.visitor_id
        AND events.timestamp < ${instant('$2')}
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
        SELECT page, visitor_id, ts, ts >= $2 AND ts < $3 AS inside, ${STARTED} AS started, ${BOUNCED} AS bounced,
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
        FROM a WHERE ${query.pageCondition()} GROUP BY page
      )
    SELECT page, c_views, c_visitors, c_sessions, c_bounces, c_entries, c_exits, c_entry_bounces, c_time, c_timed
    FROM b ${PAGE_ORDERS[order]} LIMIT ${query.bind(limit, 'bigint')}`;
  return { text, values: query.values };
}

/** Custom events of the period, of the sessions that the filters let through: event_type, visitor_id, properties, ts. */
function customEvents(query: Query): string {
  return `${query.base([])}, custom AS (
      SELECT event_type, visitor_id, properties, (extract(epoch FROM timestamp) * 1000)::bigint AS ts
      FROM events JOIN f USING (session_id)
      WHERE site_id = $1 AND kind = 2 AND timestamp >= ${instant('$2')} AND timestamp < ${instant('$3')}
    )`;
}

/** type, properties of the latest, count, visitors */
export function eventTypesSql(scope: Scope, limit: number): PgSql {
  const query = new Query(scope);
  const text = `${customEvents(query)}
    SELECT event_type, (array_agg(properties ORDER BY ts DESC, properties COLLATE "C" DESC))[1], count(*), count(DISTINCT visitor_id)
    FROM custom GROUP BY event_type ORDER BY count(*) DESC, event_type COLLATE "C" LIMIT ${query.bind(limit, 'bigint')}`;
  return { text, values: query.values };
}

/** start of the bucket (ms), custom events */
export function eventTimelineSql(scope: Scope, starts: readonly number[]): PgSql {
  const query = new Query(scope);
  const bound = query.bind(starts.slice(0, -1), 'bigint[]');
  const text = `${customEvents(query)}
    SELECT (${bound})[width_bucket(ts, ${bound})] AS bucket, count(*) FROM custom GROUP BY 1 ORDER BY 1`;
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
