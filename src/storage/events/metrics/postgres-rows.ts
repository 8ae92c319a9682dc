/**
 * Where the Postgres figures come from: raw events, sessions made of them, as far as the filters let them through. The same definitions
 * as in clickhouse-rows.ts, name by name.
 */
import type { Filter, Match, SessionAttribute } from '../../../metrics/filters.js';
import { MAX_SAMPLE_BYTES, type Scope } from '../../../metrics/metrics-store.js';

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

export const STARTED = '(start >= $2 AND start < $3)';
export const BOUNCED = '(pv = 1 AND cu = 0)';
export const EXIT_MS = '(CASE WHEN pv > 0 AND le / 2048 >= lv THEN lv + (le % 2048) * 1000 ELSE 0 END)';
export const DURATION_MS = `least(1800000, greatest(last, ${EXIT_MS}) - start)`;

/** An instant, of a parameter in ms since epoch. */
export const instant = (parameter: string): string =>
  `(timestamptz 'epoch' + ${parameter}::bigint * interval '1 millisecond')`;
const lower = (text: string): string => `lower(${text} COLLATE "und-x-icu")`;

/** Builds the parts of one query over one scope: $1 site, $2 from, $3 to. */
export class Query {
  readonly values: unknown[];
  private readonly filters: readonly Filter[];

  /** @param site what is compared with the site of events: $1, or each of several in turn */
  constructor(
    scope: Omit<Scope, 'siteId'> & { readonly siteId: string | readonly string[] },
    private readonly site = '$1',
  ) {
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
    return `WITH e AS MATERIALIZED (
        SELECT session_id, visitor_id, kind, event_type, page, least(time_on_page, 1800) AS time_on_page,
          (extract(epoch FROM timestamp) * 1000)::bigint AS ts
          ${known.map((name) => `, ${name === 'resolution' ? RESOLUTION : name}`).join('')}
          ${fromView ? `, ${OF_FIRST_VIEW.join(', ')}` : ''}
        FROM events WHERE site_id = ${this.site} AND session_id = ANY (ARRAY(
          SELECT DISTINCT session_id FROM events
          WHERE site_id = ${this.site} AND timestamp >= ${instant('$2')} AND timestamp < ${instant('$3')}
        ))
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

  /**
   * WITH clauses: those of `base`, and `picked`: raw events of the period that meet a condition, of the sessions that the filters let
   * through, with `ts` in ms.
   */
  picked(columns: readonly string[], condition: string): string {
    return `${this.base([])}, picked AS (
        SELECT ${[...columns, '(extract(epoch FROM timestamp) * 1000)::bigint AS ts'].join(', ')}
        FROM events JOIN f USING (session_id)
        WHERE site_id = $1 AND ${condition} AND timestamp >= ${instant('$2')} AND timestamp < ${instant('$3')}
      )`;
  }

  /** What is shown of an event's properties: those of moderate length. */
  sample(properties: string): string {
    return `CASE WHEN octet_length(${properties}) > ${this.bind(MAX_SAMPLE_BYTES, 'int')} THEN '{}' ELSE ${properties} END`;
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
