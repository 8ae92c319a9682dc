/**
 * Funnels as Postgres SQL over raw events: one running maximum a step over the sorted events of each visitor. The same definitions as in
 * clickhouse-funnels.ts (docs/metrics-notes.md "Funnels"). Patterns are matched in this process, in linear time (page-patterns.ts): the
 * query gets the pages in which they were found.
 */
import type { FunnelQuestion, StepMatch } from '../../../metrics/funnel-metrics.js';
import type { Scope } from '../../../metrics/metrics-store.js';
import { TRACKED_TYPES } from './conversion-rows.js';
import { instant, type PgSql, Query } from './postgres-rows.js';
import { stepClasses } from './step-classes.js';

/** Pages that a pattern was found in, by the pattern. */
export type PatternPages = ReadonlyMap<string, readonly string[]>;

/** Pages that a step may look at: page */
export function pagesSeenSql(scope: Scope, windowMs: number, limit: number): PgSql {
  return {
    text: `SELECT DISTINCT page FROM events WHERE site_id = $1 AND kind = 1
      AND timestamp >= ${instant('$2')} AND timestamp < ${instant('$3')} LIMIT $4`,
    values: [scope.siteId, scope.from, scope.to + windowMs, limit],
  };
}

/** label; for each step: who reached it, twice the median time from the step before in ms (-1: none) */
export function funnelSql(scope: Scope, question: FunnelQuestion, pages: PatternPages): PgSql {
  const funnel = new FunnelSql(scope, question, pages);
  const unordered = question.order === 'unordered';
  const figures = question.steps.flatMap((_, i) => [
    `count(*) FILTER (WHERE reached > ${i})`,
    unordered || i === 0
      ? '-1'
      : `coalesce((2 * percentile_cont(0.5) WITHIN GROUP (ORDER BY gap${i}::float8) FILTER (WHERE reached > ${i}))::bigint, -1)`,
  ]);
  const walk = unordered ? funnel.unorderedWalk() : funnel.orderedWalk();
  const text = `${walk} SELECT label, ${figures.join(', ')} FROM visitors WHERE reached > 0 GROUP BY label`;
  return { text, values: funnel.query.values };
}

/** funnel id, starts, progress, conversions, dropoffs */
export function trackedFunnelsSql(siteId: string, ids: readonly string[], from: number, to: number): PgSql {
  const counts = TRACKED_TYPES.map((type) => `count(*) FILTER (WHERE event_type = '${type}')`);
  return {
    text: `SELECT funnel_id, ${counts.join(', ')} FROM funnel_events WHERE site_id = $1 AND funnel_id = ANY ($4::text[])
        AND timestamp >= ${instant('$2')} AND timestamp < ${instant('$3')} GROUP BY funnel_id`,
    values: [siteId, from, to, ids],
  };
}

const LISTS = 'PARTITION BY visitor_id, label ORDER BY nth';

class FunnelSql {
  readonly query: Query;
  private readonly window: string;

  constructor(
    private readonly scope: Scope,
    private readonly question: FunnelQuestion,
    private readonly pages: PatternPages,
  ) {
    this.query = new Query(scope);
    this.window = this.query.bind(question.windowMs, 'bigint');
  }

  /** WITH clauses up to `visitors`: reached, gap1, gap2, …; `s` of an event: the latest start that it can be reached from. */
  orderedWalk(): string {
    const { steps, order } = this.question;
    const strict = order === 'strict';
    const masks = steps.map((step, i) => `CASE WHEN ${this.condition(step)} THEN ${2 ** i} ELSE 0 END`);
    const kept = strict ? '(serves > 0 OR kind IN (1, 2))' : 'serves > 0';
    const clauses = [
      this.sortedEvents(masks.join(' + '), 'serves & 1 = 1', kept),
      's0 AS (SELECT *, CASE WHEN is_start THEN ts END AS s FROM sorted)',
    ];
    for (let i = 1; i < steps.length; i++) {
      const [start, left] = strict
        ? ['lag(s) OVER list', 'CASE WHEN lag(s) OVER list IS NOT NULL THEN lag(ts) OVER list END']
        : ['max(s) OVER before', 'max(CASE WHEN s IS NOT NULL THEN ts END) OVER before'];
      const before = `(${LISTS} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)`;
      const carried = steps
        .slice(1, i)
        .map((_, k) => `, gap${k + 1}`)
        .join('');
      clauses.push(
        `o${i} AS (SELECT visitor_id, label, nth, ts, serves, s AS s_before${carried}, ${start} AS open, ts - ${left} AS gap
          FROM s${i - 1} WINDOW ${strict ? `list AS (${LISTS})` : `before AS ${before}`})`,
        `s${i} AS (SELECT visitor_id, label, nth, ts, serves${carried}, reached.s, CASE WHEN reached.s IS NOT NULL THEN gap END AS gap${i}
          FROM o${i}, LATERAL (SELECT CASE WHEN serves & ${2 ** i} > 0 AND ts - open <= ${this.window} THEN open END AS s) AS reached)`,
      );
    }
    const gaps = steps
      .slice(1)
      .map(
        (_, k) =>
          `(array_agg(gap${k + 1} ORDER BY nth) FILTER (WHERE gap${k + 1} IS NOT NULL))[1] AS gap${k + 1}`,
      );
    const reached = steps.slice(1).map((_, k) => `(count(gap${k + 1}) > 0)::int`);
    clauses.push(
      `visitors AS (SELECT label, ${[...gaps, `${['1', ...reached].join(' + ')} AS reached`].join(', ')}
        FROM s${steps.length - 1} GROUP BY visitor_id, label)`,
    );
    return this.with(clauses);
  }

