/**
 * What a filter means whose text may be one label: `Washington, D.C.` is a list of two cities, and a city; `!sale` is every campaign but one,
 * and a campaign. It is the label when the site has it, whatever the period of the single question, so that all figures of a page agree.
 */
import { LRUCache } from 'lru-cache';
import type { Filter } from './filters.js';
import type { MetricsStore, Scope } from './metrics-store.js';

const DAY_MS = 86_400_000;
/** Labels are looked for at least so long before the end of a period, in the period before it, and until now. */
const LOOK_BACK_MS = 30 * DAY_MS;
const KNOWN_MS = 600_000;
const UNKNOWN_MS = 60_000;
const MAX_LABELS = 10_000;

/** Wraps a store, which sees none but settled filters: `asLabels` is no longer there. Errors of the look-up are those of its `totals`. */
export function settleFilters(store: MetricsStore): MetricsStore {
  const labels = new Labels(store);
  const settled = (scope: Scope, signal: AbortSignal) => labels.settle(scope, signal);
  return {
    ...store,
    totals: async (scope, signal) => store.totals(await settled(scope, signal), signal),
    returningVisitors: async (scope, signal) => store.returningVisitors(await settled(scope, signal), signal),
    timeline: async (scope, starts, signal) => store.timeline(await settled(scope, signal), starts, signal),
    breakdown: async (scope, attribute, missing, limit, signal) =>
      store.breakdown(await settled(scope, signal), attribute, missing, limit, signal),
    breakdowns: async (scope, wanted, signal) =>
      store.breakdowns(await settled(scope, signal), wanted, signal),
    places: async (scope, attribute, missing, limit, signal) =>
      store.places(await settled(scope, signal), attribute, missing, limit, signal),
    pages: async (scope, order, limit, signal) =>
      store.pages(await settled(scope, signal), order, limit, signal),
    eventTypes: async (scope, limit, signal) => store.eventTypes(await settled(scope, signal), limit, signal),
    oneEventType: async (scope, type, signal) =>
      store.oneEventType(await settled(scope, signal), type, signal),
    countEventTypes: async (scope, signal) => store.countEventTypes(await settled(scope, signal), signal),
    eventTimeline: async (scope, starts, signal) =>
      store.eventTimeline(await settled(scope, signal), starts, signal),
    properties: async (scope, eventType, limit, signal) =>
      store.properties(await settled(scope, signal), eventType, limit, signal),
    propertyValues: async (scope, eventType, property, limit, signal) =>
      store.propertyValues(await settled(scope, signal), eventType, property, limit, signal),
    webVitals: async (scope, signal) => store.webVitals(await settled(scope, signal), signal),
    goals: async (scope, list, signal) => store.goals(await settled(scope, signal), list, signal),
    funnel: async (scope, question, signal) => store.funnel(await settled(scope, signal), question, signal),
  };
}

class Labels {
  private readonly known = new LRUCache<string, true>({ max: MAX_LABELS, ttl: KNOWN_MS });
  private readonly unknown = new LRUCache<string, true>({ max: MAX_LABELS, ttl: UNKNOWN_MS });

  constructor(private readonly store: Pick<MetricsStore, 'totals'>) {}

  async settle({ comparedWith, ...scope }: Scope, signal: AbortSignal): Promise<Scope> {
    if (scope.filters.every(({ asLabels }) => asLabels === undefined)) return scope;
    const asked = { ...scope, ...comparedWith };
    const filters = await Promise.all(scope.filters.map((filter) => this.meant(asked, filter, signal)));
    return { ...scope, filters };
  }

  private async meant(
    scope: Scope,
    { asLabels = [], ...filter }: Filter,
    signal: AbortSignal,
  ): Promise<Filter> {
    const areLabels = await Promise.all(asLabels.map((label) => this.isLabel(scope, label, signal)));
    return asLabels.find((_, i) => areLabels[i]) ?? filter;
  }

  private async isLabel({ siteId, from, to }: Scope, label: Filter, signal: AbortSignal): Promise<boolean> {
    const filters = [{ ...label, negate: false }];
    const since = Math.floor(Math.min(from - (to - from) - DAY_MS, to - LOOK_BACK_MS) / DAY_MS) * DAY_MS;
    const key = JSON.stringify([siteId, filters]);
    if (this.known.has(key)) return true;
    const missed = `${key} ${since}`;
    if (this.unknown.has(missed)) return false;
    const until = Math.max(to, Math.ceil(Date.now() / DAY_MS) * DAY_MS);
    const { views } = await this.store.totals({ siteId, from: since, to: until, filters }, signal);
    if (views > 0) this.known.set(key, true);
    else this.unknown.set(missed, true);
    return views > 0;
  }
}
