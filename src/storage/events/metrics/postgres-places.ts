/** Regions and cities within their countries as Postgres SQL. */
import type { Scope } from '../../../metrics/metrics-store.js';
import { BOUNCED, type PgSql, Query, STARTED } from './postgres-rows.js';

/** label, country code, views, visitors, sessions, bounces */
export function placesSql(scope: Scope, attribute: 'region' | 'city', missing: string, limit: number): PgSql {
  const query = new Query(scope);
  const text = `${query.base([attribute, 'country_code'])},
      labels AS (
        SELECT session_id, start, pv, cu, CASE WHEN ${attribute} = '' THEN ${query.bind(missing, 'text')} ELSE ${attribute} END AS label,
          CASE WHEN ${attribute} = '' THEN '' ELSE country_code END AS code
        FROM f
      ),
      views AS (
        SELECT label, code, count(*) AS views, count(DISTINCT visitor_id) AS visitors
        FROM v JOIN labels USING (session_id) GROUP BY label, code
      ),
      sessions AS (
        SELECT label, code, count(*) AS sessions, count(*) FILTER (WHERE ${BOUNCED}) AS bounces
        FROM labels WHERE ${STARTED} GROUP BY label, code
      )
    SELECT label, code, views, visitors, coalesce(sessions, 0), coalesce(bounces, 0)
    FROM views LEFT JOIN sessions USING (label, code)
    ORDER BY visitors DESC, views DESC, label COLLATE "C", code COLLATE "C" LIMIT ${query.bind(limit, 'bigint')}`;
  return { text, values: query.values };
}
