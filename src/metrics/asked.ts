import type { Scope } from './metrics-store.js';
import { type AnalyticsParameters, type AnalyticsQuery, parseParameters } from './parameters.js';
import { previousPeriod } from './period.js';

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

/** The same of the period before. */
export function scopeBefore(asked: Pick<Asked, 'siteId' | 'period' | 'filters' | 'now'>): Scope {
  const { from, to } = asked.period;
  const before = scopeOf({ ...asked, period: previousPeriod(asked.period, asked.now) });
  return { ...before, comparedWith: { from, to } };
}

/**
 * What is asked of a site. `now` counts in whole seconds, rounded up: equal questions of the same second are one question, and nothing
 * stored is left out.
 * @param defaultDays the endpoint's own default
 * @param clock ms since epoch
 * @throws AppError `invalid_parameter`
 */
export function ask(
  siteId: string,
  query: AnalyticsQuery,
  defaultDays: number,
  clock: number,
  signal: AbortSignal,
): Asked {
  const now = Math.ceil((clock + 1) / 1000) * 1000 - 1;
  return { ...parseParameters(query, defaultDays, now), siteId, now, signal };
}
