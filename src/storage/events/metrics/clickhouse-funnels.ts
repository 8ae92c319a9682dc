/**
 * Funnels as ClickHouse SQL over raw events. All events of a visitor that serve a step become one sorted array; each step is then one
 * pass over the arrays, linear in their length. The same definitions as in postgres-funnels.ts (docs/metrics-notes.md "Funnels").
 */
import type { FunnelQuestion, StepMatch } from '../../../metrics/funnel-metrics.js';
import type { Scope } from '../../../metrics/metrics-store.js';
import { type RowSource, ScopedRows, type Sql } from './clickhouse-rows.js';
import { TRACKED_TYPES } from './conversion-rows.js';
import { stepClasses } from './step-classes.js';

/** label; for each step: who reached it, twice the median time from the step before in ms (-1: none) */
export function funnelSql(scope: Scope, question: FunnelQuestion, source: RowSource): Sql {
  const funnel = new FunnelSql(scope, question, source);
  const unordered = question.order === 'unordered';
  const figures = question.steps.flatMap((_, i) => {
    const reached = `reached > ${i}`;
    const median = `toInt64(2 * quantileExactInclusiveIf(0.5)(gaps[${i}], ${reached}))`;
    return [
      `countIf(${reached})`,
      unordered || i === 0 ? '-1' : `if(countIf(${reached}) = 0, -1, ${median})`,
    ];
  });
  const walk = unordered ? funnel.unorderedWalk() : funnel.orderedWalk();
  const text = `SELECT substring(label, 2) AS value, ${figures.join(', ')} FROM (${walk}) GROUP BY value`;
  return { text, params: funnel.rows.params };
}

/** funnel id, starts, progress, conversions, dropoffs */
export function trackedFunnelsSql(site: string, ids: readonly string[], from: number, to: number): Sql {
  const counts = TRACKED_TYPES.map((type) => `countIf(event_type = '${type}')`);
  return {
    text: `SELECT funnel_id, ${counts.join(', ')} FROM funnel_events WHERE site_id = {site:String} AND funnel_id IN {ids:Array(String)}
        AND timestamp >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND timestamp < fromUnixTimestamp64Milli({to:Int64}, 'UTC')
      GROUP BY funnel_id`,
    params: { site, ids, from, to },
  };
}

/** Moves every element of `v` to the one before it. */
const AFTER = 'arrayPopFront(arrayPushBack(v, toInt64(-1)))';
const known = 'x -> x >= 0';

class FunnelSql {
  readonly rows: ScopedRows;
  private readonly window: string;

  constructor(
    scope: Scope,
    private readonly question: FunnelQuestion,
    source: RowSource,
  ) {
    this.rows = new ScopedRows(scope, source);
    this.window = this.rows.bind('Int64', question.windowMs);
  }

  /**
   * One row a visitor and label: the number of steps `reached`, and the `gaps` between them in ms. On the way `s0`, `s1`, … tell of every
   * event that reaches the step the latest start that it can be reached from, of others -1.
   */
  orderedWalk(): string {
    const { steps, order } = this.question;
    const strict = order === 'strict';
    const masks = steps.map((step, i) => `${2 ** i} * (${this.condition(step)})`);
    const mask = `toUInt32(${masks.join(' + ')})`;
    const events = this.sortedEvents(
      mask,
      'bitTest(serves, 0)',
      strict ? this.allOfStarters() : 'serves > 0',
    );
    let walk = `SELECT label, t, m, [] :: Array(Int64) AS gaps0, toUInt8(1) AS reached0,
        arrayMap((t, late) -> if(late, -1, t), t, late) AS s0 FROM (${events})`;
    for (let i = 1; i < steps.length; i++) {
      const before = `arrayPopBack(arrayPushFront(s${i - 1}, toInt64(-1)))`;
      const start = strict ? before : `arrayFill(${known}, ${before})`;
      const reaches = `arrayMap((t, m, start) -> if(bitTest(m, ${i}) AND start >= 0 AND t - start <= ${this.window}, start, -1), t, m, ${start})`;
      const first = `arrayFirstIndex(${known}, s${i})`;
      const left = `t[arrayLastIndex(${known}, arraySlice(s${i - 1}, 1, ${first} - 1))]`;
      walk = `SELECT label, t, m, s${i}, toUInt8(reached${i - 1} + (${first} > 0)) AS reached${i},
          arrayPushBack(gaps${i - 1}, if(${first} > 0, t[${first}] - ${left}, 0)) AS gaps${i}
        FROM (SELECT label, t, m, s${i - 1}, gaps${i - 1}, reached${i - 1}, ${reaches} AS s${i} FROM (${walk}))`;
    }
    const last = steps.length - 1;
    return `SELECT label, gaps${last} AS gaps, reached${last} AS reached FROM (${walk})`;
  }

