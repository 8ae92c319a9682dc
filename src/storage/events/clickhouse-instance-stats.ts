import type { InstanceStatsStore } from '../../metrics/instance-stats.js';
import { type ClickhouseOptions, openClickhouse } from '../clickhouse.js';
import { ClickhouseReader } from './clickhouse-reader.js';
import { BOUNCED, DURATION_MS, STARTED } from './metrics/clickhouse-rows.js';
import { numbers, textAndNumbers } from './metrics/result-rows.js';

const TIMEOUT_MS = 60_000;
/** Totals, websites together, and one alone: none waits for another. */
const CONNECTIONS = 3;
/** An event's clock may be ahead of its receipt by a minute. */
const SLACK_MS = 300_000;

/** Figures over all websites, from ClickHouse. */
export function createClickhouseInstanceStats(options: ClickhouseOptions): InstanceStatsStore {
  const clickhouse = openClickhouse({
    requestTimeoutMs: TIMEOUT_MS * 2,
    maxConnections: CONNECTIONS,
    ...options,
  });
  const reader = new ClickhouseReader(clickhouse, { maxExecutionMs: TIMEOUT_MS });
  return {
    async totals(today, signal) {
      const [all] = await reader.rows({ text: ALL, params: {} }, signal);
      const [events, pageViews] = numbers(all, 2);
      const params = { today, received: today - SLACK_MS };
      const [row] = await reader.rows({ text: TODAY, params }, signal);
      const [eventsToday, visitorsToday] = numbers(row, 2);
      return { events, pageViews, eventsToday, visitorsToday };
    },
    async ofSites(siteIds, from, to, signal) {
      const params = { sites: siteIds, from, to };
      const views = await reader.rows({ text: VIEWS_OF_SITES, params }, signal);
      const sessions = await reader.rows({ text: SESSIONS_OF_SITES, params }, signal);
      const ofSessions = new Map(sessions.map((row) => [String(row[0]), numbers(row.slice(1), 3)]));
      return new Map(
        views.map((row) => {
          const { text, counts } = textAndNumbers(row, 2);
          const [sessions, bounces, durationMs] = ofSessions.get(text) ?? [0, 0, 0];
          return [text, { views: counts[0], visitors: counts[1], sessions, bounces, durationMs }];
        }),
      );
    },
    close: () => reader.close(),
  };
}

const ALL = 'SELECT toFloat64(count()), toFloat64(countIf(kind = 1)) FROM events';

const SLOTS = `slot >= toDateTime(intDiv({from:Int64}, 1000), 'UTC') AND slot < toDateTime(intDiv({to:Int64}, 1000), 'UTC')`;
const IN_PERIOD = `site_id IN ({sites:Array(String)}) AND ${SLOTS}`;

/** site, views, visitors; every site with a session has a row */
const VIEWS_OF_SITES = `SELECT site_id, sum(page_views), uniqExactIf(visitor, page_views > 0)
  FROM session_slots WHERE ${IN_PERIOD} GROUP BY site_id`;

const FACTS = 'site_id, session, first_ts, last_ts, page_views, customs, last_view, last_exit';

/**
 * site, sessions, bounces, sum of durations; as in the totals of one site: beside the period's rows those before and after it whose
 * session has a row in it (docs/decisions/0003). Of the others only the session's column is read.
 */
const SESSIONS_OF_SITES = `SELECT site_id, count(), countIf(${BOUNCED}), sum(${DURATION_MS}) FROM (
    SELECT site_id, session, min(first_ts) AS start, max(last_ts) AS last,
      sum(page_views) AS pv, sum(customs) AS cu, max(last_view) AS lv, max(last_exit) AS le
    FROM (
      SELECT ${FACTS} FROM session_slots WHERE ${IN_PERIOD}
      UNION ALL SELECT ${FACTS} FROM session_slots WHERE site_id IN ({sites:Array(String)}) AND NOT (${SLOTS})
        AND session IN (SELECT session FROM session_slots WHERE ${IN_PERIOD})
    ) GROUP BY site_id, session
  ) WHERE ${STARTED} GROUP BY site_id`;

const TODAY = `SELECT toFloat64(count()), toFloat64(uniqExact(site_id, visitor_id)) FROM events
  WHERE timestamp >= fromUnixTimestamp64Milli({today:Int64}, 'UTC')
    AND received_at >= fromUnixTimestamp64Milli({received:Int64}, 'UTC')`;
