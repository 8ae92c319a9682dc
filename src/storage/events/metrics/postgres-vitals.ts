/** Web vitals as Postgres SQL. The same rules as in clickhouse-vitals.ts. */
import { WEB_VITALS_TYPES } from '../../../events/event-kind.js';
import type { Scope } from '../../../metrics/metrics-store.js';
import { VITAL_LIMIT, VITALS } from '../../../metrics/web-vitals.js';
import { READABLE } from './postgres-properties.js';
import { type PgSql, Query } from './postgres-rows.js';

const NUMBER = "(value #>> '{}')::float8";

/** name, count, sum, p75, p90, p99, good, poor */
export function webVitalsSql(scope: Scope): PgSql {
  const query = new Query(scope);
  const condition = `event_type = ANY (${query.bind(WEB_VITALS_TYPES, 'text[]')}) AND ${READABLE} AND ${query.pageCondition()}`;
  const known = [
    query.bind(
      VITALS.map(({ name }) => name),
      'text[]',
    ),
    query.bind(
      VITALS.map(({ good }) => good),
      'bigint[]',
    ),
    query.bind(
      VITALS.map(({ poor }) => poor),
      'bigint[]',
    ),
  ];
  const place = (percent: number) => `list[(n * ${percent} + 99) / 100]`;
  const text = `${query.picked(['properties::json AS properties'], condition)}, measures AS (
      SELECT lower(name COLLATE "C") AS name, floor(${NUMBER} * 1000 + 0.5)::bigint AS v
      FROM picked CROSS JOIN LATERAL (
        SELECT properties ->> 'name' AS name, properties -> 'value' AS value WHERE json_typeof(properties -> 'name') = 'string'
        UNION ALL
        SELECT key, item FROM json_each(properties) WITH ORDINALITY AS property(key, item, place)
        WHERE place <= 100 AND json_typeof(properties -> 'name') IS DISTINCT FROM 'string'
      ) AS measure
      WHERE CASE WHEN json_typeof(value) = 'number' THEN ${NUMBER} BETWEEN 0 AND ${VITAL_LIMIT} ELSE false END
    ), lists AS (
      SELECT name, count(*) AS n, sum(v) AS total, array_agg(v ORDER BY v) AS list,
        count(*) FILTER (WHERE v <= good) AS good, count(*) FILTER (WHERE v > poor) AS poor
      FROM measures JOIN unnest(${known.join(', ')}) AS known (name, good, poor) USING (name) GROUP BY name
    )
    SELECT name, n, total, ${place(75)}, ${place(90)}, ${place(99)}, good, poor FROM lists`;
  return { text, values: query.values };
}
