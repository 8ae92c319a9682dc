/** How rows of `finished_sessions` are made from the rollup. */
import { SESSION_ATTRIBUTES } from '../../../metrics/filters.js';
import { attributeOfSession, type Sql } from './clickhouse-rows.js';

/** Sessions of some UTC days as they were at a moment. */
export interface FinishedDays {
  readonly siteId: string;
  /** Rows that had arrived before; seconds since epoch. */
  readonly asOf: number;
  /** Days since 1970. */
  readonly days: readonly number[];
  /** The version of a day is this and its number. */
  readonly base: number;
}

const byTime = (instants: string, texts: string): string =>
  `arraySort(groupArrayArray(arrayMap((t, p) -> (t, p, visitor), ${instants}, ${texts})))`;

/** Inserts all sessions that began on these days, each seen whole. */
export function finishDaysSql({ siteId, asOf, days, base }: FinishedDays): Sql {
  const names = SESSION_ATTRIBUTES.join(', ');
  const rows = "session_slots WHERE site_id = {site:String} AND arrived < toDateTime({asOf:UInt32}, 'UTC')";
  return {
    text: `INSERT INTO finished_sessions (site_id, version, start, last, session, visitor, is_plain, pv, cu, lv, le, ${names},
        view_ts, view_page, view_visitor, custom_ts, custom_type, custom_visitor)
      SELECT {site:String}, {base:UInt64} + toUInt32(toDate(start)), start, last, session, visitors[1], length(visitors) = 1,
        pv, cu, lv, le, ${names}, list.1, list.2, list.3, customs_list.1, customs_list.2, customs_list.3
      FROM (
        SELECT session, min(first_ts) AS start, max(last_ts) AS last, groupUniqArray(visitor) AS visitors,
          sum(page_views) AS pv, sum(customs) AS cu, max(last_view) AS lv, max(last_exit) AS le,
          ${SESSION_ATTRIBUTES.map(attributeOfSession).join(', ')},
          ${byTime('view_ts', 'view_page')} AS list, ${byTime('custom_ts', 'custom_type')} AS customs_list
        FROM ${rows} AND session IN (SELECT session FROM ${rows} AND toUInt32(toDate(slot)) IN (${DAYS}))
        GROUP BY session HAVING toUInt32(toDate(start)) IN (${DAYS})
      )`,
    params: { site: siteId, asOf, base, days },
  };
}

const DAYS = '{days:Array(UInt32)}';

/** day (since 1970), rows: what there is to finish before a moment, in seconds since epoch */
export function daysSql(siteId: string, asOf: number, liveFrom: number): Sql {
  return {
    text: `SELECT toUInt32(toDate(slot)) AS day, toUInt32(count()) FROM session_slots
      WHERE site_id = {site:String} AND arrived < toDateTime({asOf:UInt32}, 'UTC') AND slot < toDateTime({liveFrom:UInt32}, 'UTC')
      GROUP BY day ORDER BY day`,
    params: { site: siteId, asOf, liveFrom },
  };
}

/** day, day: on which sessions begin, and began before, of which something arrived between two moments (seconds since epoch) */
export function changedDaysSql(siteId: string, since: number, until: number): Sql {
  const before = (name: string) => `arrived < toDateTime({${name}:UInt32}, 'UTC')`;
  const rows = `session_slots WHERE site_id = {site:String} AND ${before('until')}`;
  return {
    text: `SELECT DISTINCT toUInt32(toDate(min(first_ts))), toUInt32(toDate(minIf(first_ts, ${before('since')})))
      FROM ${rows} AND session IN (SELECT session FROM ${rows} AND NOT (${before('since')})) GROUP BY session`,
    params: { site: siteId, since, until },
  };
}
