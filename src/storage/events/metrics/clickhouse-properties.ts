/** Properties of custom events as ClickHouse SQL; their JSON is read where it lies. The same rules as in postgres-properties.ts. */
import type { Scope } from '../../../metrics/metrics-store.js';
import { type RowSource, ScopedRows, type Sql } from './clickhouse-rows.js';

/**
 * JSON that simdjson reads: it refuses a document with a whole number beyond 64 bits. Properties are written by JSON.stringify, so there
 * is no white space.
 */
export const READABLE = `(${without('properties')} OR ${without(outsideTexts('properties'))})`;

/** Whole numbers of so many digits; within texts they do no harm. */
function without(json: string): string {
  return String.raw`NOT match(${json}, '[:,\\[](-[0-9]{19}|[0-9]{20})')`;
}

function outsideTexts(json: string): string {
  return String.raw`replaceRegexpAll(${json}, '"(?:[^"\\\\]|\\\\.)*"', '""')`;
}

/** Raw events of the period that meet a condition, of the sessions that the filters let through. */
export function pickedRows(rows: ScopedRows, condition: string): string {
  const lets = rows.filtered
    ? `AND cityHash64(session_id) IN (SELECT session FROM (${rows.perSession([])}))`
    : '';
  return `FROM events WHERE site_id = {site:String} AND ${condition} AND ${READABLE}
      AND timestamp >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND timestamp < fromUnixTimestamp64Milli({to:Int64}, 'UTC') ${lets}`;
}

/** name, count, visitors */
export function propertiesSql(scope: Scope, eventType: string, limit: number, source: RowSource): Sql {
  const rows = new ScopedRows(scope, source);
  const text = `SELECT property.1 AS name, count() AS events, uniqExact(visitor_id) FROM (
      SELECT visitor_id, arrayJoin(arrayFilter(
          (p) -> lengthUTF8(p.1) <= 256 AND substring(p.2, 1, 1) NOT IN ('{', '[', 'n'),
          arraySlice(JSONExtractKeysAndValuesRaw(properties), 1, 100)
        )) AS property
      ${pickedRows(rows, `kind = 2 AND event_type = ${rows.bind('String', eventType)}`)}
    ) GROUP BY name ORDER BY events DESC, name LIMIT ${rows.bind('UInt32', limit)}`;
  return { text, params: rows.params };
}

/** type, text, number, count, visitors */
export function propertyValuesSql(
  scope: Scope,
  eventType: string,
  property: string,
  limit: number,
  source: RowSource,
): Sql {
  const rows = new ScopedRows(scope, source);
  const name = rows.bind('String', property);
  const text = `SELECT type, text, number, count() AS events, uniqExact(visitor_id) FROM (
      SELECT visitor_id, JSONType(properties, ${name}) AS found,
        multiIf(found = 'String', 'string', found = 'Bool', 'boolean', 'number') AS type,
        multiIf(found = 'String', substringUTF8(JSONExtractString(properties, ${name}), 1, 256),
          found = 'Bool', if(JSONExtractBool(properties, ${name}), 'true', 'false'), '') AS text,
        if(type = 'number', JSONExtractFloat(properties, ${name}), 0) AS number
      ${pickedRows(rows, `kind = 2 AND event_type = ${rows.bind('String', eventType)}`)}
        AND JSONType(properties, ${name}) IN ('String', 'Bool', 'Int64', 'UInt64', 'Double')
    ) GROUP BY type, text, number ORDER BY events DESC, type, number, text LIMIT ${rows.bind('UInt32', limit)}`;
  return { text, params: rows.params };
}
