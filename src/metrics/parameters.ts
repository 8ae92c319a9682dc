/** Query parameters of the analytics endpoints (contract 7.1; metrics.md "Time"): strings in, typed values out. */
import { AppError } from '../errors.js';
import { type Filter, type FilterField, parseFilters } from './filters.js';
import { MAX_DAYS, type Period, periodOf, type Range, zoneOf } from './period.js';

/** Parameters as they come; an empty one counts as absent. */
export type AnalyticsQuery = Readonly<
  Partial<Record<'days' | 'from' | 'to' | 'limit' | 'timezone' | FilterField, string | undefined>>
>;

export interface AnalyticsParameters {
  readonly period: Period;
  /** As given, `UTC` when absent. */
  readonly timezone: string;
  readonly limit: number;
  readonly filters: readonly Filter[];
}

const MAX_LIMIT = 1000;
const DEFAULT_LIMIT = 10;

/**
 * @param defaultDays the endpoint's own default
 * @param now ms since epoch
 * @throws AppError `invalid_parameter`
 */
export function parseParameters(
  query: AnalyticsQuery,
  defaultDays: number,
  now: number,
): AnalyticsParameters {
  const timezone = given(query.timezone) ?? 'UTC';
  return {
    period: periodOf(rangeOf(query, defaultDays), zoneOf(timezone), now),
    timezone,
    limit: integer('limit', query.limit, MAX_LIMIT) ?? DEFAULT_LIMIT,
    filters: parseFilters(query),
  };
}

/** Whether local dates were asked for. @throws AppError `invalid_parameter` when only one of the two is there */
export function hasDates(query: AnalyticsQuery): boolean {
  const from = given(query.from) !== undefined;
  if (from !== (given(query.to) !== undefined))
    throw new AppError('invalid_parameter', 'from and to belong together');
  return from;
}

/** Without what is no question to a report that is of a time of its own. */
export function ofOwnTime(query: AnalyticsQuery): AnalyticsQuery {
  return { ...query, days: undefined, from: undefined, to: undefined, limit: undefined };
}

/** Lets a comparison ask for twice the days that there may be (contract 18.3: `days*2`): it gets as many as there may be. */
export function ofTwicePeriod(query: AnalyticsQuery): AnalyticsQuery {
  const days = Number(given(query.days) ?? 0);
  return days > MAX_DAYS && days <= 2 * MAX_DAYS ? { ...query, days: String(MAX_DAYS) } : query;
}

function rangeOf(query: AnalyticsQuery, defaultDays: number): Range {
  if (hasDates(query)) return { from: query.from?.trim() ?? '', to: query.to?.trim() ?? '' };
  return { days: integer('days', query.days, MAX_DAYS) ?? defaultDays };
}

function integer(name: string, text: string | undefined, max: number): number | undefined {
  const value = given(text);
  if (value === undefined) return undefined;
  const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= 1 && number <= max) return number;
  throw new AppError('invalid_parameter', `${name} must be a whole number from 1 to ${max}`);
}

function given(text: string | undefined): string | undefined {
  const trimmed = text?.trim();
  return trimmed === '' ? undefined : trimmed;
}
