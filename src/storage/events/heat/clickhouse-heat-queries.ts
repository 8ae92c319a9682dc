/** The questions of HeatStore as ClickHouse SQL. Every one answers rows in the order of the fields named at its beginning. */
import type { HeatRange, HeatScope } from '../../../heatmaps/heat-store.js';
import type { Sql } from '../metrics/clickhouse-rows.js';

const IN_RANGE = `timestamp >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND timestamp <= fromUnixTimestamp64Milli({to:Int64}, 'UTC')`;

/** Points of one map. */
function ofScope({ siteId, page, type, device, from, to }: HeatScope): {
  where: string;
  params: Sql['params'];
} {
  const where = `site_id = {site:String} AND page = {page:String} AND point_type = {type:String}
    ${device === undefined ? '' : 'AND device = {device:String}'} AND ${IN_RANGE}
    AND received_at > (SELECT max(deleted_at) FROM heat_deletions WHERE site_id = {site:String} AND page = {page:String})`;
  return {
    where,
    params: { site: siteId, page, type, from, to, ...(device === undefined ? {} : { device }) },
  };
}

/** x, y, count, selector, last seen (ms) */
export function cellsSql(scope: HeatScope, limit: number): Sql {
  const { where, params } = ofScope(scope);
  return {
    text: `SELECT x, y, sum(count) AS points, max(selector), toUnixTimestamp64Milli(max(timestamp))
      FROM heat_points WHERE ${where} GROUP BY x, y ORDER BY points DESC, y, x LIMIT {limit:UInt32}`,
    params: { ...params, limit },
  };
}

/** selector, count */
export function elementsSql(scope: HeatScope, limit: number): Sql {
  const { where, params } = ofScope(scope);
  return {
    text: `SELECT selector, sum(count) AS points FROM heat_points WHERE ${where} AND selector != ''
      GROUP BY selector ORDER BY points DESC, selector LIMIT {limit:UInt32}`,
    params: { ...params, limit },
  };
}

/** Points of all pages of a site but those that are deleted. */
const LIVE_POINTS = `heat_points AS points
  LEFT ANY JOIN (SELECT page, max(deleted_at) AS gone FROM heat_deletions WHERE site_id = {site:String} GROUP BY page) AS deleted
    ON points.page = deleted.page
  WHERE site_id = {site:String} AND received_at > gone`;

/** page, views, clicks, loads, bands, number of pages */
export function pagesSql(siteId: string, { from, to }: HeatRange, limit: number, offset: number): Sql {
  return {
    text: `SELECT points.page AS path, sumIf(count, point_type = 'pageview') AS views, sumIf(count, point_type = 'click') AS clicks,
        sumIf(count, point_type = 'scroll' AND y = 0), sumIf(count, point_type = 'scroll' AND y BETWEEN 50 AND 1000 AND y % 50 = 0),
        count() OVER ()
      FROM ${LIVE_POINTS} AND ${IN_RANGE}
      GROUP BY path ORDER BY clicks DESC, views DESC, path LIMIT {limit:UInt32} OFFSET {offset:UInt32}`,
    params: { site: siteId, from, to, limit, offset },
  };
}

/** type, count */
export function typeTotalsSql(siteId: string, { from, to }: HeatRange): Sql {
  return {
    text: `SELECT toString(point_type) AS type, sum(count) FROM ${LIVE_POINTS} AND ${IN_RANGE} GROUP BY type`,
    params: { site: siteId, from, to },
  };
}

/** page */
export function trackedPagesSql(siteId: string, limit: number): Sql {
  return {
    text: `SELECT DISTINCT points.page AS path FROM ${LIVE_POINTS} ORDER BY path LIMIT {limit:UInt32}`,
    params: { site: siteId, limit },
  };
}

/** site id, page, until when of receipt it is deleted (ms): pages that have points all the same */
export const REVENANTS: Sql = {
  text: `SELECT site_id, page, toUnixTimestamp64Milli(max(gone)) FROM heat_points
    INNER JOIN (SELECT site_id, page, max(deleted_at) AS gone FROM heat_deletions GROUP BY site_id, page) AS deleted USING (site_id, page)
    WHERE (site_id, page) IN (SELECT site_id, page FROM heat_deletions) AND received_at <= gone
    GROUP BY site_id, page LIMIT 1000`,
  params: {},
};
