import type { BreakdownRow, MetricsStore } from '../../metrics/metrics-store.js';
import { placesSql } from './metrics/postgres-places.js';
import { propertiesSql, propertyValuesSql } from './metrics/postgres-properties.js';
import {
  breakdownSql,
  cohortsSql,
  countEventTypesSql,
  eventTimelineSql,
  eventTypesSql,
  liveSql,
  oneEventTypeSql,
  pagesSql,
  returningSql,
  timelineSql,
  totalsSql,
} from './metrics/postgres-queries.js';
import { webVitalsSql } from './metrics/postgres-vitals.js';
import {
  cohortRows,
  eventTypeRow,
  fillBuckets,
  fillNumbers,
  numbers,
  placeRow,
  propertyRow,
  propertyValueRow,
  textAndNumbers,
  vitalRow,
} from './metrics/result-rows.js';
import { PostgresConversions } from './postgres-conversions.js';
import { PostgresReader, type PostgresReaderOptions } from './postgres-reader.js';

export type PostgresMetricsOptions = PostgresReaderOptions;

/** Figures from Postgres, always from raw events: the same answers as ClickHouse, not the same speed. */
export function createPostgresMetrics(options: PostgresMetricsOptions): MetricsStore {
  const reader = new PostgresReader('figures', { ...options, hashJoins: true });
  const conversions = new PostgresConversions(reader);
  const breakdown: MetricsStore['breakdown'] = async (scope, attribute, missing, limit, signal) => {
    const rows = await reader.rows(breakdownSql(scope, attribute, missing, limit), signal);
    return rows.map((row) => {
      const { text, counts } = textAndNumbers(row, 4);
      const [views, visitors, sessions, bounces] = counts;
      return { value: text, views, visitors, sessions, bounces };
    });
  };
  return {
    async totals(scope, signal) {
      const [row] = await reader.rows(totalsSql(scope), signal);
      const [views, visitors, sessions, bounces, durationMs, sessionViews] = numbers(row, 6);
      return { views, visitors, sessions, bounces, durationMs, sessionViews };
    },
    async returningVisitors(scope, signal) {
      return numbers((await reader.rows(returningSql(scope), signal))[0], 1)[0];
    },
    async timeline(scope, starts, signal) {
      const rows = await reader.rows(timelineSql(scope, starts), signal);
      return fillBuckets(
        starts,
        rows.map((row) => numbers(row, 5)),
      );
    },
    breakdown,
    async breakdowns(scope, wanted, signal) {
      const lists: BreakdownRow[][] = [];
      for (const { attribute, missing, limit } of wanted)
        lists.push(await breakdown(scope, attribute, missing, limit, signal));
      return lists;
    },
    async pages(scope, order, limit, signal) {
      const rows = await reader.rows(pagesSql(scope, order, limit), signal);
      return rows.map((row) => {
        const { text, counts } = textAndNumbers(row, 9);
        const [views, visitors, sessions, bounces, entries, exits, entryBounces, timeMs, timed] = counts;
        return {
          page: text,
          views,
          visitors,
          sessions,
          bounces,
          entries,
          exits,
          entryBounces,
          timeMs,
          timed,
        };
      });
    },
    async eventTypes(scope, limit, signal) {
      return (await reader.rows(eventTypesSql(scope, limit), signal)).map(eventTypeRow);
    },
    async oneEventType(scope, type, signal) {
      const [count, visitors] = numbers((await reader.rows(oneEventTypeSql(scope, type), signal))[0], 2);
      return { count, visitors };
    },
    async countEventTypes(scope, signal) {
      return numbers((await reader.rows(countEventTypesSql(scope), signal))[0], 1)[0];
    },
    async eventTimeline(scope, starts, signal) {
      const rows = await reader.rows(eventTimelineSql(scope, starts), signal);
      return fillNumbers(
        starts,
        rows.map((row) => numbers(row, 2)),
      );
    },
    async places(scope, attribute, missing, limit, signal) {
      return (await reader.rows(placesSql(scope, attribute, missing, limit), signal)).map(placeRow);
    },
    async properties(scope, eventType, limit, signal) {
      return (await reader.rows(propertiesSql(scope, eventType, limit), signal)).map(propertyRow);
    },
    async propertyValues(scope, eventType, property, limit, signal) {
      const rows = await reader.rows(propertyValuesSql(scope, eventType, property, limit), signal);
      return rows.map(propertyValueRow);
    },
    async webVitals(scope, signal) {
      return (await reader.rows(webVitalsSql(scope), signal)).map(vitalRow);
    },
    async cohorts(siteId, starts, signal) {
      const rows = await reader.rows(cohortsSql(siteId, starts), signal);
      return cohortRows(
        starts,
        rows.map((row) => numbers(row, 3)),
      );
    },
    async live(siteId, since, signal) {
      return numbers((await reader.rows(liveSql(siteId, since), signal))[0], 1)[0];
    },
    goals: (scope, goals, signal) => conversions.goals(scope, goals, signal),
    funnel: (scope, question, signal) => conversions.funnel(scope, question, signal),
    trackedFunnels: (siteId, ids, from, to, signal) =>
      conversions.trackedFunnels(siteId, ids, from, to, signal),
    close: () => reader.close(),
  };
}