  /** WITH clauses up to `visitors`: reached. */
  unorderedWalk(): string {
    const classes = stepClasses(this.question.steps);
    const choices = classes.map(({ match }, i) => `WHEN ${this.condition(match)} THEN ${i + 1}`);
    const hits = classes.map(
      ({ steps }, i) => `least(${steps}, count(*) FILTER (WHERE serves = ${i + 1}) OVER following)`,
    );
    return this.with([
      this.sortedEvents(`CASE ${choices.join(' ')} ELSE 0 END`, 'true', 'serves > 0'),
      `hits AS (SELECT visitor_id, label, is_start, ${hits.join(' + ')} AS hits FROM sorted
        WINDOW following AS (PARTITION BY visitor_id, label ORDER BY ts RANGE BETWEEN CURRENT ROW AND ${this.window} FOLLOWING))`,
      `visitors AS (SELECT label, max(hits) FILTER (WHERE is_start) AS reached FROM hits GROUP BY visitor_id, label)`,
    ]);
  }

  private with(clauses: readonly string[]): string {
    return `${this.needsSessions ? `${this.query.base(this.attributes)},` : 'WITH'} ${clauses.join(', ')}`;
  }

  private get attributes() {
    return this.question.breakdown ? [this.question.breakdown.attribute] : [];
  }

  private get needsSessions(): boolean {
    return this.question.breakdown !== undefined || this.scope.filters.length > 0;
  }

  /** `sorted`: events of visitors under each label that they start with, `nth` in their order. */
  private sortedEvents(serves: string, starts: string, kept: string): string {
    return `served AS MATERIALIZED (
        SELECT visitor_id, ts, serves, CASE WHEN ${starts} AND ts < $3 THEN ${this.label()} END AS start_label
        FROM (
          SELECT visitor_id, session_id, kind, (extract(epoch FROM timestamp) * 1000)::bigint AS ts, ${serves} AS serves
          FROM events WHERE site_id = $1 AND timestamp >= ${instant('$2')} AND timestamp < ${instant('$3')} + ${this.window} * interval '1 millisecond'
        ) AS event ${this.needsSessions ? 'LEFT JOIN f USING (session_id)' : ''}
        WHERE ${kept}
      ), labels AS (
        SELECT DISTINCT visitor_id, start_label AS label FROM served WHERE start_label IS NOT NULL
      ), sorted AS (
        SELECT visitor_id, label, ts, serves, coalesce(start_label = label, false) AS is_start,
          row_number() OVER (PARTITION BY visitor_id, label ORDER BY ts, serves, coalesce(start_label = label, false) DESC) AS nth
        FROM served JOIN labels USING (visitor_id)
      )`;
  }

  /** Of a start by its session; null where the filters let it not through. */
  private label(): string {
    const { breakdown } = this.question;
    if (breakdown) {
      const missing = this.query.bind(breakdown.missing, 'text');
      return `CASE WHEN f.session_id IS NULL THEN NULL WHEN f.${breakdown.attribute} = '' THEN ${missing} ELSE f.${breakdown.attribute} END`;
    }
    return this.needsSessions ? "CASE WHEN f.session_id IS NOT NULL THEN '' END" : "''";
  }

  private condition(match: StepMatch): string {
    if (match.on === 'nothing') return 'false';
    if (match.on === 'event') return `event_type = ${this.query.bind(match.type, 'text')}`;
    switch (match.how) {
      case 'exact':
        return `kind = 1 AND page = ${this.query.bind(match.text, 'text')}`;
      case 'contains':
        return `kind = 1 AND strpos(page || '/', ${this.query.bind(match.text, 'text')}) > 0`;
      case 'starts_with':
        return `kind = 1 AND starts_with(page || '/', ${this.query.bind(match.text, 'text')})`;
      case 'regex':
        return `kind = 1 AND page = ANY (${this.query.bind(this.pages.get(match.text) ?? [], 'text[]')})`;
    }
  }
}