  /**
   * One row a visitor and label. Of equal times starts come first, so that the first of them sees all. On the way `v` tells of every
   * event when the next one comes that serves the class.
   */
  unorderedWalk(): string {
    const classes = stepClasses(this.question.steps);
    const choices = classes.map(({ match }, i) => `${this.condition(match)}, ${i + 1}`);
    const events = this.sortedEvents(
      `toUInt32(multiIf(${choices.join(', ')}, 0))`,
      '1',
      'serves > 0',
      '(e.1, e.3)',
    );
    let walk = `SELECT label, t, m, late, arrayMap(t -> toUInt8(0), t) AS hits, t AS v FROM (${events})`;
    classes.forEach(({ steps }, i) => {
      for (let nth = 0; nth < steps; nth++) {
        const own = nth === 0 ? 't' : AFTER;
        const next = `arrayReverseFill(${known}, arrayMap((m, own) -> if(m = ${i + 1}, own, -1), m, ${own}))`;
        const hit = `toUInt8(hits + (next >= 0 AND next - t <= ${this.window}))`;
        walk = `SELECT label, t, m, late, next AS v, arrayMap((hits, next, t) -> ${hit}, hits, next, t) AS hits
          FROM (SELECT label, t, m, late, hits, ${next} AS next FROM (${walk}))`;
      }
    });
    return `SELECT label, [] :: Array(Int64) AS gaps, arrayMax((hits, late) -> if(late, 0, hits), hits, late) AS reached FROM (${walk})`;
  }

  /**
   * One row a visitor and label that it starts with, events as arrays in their order: times `t`, what they serve `m`, and `late`: is no
   * start under this label.
   * @param order of events `e` = (t, m, late)
   */
  private sortedEvents(serves: string, starts: string, kept: string, order = '(e.1, e.2, e.3)'): string {
    const { source, label } = this.labels();
    return `SELECT label, events.1 AS t, events.2 AS m, events.3 AS late FROM (
        SELECT label, arraySort(e -> ${order}, arrayMap(e -> (e.1, e.2, toUInt8(e.3 != label)), list)) AS events FROM (
          SELECT list, arrayJoin(arrayDistinct(arrayFilter(x -> x != '', list.3))) AS label FROM (
            SELECT groupArray((ts, serves, if(${starts} AND ts < {to:Int64}, ${label}, ''))) AS list
            FROM (
              SELECT cityHash64(visitor_id) AS visitor, cityHash64(session_id) AS session,
                toUnixTimestamp64Milli(timestamp) AS ts, ${serves} AS serves
              FROM events WHERE site_id = {site:String} AND timestamp >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
                AND timestamp < fromUnixTimestamp64Milli({to:Int64} + ${this.window}, 'UTC') AND (${kept})
            ) AS served ${source}
            GROUP BY visitor
          )
        )
      )`;
  }

  /** For strict funnels: page views and custom events that serve no step count, too, but only of visitors who start. */
  private allOfStarters(): string {
    const [first] = this.question.steps;
    return `(serves > 0 OR kind IN (1, 2)) AND cityHash64(visitor_id) IN (
        SELECT cityHash64(visitor_id) FROM events WHERE site_id = {site:String} AND ${first ? this.condition(first) : '0'}
          AND timestamp >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND timestamp < fromUnixTimestamp64Milli({to:Int64}, 'UTC'))`;
  }

  /** Label of a start by its session: '' where the filters let it not through, else the value behind a `=`. */
  private labels(): { source: string; label: string } {
    const { breakdown } = this.question;
    if (breakdown) {
      const { attribute, missing } = breakdown;
      const value = `concat('=', if(${attribute} = '', ${this.rows.bind('String', missing)}, ${attribute}))`;
      const sessions = `SELECT session, ${value} AS value FROM (${this.rows.perSession([attribute])})`;
      return { source: `LEFT ANY JOIN (${sessions}) AS of_session USING session`, label: 'value' };
    }
    const passes = `session IN (SELECT session FROM (${this.rows.perSession([])}))`;
    return { source: '', label: this.rows.filtered ? `if(${passes}, '=', '')` : "'='" };
  }

  private condition(match: StepMatch): string {
    if (match.on === 'nothing') return '0';
    if (match.on === 'event') return `event_type = ${this.rows.bind('String', match.type)}`;
    const bind = (text: string) => this.rows.bind('String', text);
    switch (match.how) {
      case 'exact':
        return `kind = 1 AND page = ${bind(match.text)}`;
      case 'contains':
        return `kind = 1 AND position(concat(page, '/'), ${bind(match.text)}) > 0`;
      case 'starts_with':
        return `kind = 1 AND startsWith(concat(page, '/'), ${bind(match.text)})`;
      case 'regex':
        // Without the flag a dot would be a line break, too, here and nowhere else.
        return `kind = 1 AND match(page, ${bind(`(?-s)${match.text}`)})`;
    }
  }
}
