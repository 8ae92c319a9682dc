/** The questions of HeatStore as Postgres SQL. Every one answers rows in the order of the fields named at its beginning. */
import type { HeatRange, HeatScope } from '../../../heatmaps/heat-store.js';
import { instant, type PgSql } from '../metrics/postgres-rows.js';

/** $1 site, $2 from, $3 to. */
const LIVE_POINTS = `heat_points AS p WHERE p.site_id = $1 AND p.timestamp >= ${instant('$2')} AND p.timestamp <= ${instant('$3')}
  AND NOT EXISTS (SELECT 1 FROM heat_deletions AS d
    WHERE d.site_id = $1 AND md5(d.page) = md5(p.page) AND d.page = p.page AND p.received_at <= d.deleted_at)`;

/** Points of one map; $4 page, $5 type, and $6 device. */
function ofScope(scope: HeatScope): { from: string; values: unknown[] } {
  const { siteId, page, type, device, from, to } = scope;
  const values: unknown[] = [siteId, from, to, page, type];
  const onDevice = device === undefined ? '' : `AND p.device = $${values.push(device)}`;
  return {
    from: `${LIVE_POINTS} AND md5(p.page) = md5($4) AND p.page = $4 AND p.point_type = $5 ${onDevice}`,
    values,
  };
}

/** x, y, count, selector, last seen (ms) */
export function cellsSql(scope: HeatScope, limit: number): PgSql {
  const { from, values } = ofScope(scope);
  return {
    text: `SELECT x, y, sum(count)::bigint AS points, max(selector COLLATE "C"), (extract(epoch FROM max(timestamp)) * 1000)::bigint
      FROM ${from} GROUP BY x, y ORDER BY points DESC, y, x LIMIT $${values.push(limit)}`,
    values,
  };
}

/** selector, count */
export function elementsSql(scope: HeatScope, limit: number): PgSql {
  const { from, values } = ofScope(scope);
  return {
    text: `SELECT selector, sum(count)::bigint AS points FROM ${from} AND selector <> ''
      GROUP BY selector ORDER BY points DESC, selector COLLATE "C" LIMIT $${values.push(limit)}`,
    values,
  };
}

/** page, views, clicks, loads, bands, number of pages */
export function pagesSql(siteId: string, { from, to }: HeatRange, limit: number, offset: number): PgSql {
  const sumOf = (condition: string) => `coalesce(sum(count) FILTER (WHERE ${condition}), 0)::bigint`;
  return {
    text: `SELECT page, ${sumOf("point_type = 'pageview'")} AS views, ${sumOf("point_type = 'click'")} AS clicks,
        ${sumOf("point_type = 'scroll' AND y = 0")}, ${sumOf("point_type = 'scroll' AND y BETWEEN 50 AND 1000 AND y % 50 = 0")},
        count(*) OVER ()
      FROM ${LIVE_POINTS}
      GROUP BY page ORDER BY clicks DESC, views DESC, page COLLATE "C" LIMIT $4 OFFSET $5`,
    values: [siteId, from, to, limit, offset],
  };
}

/** type, count */
export function typeTotalsSql(siteId: string, { from, to }: HeatRange): PgSql {
  return {
    text: `SELECT point_type, sum(count)::bigint FROM ${LIVE_POINTS} GROUP BY point_type`,
    values: [siteId, from, to],
  };
}

/** page */
export function trackedPagesSql(siteId: string, { from, to }: HeatRange, limit: number): PgSql {
  return {
    text: `SELECT page FROM ${LIVE_POINTS} GROUP BY page ORDER BY page COLLATE "C" LIMIT $4`,
    values: [siteId, from, to, limit],
  };
}
