/** Regions and cities within their countries as ClickHouse SQL. */
import type { Scope } from '../../../metrics/metrics-store.js';
import {
  BOUNCED,
  type Cut,
  type RowSource,
  ScopedRows,
  type Sql,
  STARTED,
  VIEWS_AND_VISITORS,
} from './clickhouse-rows.js';

/** label, country code, views, visitors, sessions, bounces */
export function placesSql(
  scope: Scope,
  attribute: 'region' | 'city',
  missing: string,
  limit: number,
  source: RowSource,
  cut?: Cut,
): Sql {
  const rows = new ScopedRows(scope, source, cut);
  const text = `SELECT if(${attribute} = '', ${rows.bind('String', missing)}, ${attribute}) AS label,
      if(${attribute} = '', '', country_code) AS code,
      sum(views) AS label_views, uniqExactArray(visitors) AS label_visitors, countIf(${STARTED}), countIf(${STARTED} AND ${BOUNCED})
    FROM (${rows.perSession([attribute, 'country_code'], [], VIEWS_AND_VISITORS)})
    GROUP BY label, code
    ${rows.tail(`HAVING label_views > 0 ORDER BY label_visitors DESC, label_views DESC, label, code LIMIT ${rows.bind('UInt32', limit)}`)}`;
  return { text, params: rows.params };
}
