/**
 * What the figures are made from: integers counted by an event store. Two adapters (ClickHouse, Postgres) with equal answers; what is
 * counted is said in metrics.md and, where that leaves something open, in docs/metrics-notes.md.
 */
import type { Filter, SessionAttribute } from './filters.js';
import type { FunnelMetrics } from './funnel-metrics.js';
import type { GoalMetrics } from './goal-metrics.js';

/** A quarter of an hour, the step of the rollup of sessions, ms. */
export const SLOT_MS = 900_000;

/** Which site, which instants [from, to) in ms since epoch, which filters. */
export interface Scope {
  readonly siteId: string;
  readonly from: number;
  readonly to: number;
  readonly filters: readonly Filter[];
  /** Where this is the period before: the one that it is compared with, whose filters mean the same (settled-filters.ts). */
  readonly comparedWith?: { readonly from: number; readonly to: number };
}

/** Page views of the period and their visitors. */
export interface ViewCounts {
  readonly views: number;
  readonly visitors: number;
}

/** Sessions that started in the period, each seen whole. */
export interface SessionCounts {
  readonly sessions: number;
  readonly bounces: number;
}

export interface Totals extends ViewCounts, SessionCounts {
  /** Sum over the sessions of their durations, each at most 1800 s. */
  readonly durationMs: number;
  /** Page views of those sessions, also those outside the period. */
  readonly sessionViews: number;
}

export interface BucketCounts extends ViewCounts, SessionCounts {}

export interface BreakdownRow extends ViewCounts, SessionCounts {
  /** The stored value, or the label of the missing one. */
  readonly value: string;
}

export interface PageRow extends ViewCounts, SessionCounts {
  readonly page: string;
  /** `sessions` and `bounces` are of the sessions that saw the page; these entered or left on it. */
  readonly entries: number;
  readonly exits: number;
  /** Bounces among the entries. */
  readonly entryBounces: number;
  /** Sum of the known times on this page, each at most 1800 s, and how many are known. */
  readonly timeMs: number;
  readonly timed: number;
}

/** Custom events of one type in the period. */
export interface EventTypeCounts {
  readonly count: number;
  readonly visitors: number;
}

export interface EventTypeRow extends EventTypeCounts {
  readonly type: string;
  /** Properties of the latest one, JSON text; `{}` when they are longer than MAX_SAMPLE_BYTES, '' beyond the first MOST_SAMPLES types. */
  readonly properties: string;
}

/** Whoever sends events decides how many types there are and how long properties are: so much of them is told. */
export const MOST_SAMPLES = 100;
export const MAX_SAMPLE_BYTES = 4096;

/** A region or city; equal names in two countries are two of them. */
export interface PlaceRow extends BreakdownRow {
  /** ISO 3166-1 alpha-2; '' unknown, and of the missing value. */
  readonly countryCode: string;
}

/** A property that custom events of one type have, with a text, a number or a boolean in it. */
export interface PropertyRow {
  readonly name: string;
  readonly count: number;
  readonly visitors: number;
}

/** A value of one property of custom events of one type. */
export interface PropertyValueRow {
  readonly type: 'boolean' | 'number' | 'string';
  readonly value: string;
  readonly count: number;
  readonly visitors: number;
}

/** Measures of one web vital, in thousandths of its unit (docs/metrics-notes.md "Web vitals"). */
export interface VitalRow {
  readonly name: string;
  readonly count: number;
  readonly sum: number;
  readonly p75: number;
  readonly p90: number;
  readonly p99: number;
  /** How many are good, and how many poor. */
  readonly good: number;
  readonly poor: number;
}

/** Visitors first seen in one bucket who had an event in another (the same or a later one); buckets by their index. */
export interface CohortRow {
  readonly cohort: number;
  readonly active: number;
  readonly visitors: number;
}

/** A breakdown among several over one scope, as `breakdown` takes it. */
export interface WantedBreakdown {
  readonly attribute: SessionAttribute;
  readonly missing: string;
  readonly limit: number | undefined;
}

/** By visitors, views and label; by entries and label; by exits and label. */
export type PageOrder = 'visitors' | 'entries' | 'exits';

export interface MetricsStore extends GoalMetrics, FunnelMetrics {
  /** Questions that it takes at the same time: many where it answers some of them together and limits its queries itself; default 4. */
  readonly questionsAtOnce?: number;
  totals(scope: Scope, signal: AbortSignal): Promise<Totals>;
  /** How many of the period's visitors had an event before it. */
  returningVisitors(scope: Scope, signal: AbortSignal): Promise<number>;
  /**
   * One element a bucket, all of them.
   * @param starts ascending first instants of the buckets, and as one more element the end of the last; equal neighbours are empty
   *   buckets
   */
  timeline(scope: Scope, starts: readonly number[], signal: AbortSignal): Promise<BucketCounts[]>;
  /**
   * Values of a session attribute that have page views in the period, most visitors first, then most views, then by the label's bytes.
   * @param missing label of the missing value: its place in the order, and what it is merged with
   * @param limit most rows; undefined: all
   */
  breakdown(
    scope: Scope,
    attribute: SessionAttribute,
    missing: string,
    limit: number | undefined,
    signal: AbortSignal,
  ): Promise<BreakdownRow[]>;
  /** As `breakdown`, of a place within its country; ties by the country's code. */
  places(
    scope: Scope,
    attribute: 'region' | 'city',
    missing: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<PlaceRow[]>;
  /** Several breakdowns, in one pass where the store can; answers in the order of `wanted`. */
  breakdowns(
    scope: Scope,
    wanted: readonly WantedBreakdown[],
    signal: AbortSignal,
  ): Promise<BreakdownRow[][]>;
  /** Pages with at least one of what they are ordered by. */
  pages(scope: Scope, order: PageOrder, limit: number, signal: AbortSignal): Promise<PageRow[]>;
  /** Most frequent first, then by the type's bytes. */
  eventTypes(scope: Scope, limit: number, signal: AbortSignal): Promise<EventTypeRow[]>;
  oneEventType(scope: Scope, type: string, signal: AbortSignal): Promise<EventTypeCounts>;
  /** How many types `eventTypes` would tell without a limit. */
  countEventTypes(scope: Scope, signal: AbortSignal): Promise<number>;
  /** Custom events, one number a bucket; `starts` as in `timeline`. */
  eventTimeline(scope: Scope, starts: readonly number[], signal: AbortSignal): Promise<number[]>;
  /** Names of the properties of a custom event, most frequent first, then by bytes. */
  properties(scope: Scope, eventType: string, limit: number, signal: AbortSignal): Promise<PropertyRow[]>;
  /** Values of a property, most frequent first, then by type, number, bytes. */
  propertyValues(
    scope: Scope,
    eventType: string,
    property: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<PropertyValueRow[]>;
  /** Web vitals that were measured, in no order. A page filter is asked of the page that was measured. */
  webVitals(scope: Scope, signal: AbortSignal): Promise<VitalRow[]>;
  /** Pairs of buckets that have visitors, by any event; `starts` as in `timeline`. */
  cohorts(siteId: string, starts: readonly number[], signal: AbortSignal): Promise<CohortRow[]>;
  /** Distinct visitors with any event received at or after `since` (ms since epoch). */
  live(siteId: string, since: number, signal: AbortSignal): Promise<number>;
  close(): Promise<void>;
}
