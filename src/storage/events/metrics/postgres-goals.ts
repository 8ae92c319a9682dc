/** Conversions as Postgres SQL over raw events. The same definitions as in clickhouse-goals.ts. */
import type { GoalMatch } from '../../../metrics/goal-metrics.js';
import type { Scope } from '../../../metrics/metrics-store.js';
import { likePattern } from './like.js';
import { instant, type PgSql, Query } from './postgres-rows.js';

/** index of the goal from 1, count, visitors, properties of the latest; goals without a conversion are absent */
export function goalsSql(scope: Scope, goals: readonly GoalMatch[]): PgSql {
  const query = new Query(scope);
  const bind = (textOf: (goal: GoalMatch) => string) => query.bind(goals.map(textOf), 'text[]');
  const types = bind((goal) => (goal.on === 'event' ? goal.type : ''));
  const paths = bind((goal) => (goal.on === 'page' && goal.how === 'exact' ? goal.path : ''));
  const patterns = bind((goal) =>
    goal.on === 'page' && goal.how === 'wildcard' ? likePattern(goal.path) : '',
  );
  const filtered = scope.filters.length > 0;
  const text = `${filtered ? `${query.base([])},` : 'WITH'} goal AS (
      SELECT * FROM unnest(${types}, ${paths}, ${patterns}) WITH ORDINALITY AS goal (type, path, pattern, nth)
    ), period AS MATERIALIZED (
      SELECT kind, event_type, page, visitor_id, properties, timestamp FROM events ${filtered ? 'JOIN f USING (session_id)' : ''}
      WHERE site_id = $1 AND timestamp >= ${instant('$2')} AND timestamp < ${instant('$3')}
        AND (kind = 1 OR event_type = ANY (${types}))
    ), pages AS (
      SELECT page, nth FROM (SELECT DISTINCT page FROM period WHERE kind = 1) AS seen JOIN goal
        ON (path <> '' AND page = path) OR (pattern <> '' AND (page LIKE pattern OR page || '/' LIKE pattern))
    ), conversion AS (
      SELECT nth, visitor_id, properties, timestamp FROM period JOIN goal ON type <> '' AND event_type = type
      UNION ALL
      SELECT nth, visitor_id, properties, timestamp FROM period JOIN pages USING (page) WHERE kind = 1
    ), counted AS (
      SELECT nth, count(*) AS events, count(DISTINCT visitor_id) AS visitors FROM conversion GROUP BY nth
    ), latest AS (
      SELECT DISTINCT ON (nth) nth, properties FROM conversion ORDER BY nth, timestamp DESC, properties COLLATE "C" DESC
    )
    SELECT nth, events, visitors, ${query.sample('properties')} FROM counted JOIN latest USING (nth)`;
  return { text, values: query.values };
}
