/** Conversions as ClickHouse SQL over raw events. The same definitions as in postgres-goals.ts. */
import type { GoalMatch } from '../../../metrics/goal-metrics.js';
import type { Scope } from '../../../metrics/metrics-store.js';
import { type RowSource, ScopedRows, type Sql } from './clickhouse-rows.js';
import { likePattern } from './like.js';

/**
 * index of the goal from 1, count, visitors, properties of the latest; goals without a conversion are absent. Wildcards are looked for
 * in the distinct pages, not in every event.
 */
export function goalsSql(scope: Scope, goals: readonly GoalMatch[], source: RowSource): Sql {
  const rows = new ScopedRows(scope, source);
  const events = rows.bind(
    'Array(String)',
    goals.map((goal) => (goal.on === 'event' ? goal.type : '')),
  );
  const exact = rows.bind(
    'Array(String)',
    goals.map((goal) => pathOf(goal, 'exact')),
  );
  const patterns = rows.bind(
    'Array(String)',
    goals.map((goal) => likePattern(pathOf(goal, 'wildcard'))),
  );
  const period = `site_id = {site:String} AND timestamp >= fromUnixTimestamp64Milli({from:Int64}, 'UTC')
      AND timestamp < fromUnixTimestamp64Milli({to:Int64}, 'UTC')`;
  const indices = (list: string, item: string, condition: string) =>
    `arrayFilter(i -> i > 0, arrayMap((goal, i) -> if(${condition}, i, 0), ${list}, arrayEnumerate(${list}))) AS ${item}`;
  const lets = rows.filtered
    ? `AND cityHash64(session_id) IN (SELECT session FROM (${rows.perSession([])}))`
    : '';
  const text = `SELECT goal, count() AS conversions, uniqExact(visitor_id), argMax(properties, (timestamp, properties))
    FROM (
      SELECT visitor_id, timestamp, properties,
        arrayJoin(arrayConcat(of_type.goals, if(kind = 1, of_page.goals, []))) AS goal
      FROM (SELECT * FROM events WHERE ${period} ${lets} AND (has(${events}, event_type) OR kind = 1)) AS event
      LEFT JOIN (
        SELECT event_type, ${indices(events, 'goals', "goal = event_type AND goal != ''")}
        FROM (SELECT DISTINCT event_type FROM events WHERE ${period} AND has(${events}, event_type))
      ) AS of_type ON of_type.event_type = event.event_type
      LEFT JOIN (
        SELECT page, arrayConcat(${indices(exact, 'of_exact', "goal = page AND goal != ''")},
          ${indices(patterns, 'of_pattern', "goal != '' AND (page LIKE goal OR concat(page, '/') LIKE goal)")}) AS goals
        FROM (SELECT DISTINCT page FROM events WHERE ${period} AND kind = 1)
      ) AS of_page ON of_page.page = event.page
    ) GROUP BY goal`;
  return { text, params: rows.params };
}

function pathOf(goal: GoalMatch, how: 'exact' | 'wildcard'): string {
  return goal.on === 'page' && goal.how === how ? goal.path : '';
}
