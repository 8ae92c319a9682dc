/** Reports about what visitors do over time: growth, activity, retention (contract 7.10, 7.11, 7.18). */
import { type Asked, scopeBefore, scopeOf } from './asked.js';
import { change, mean, meanSeconds, percent } from './figures.js';
import type { CohortRow, MetricsStore } from './metrics-store.js';
import {
  dayStarts,
  formatDate,
  hourStarts,
  localDay,
  type Period,
  periodOf,
  wallClockText,
} from './period.js';

const DAY_MS = 86_400_000;
const RETENTION_DAYS = 30;
const COHORT_WEEKS = 8;

export class Behaviour {
  constructor(private readonly store: MetricsStore) {}

  async trafficSummary(asked: Asked) {
    const scope = scopeOf(asked);
    const [totals, before, returning] = await Promise.all([
      this.store.totals(scope, asked.signal),
      this.store.totals(scopeBefore(asked), asked.signal),
      this.store.returningVisitors(scope, asked.signal),
    ]);
    return {
      total_page_views: totals.views,
      total_visitors: totals.sessions,
      unique_visitors: totals.visitors,
      total_sessions: totals.sessions,
      bounce_rate: percent(totals.bounces, totals.sessions),
      avg_session_time: meanSeconds(totals.durationMs, totals.sessions),
      pages_per_session: mean(totals.sessionViews, totals.sessions),
      // Nothing to compare with is no growth: the contract has numbers here.
      growth_rate: change(totals.views, before.views) ?? 0,
      visitors_growth_rate: change(totals.visitors, before.visitors) ?? 0,
      sessions_growth_rate: change(totals.sessions, before.sessions) ?? 0,
      new_visitors: totals.visitors - returning,
      returning_visitors: returning,
      // Sessions that did not bounce; visitors who had been there before.
      engagement_score: percent(totals.sessions - totals.bounces, totals.sessions),
      retention_rate: percent(returning, totals.visitors),
    };
  }

  /** The local hours that began in the last 24 hours, the running one included. */
  async activityTrends(asked: Asked) {
    const { zone } = asked.period;
    // One element more than hours: the end of the last.
    const hours = hourStarts(periodOf({ days: 3 }, zone, asked.now));
    const running = hours.findLastIndex((start) => start <= asked.now);
    const starts = hours.slice(0, running + 2).filter((start) => start > asked.now - DAY_MS);
    const scope = { ...scopeOf(asked), from: starts[0] ?? asked.now, to: asked.now + 1 };
    const [counts, events] = await Promise.all([
      this.store.timeline(scope, starts, asked.signal),
      this.store.eventTimeline(scope, starts, asked.signal),
    ]);
    return counts.map((bucket, i) => {
      const start = starts[i] ?? 0;
      const label = wallClockText(zone, start).slice(11);
      const timestamp = new Date(start).toISOString();
      return {
        timestamp,
        visitors: bucket.visitors,
        page_views: bucket.views,
        events: events[i] ?? 0,
        sessions: bucket.sessions,
        engagement: mean(bucket.views, bucket.sessions),
        label,
        // The dashboard's own names for the same.
        hour: label,
        time: timestamp,
        users: bucket.visitors,
        pageViews: bucket.views,
      };
    });
  }

  /** Filters do not apply. */
  async retention(asked: Asked) {
    const { period, now, signal, siteId } = asked;
    const longest = periodOf({ days: 2 * RETENTION_DAYS }, period.zone, now);
    const weeks = lastWeeks(period, now);
    const weekStarts = dayStarts(weeks).filter((_, i) => i % 7 === 0);
    const month = scopeOf({
      siteId,
      filters: [],
      period: periodOf({ days: RETENTION_DAYS }, period.zone, now),
    });
    const [totals, byDay, byWeek] = await Promise.all([
      this.store.totals(month, signal),
      this.store.cohorts(siteId, dayStarts(longest), signal),
      this.store.cohorts(siteId, weekStarts, signal),
    ]);
    return {
      date_range: RETENTION_DAYS,
      total_visitors: totals.visitors,
      day_1: dayN(byDay, longest.days, 1),
      day_7: dayN(byDay, longest.days, 7),
      day_30: dayN(byDay, longest.days, 30),
      cohorts: Array.from({ length: COHORT_WEEKS }, (_, week) => {
        const size = pair(byWeek, week, week);
        return {
          week: formatDate(weeks.firstDay + 7 * week),
          size,
          retention: Array.from({ length: COHORT_WEEKS - 1 - week }, (_, later) =>
            percent(pair(byWeek, week, week + 1 + later), size),
          ),
        };
      }),
    };
  }
}

/** metrics.md "Goals, funnels, retention": cohorts of thirty days, the youngest of them `n` days old. */
function dayN(rows: readonly CohortRow[], days: number, n: number): number {
  const first = days - RETENTION_DAYS - n;
  const cohorts = Array.from({ length: RETENTION_DAYS }, (_, i) => first + i);
  const sum = (later: number) => cohorts.reduce((total, day) => total + pair(rows, day, day + later), 0);
  return percent(sum(n), sum(0));
}

function pair(rows: readonly CohortRow[], cohort: number, active: number): number {
  return rows.find((row) => row.cohort === cohort && row.active === active)?.visitors ?? 0;
}

/** The last eight ISO weeks, the running one included: whole weeks from Monday on. */
function lastWeeks({ zone }: Period, now: number): Period {
  const today = localDay(zone, now);
  // Day 0 was a Thursday.
  const monday = today - ((today + 3) % 7);
  const from = formatDate(monday - 7 * (COHORT_WEEKS - 1));
  return periodOf({ from, to: formatDate(monday + 6) }, zone, now);
}
