import type { InstanceStatsStore } from '../../metrics/instance-stats.js';
import { type ClickhouseOptions, openClickhouse } from '../clickhouse.js';
import { ClickhouseReader } from './clickhouse-reader.js';
import { numbers } from './metrics/result-rows.js';

const TIMEOUT_MS = 60_000;
/** An event's clock may be ahead of its receipt by a minute. */
const SLACK_MS = 300_000;

/** Figures over all websites, from ClickHouse. */
export function createClickhouseInstanceStats(options: ClickhouseOptions): InstanceStatsStore {
  const clickhouse = openClickhouse({ requestTimeoutMs: TIMEOUT_MS * 2, maxConnections: 1, ...options });
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
    close: () => reader.close(),
  };
}

const ALL = 'SELECT toFloat64(count()), toFloat64(countIf(kind = 1)) FROM events';

const TODAY = `SELECT toFloat64(count()), toFloat64(uniqExact(site_id, visitor_id)) FROM events
  WHERE timestamp >= fromUnixTimestamp64Milli({today:Int64}, 'UTC')
    AND received_at >= fromUnixTimestamp64Milli({received:Int64}, 'UTC')`;
