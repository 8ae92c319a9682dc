import type { Scope } from './metrics-store.js';
import type { AnalyticsParameters } from './parameters.js';

/** What every report needs to know of a request. */
export interface Asked extends AnalyticsParameters {
  /** Canonical site id. */
  readonly siteId: string;
  /** ms since epoch; the same one that the period was made with. */
  readonly now: number;
  readonly signal: AbortSignal;
}

/** The store's view of a request. */
export function scopeOf({ siteId, period, filters }: Pick<Asked, 'siteId' | 'period' | 'filters'>): Scope {
  return { siteId, from: period.from, to: period.to, filters };
}
