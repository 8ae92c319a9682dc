/** Query parameters of funnel statistics beside those of all reports: strings in, typed values out. */
import { AppError } from '../errors.js';
import type { Asked } from '../metrics/asked.js';
import { STEP_ORDERS, type StepOrder } from '../metrics/funnel-metrics.js';

const HOUR_MS = 3_600_000;
export const DEFAULT_WINDOW_HOURS = 7 * 24;
export const MAX_WINDOW_HOURS = 366 * 24;
/** Days that are asked of when nothing is said. */
export const DEFAULT_DAYS = 30;

export const BREAKDOWNS = ['source', 'device', 'country'] as const;
export type Breakdown = (typeof BREAKDOWNS)[number];

/** Parameters as they come; an empty one counts as absent. */
export interface FunnelQuery {
  readonly window_hours?: string;
  readonly order?: string;
  readonly breakdown?: string;
}

export interface FunnelAsked extends Asked {
  readonly windowMs: number;
  readonly order: StepOrder;
  readonly breakdown: Breakdown | null;
}

/** @throws AppError `invalid_parameter` */
export function funnelAsked(asked: Asked, query: FunnelQuery): FunnelAsked {
  const order = oneOf('order', query.order, STEP_ORDERS) ?? 'ordered';
  const breakdown = oneOf('breakdown', query.breakdown, BREAKDOWNS) ?? null;
  return { ...asked, windowMs: windowHours(query.window_hours) * HOUR_MS, order, breakdown };
}

function windowHours(text: string | undefined): number {
  const given = text?.trim() ?? '';
  if (given === '') return DEFAULT_WINDOW_HOURS;
  const hours = /^\d{1,6}$/.test(given) ? Number(given) : 0;
  if (hours >= 1 && hours <= MAX_WINDOW_HOURS) return hours;
  throw new AppError(
    'invalid_parameter',
    `window_hours must be a whole number from 1 to ${MAX_WINDOW_HOURS}`,
  );
}

function oneOf<T extends string>(
  name: string,
  text: string | undefined,
  values: readonly T[],
): T | undefined {
  const given = text?.trim().toLowerCase() ?? '';
  if (given === '') return undefined;
  const found = values.find((value) => value === given);
  if (found === undefined)
    throw new AppError('invalid_parameter', `${name} must be one of ${values.join(', ')}`);
  return found;
}
