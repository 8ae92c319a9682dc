/** Properties of custom events as Postgres SQL. The type `json` keeps texts as they came, so no value is rewritten before it is counted. */
import type { Scope } from '../../../metrics/metrics-store.js';
import { type PgSql, Query } from './postgres-rows.js';

/** What ClickHouse reads, too: see clickhouse-properties.ts. */
export const READABLE = `(${without('properties')} OR ${without(outsideTexts('properties'))})`;

function without(json: string): string {
  return String.raw`${json} !~ '[:,\[](-[0-9]{19}|[0-9]{20})'`;
}

function outsideTexts(json: string): string {
  return String.raw`regexp_replace(${json}, '"(?:[^"\\]|\\.)*"', '""', 'g')`;
}

const SCALAR = "('string', 'boolean', 'number')";

function customEvents(query: Query, eventType: string): string {
  const condition = `kind = 2 AND event_type = ${query.bind(eventType, 'text')} AND ${READABLE}`;
  return query.picked(['visitor_id', 'properties::json AS properties'], condition);
}

/** name, count, visitors */
export function propertiesSql(scope: Scope, eventType: string, limit: number): PgSql {
  const query = new Query(scope);
  const text = `${customEvents(query, eventType)}
    SELECT name, count(*) AS events, count(DISTINCT visitor_id)
    FROM picked CROSS JOIN LATERAL json_each(properties) WITH ORDINALITY AS property(name, value, place)
    WHERE place <= 100 AND char_length(name) <= 256 AND json_typeof(value) IN ${SCALAR}
    GROUP BY name ORDER BY events DESC, name COLLATE "C" LIMIT ${query.bind(limit, 'bigint')}`;
  return { text, values: query.values };
}

/** type, text, number, count, visitors */
export function propertyValuesSql(scope: Scope, eventType: string, property: string, limit: number): PgSql {
  const query = new Query(scope);
  const value = `properties -> ${query.bind(property, 'text')}`;
  const text = `${customEvents(query, eventType)}
    SELECT type, text, number, count(*) AS events, count(DISTINCT visitor_id) FROM (
      SELECT visitor_id, json_typeof(${value}) AS type,
        CASE WHEN json_typeof(${value}) = 'number' THEN '' ELSE left((${value}) #>> '{}', 256) END AS text,
        CASE WHEN json_typeof(${value}) = 'number' THEN ((${value}) #>> '{}')::float8 ELSE 0 END AS number
      FROM picked WHERE json_typeof(${value}) IN ${SCALAR}
    ) AS valued GROUP BY type, text, number
    ORDER BY events DESC, type COLLATE "C", number, text COLLATE "C" LIMIT ${query.bind(limit, 'bigint')}`;
  return { text, values: query.values };
}
