/** Web vitals as ClickHouse SQL. The same rules as in postgres-vitals.ts. */
import { WEB_VITALS_TYPES } from '../../../events/event-kind.js';
import type { Scope } from '../../../metrics/metrics-store.js';
import { VITAL_LIMIT, VITALS } from '../../../metrics/web-vitals.js';
import { pickedRows } from './clickhouse-properties.js';
import { type RowSource, ScopedRows, type Sql } from './clickhouse-rows.js';

/** name, count, sum, p75, p90, p99, good, poor */
export function webVitalsSql(scope: Scope, source: RowSource): Sql {
  const rows = new ScopedRows(scope, source);
  const names = rows.bind(
    'Array(String)',
    VITALS.map(({ name }) => name),
  );
  const bound = (values: readonly number[]) =>
    `${rows.bind('Array(Int64)', values)}[indexOf(${names}, name)]`;
  const good = bound(VITALS.map((vital) => vital.good));
  const poor = bound(VITALS.map((vital) => vital.poor));
  const place = (percent: number) => `list[intDiv(n * ${percent} + 99, 100)]`;
  const text = `SELECT name, n, arraySum(list), ${place(75)}, ${place(90)}, ${place(99)},
      arrayCount(v -> v <= ${good}, list), arrayCount(v -> v > ${poor}, list)
    FROM (
      SELECT measure.1 AS name, arraySort(groupArray(measure.2)) AS list, length(list) AS n FROM (
        SELECT arrayJoin(${measures(names)}) AS measure
        ${pickedRows(rows, `event_type IN ${rows.bind('Array(String)', WEB_VITALS_TYPES)} AND ${rows.pageCondition('page')}`)}
      ) GROUP BY name
    )`;
  return { text, params: rows.params };
}

/** Pairs of name and thousandths: of `name` and `value`, else of every property under a known name. */
function measures(names: string): string {
  const number = (key: string) =>
    `JSONType(properties, ${key}) IN ('Int64', 'UInt64', 'Double') AND JSONExtractFloat(properties, ${key}) BETWEEN 0 AND ${VITAL_LIMIT}`;
  return `arrayMap(m -> (m.1, toInt64(floor(JSONExtractFloat(properties, m.2) * 1000 + 0.5))), arrayFilter(
      m -> has(${names}, m.1) AND ${number('m.2')},
      if(JSONType(properties, 'name') = 'String', [(lower(JSONExtractString(properties, 'name')), 'value')],
        arrayMap(key -> (lower(key), key), arraySlice(JSONExtractKeys(properties), 1, 100)))
    ))`;
}
