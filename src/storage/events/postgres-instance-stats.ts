import type { InstanceStatsStore } from '../../metrics/instance-stats.js';
import { totalsOfSitesSql } from './metrics/postgres-queries.js';
import { numbers, textAndNumbers } from './metrics/result-rows.js';
import { PostgresReader, type PostgresReaderOptions } from './postgres-reader.js';

const TIMEOUT_MS = 60_000;
/** Totals, websites together, and one alone: none waits for another. */
const CONNECTIONS = 3;
/** An event's clock may be ahead of its receipt by a minute. */
const SLACK_MS = 300_000;

/** Figures over all websites, from Postgres: the same answers as ClickHouse. */
export function createPostgresInstanceStats(options: PostgresReaderOptions): InstanceStatsStore {
  const reader = new PostgresReader('instance_stats', {
    ...options,
    maxConnections: CONNECTIONS,
    minConnections: 0,
    maxExecutionMs: TIMEOUT_MS,
    hashJoins: true,
  });
  return {
    async totals(today, signal) {
      const [all] = await reader.rows({ text: ALL, values: [] }, signal);
      const [events, pageViews] = numbers(all, 2);
      const [row] = await reader.rows({ text: TODAY, values: [today, today - SLACK_MS] }, signal);
      const [eventsToday, visitorsToday] = numbers(row, 2);
      return { events, pageViews, eventsToday, visitorsToday };
    },
    async ofSites(siteIds, from, to, signal) {
      const rows = await reader.rows(totalsOfSitesSql(siteIds, from, to), signal);
      return new Map(
        rows.map((row) => {
          const { text, counts } = textAndNumbers(row, 5);
          const [views, visitors, sessions, bounces, durationMs] = counts;
          return [text, { views, visitors, sessions, bounces, durationMs }];
        }),
      );
    },
    close: () => reader.close(),
  };
}

const ALL = 'SELECT count(*)::float8, (count(*) FILTER (WHERE kind = 1))::float8 FROM events';

// Rows lie in the order of their receipt: its index leaves the blocks of today. Postgres counts distinct pairs by sorting them.
const TODAY = `SELECT count(*)::float8, count(DISTINCT (site_id, visitor_id))::float8 FROM events
  WHERE "timestamp" >= to_timestamp($1::float8 / 1000) AND received_at >= to_timestamp($2::float8 / 1000)`;
