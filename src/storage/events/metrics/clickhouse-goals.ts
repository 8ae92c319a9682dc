/** Conversions as ClickHouse SQL over raw events. The same definitions as in postgres-goals.ts. */
import type { GoalMatch } from '../../../metrics/goal-metrics.js';
import type { Scope } from '../../../metrics/metrics-store.js';
import { type RowSource, ScopedRows, type Sql } from './clickhouse-rows.js';
import { likePattern } from './like.js';

/**
 * index of the goal from 1, count, visitors, properties of the latest; goals without a conversion are absent. Wildcards are looked for in
 * the distinct pages, and only then the other columns are read, of the events that convert.
 */
export function goalsSql(scope: Scope, goals: readonly GoalMatch[], source: RowSource): Sql {
  const rows = new ScopedRows(scope, source);
  const period = `site_id = {site:String} AND timestamp >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
      AND timestamp < fromUnixTimestamp64Milli({to:Int64}, 'UTC')`;
  const lets = rows.filtered
    ? `AND cityHash64(session_id) IN (SELECT session FROM (${rows.perSession([])}))`
    : '';
  /** Conversions of the goals for which `textOf` is not ''. `pairs`: what an event is compared by, and the goal. */
  const part = (
    textOf: (goal: GoalMatch) => string,
    by: string,
    pairsOf: (list: string) => string,
  ): string[] => {
    const texts = goals.map(textOf);
    if (texts.every((text) => text === '')) return [];
    const pairs = pairsOf(rows.bind('Array(String)', texts));
    return [
      `SELECT goal, visitor_id, timestamp, properties FROM (
        SELECT toString(${by}) AS compared, visitor_id, timestamp, properties FROM events
        WHERE ${period} ${by === 'page' ? 'AND kind = 1' : ''} AND ${by} IN (SELECT compared FROM (${pairs})) ${lets}
      ) AS event INNER JOIN (${pairs}) AS pair USING compared`,
    ];
  };
  const equal = (list: string) =>
    `SELECT one.1 AS compared, one.2 AS goal FROM (SELECT arrayJoin(arrayZip(${list}, arrayEnumerate(${list}))) AS one) WHERE one.1 != ''`;
  // Nothing may filter what arrayJoin makes: the filter would be asked of every event instead of every page.
  const like = (list: string) =>
    `SELECT page AS compared, arrayJoin(arrayFilter(i -> i > 0, arrayMap((pattern, i) ->
        if(pattern != '' AND (page LIKE pattern OR concat(page, '/') LIKE pattern), i, 0), ${list}, arrayEnumerate(${list})))) AS goal
      FROM (SELECT DISTINCT page FROM events WHERE ${period} AND kind = 1)`;
  const conversions = [
    ...part((goal) => (goal.on === 'event' ? goal.type : ''), 'event_type', equal),
    ...part((goal) => pathOf(goal, 'exact'), 'page', equal),
    ...part((goal) => likePattern(pathOf(goal, 'wildcard')), 'page', like),
  ];
  const text = `SELECT goal, count() AS conversions, uniqExact(visitor_id), ${rows.sample('argMax(properties, (timestamp, properties))')}
    FROM (${conversions.join(' UNION ALL ')}) GROUP BY goal`;
  return { text, params: rows.params };
}

function pathOf(goal: GoalMatch, how: 'exact' | 'wildcard'): string {
  return goal.on === 'page' && goal.how === how ? goal.path : '';
}
