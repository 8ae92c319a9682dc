/** One heat point: from what was sent (contract 11.1, 17.5) to the cell that it belongs to. */
import { HEAT_DEVICES, HEAT_TYPES, type HeatDevice, type HeatType } from '../events/heat.js';
import type { PageRules } from '../websites/page-patterns.js';
import { FUTURE_LIMIT_MS, lengthText, parseTimestamp, parseUnixTime } from './clock.js';
import { asNumber } from './event-schema.js';
import { normalisePage } from './page.js';
import { Rejection } from './rejection.js';
import { TEXT_LIMITS } from './text.js';

/** Longest selector that is kept, in UTF-16 units. */
export const SELECTOR_LIMIT = 1024;

const I16 = { min: -0x8000, max: 0x7fff } as const;

/** What the points of one request share. */
export interface PointContext {
  readonly rules: PageRules;
  /** ms since epoch. */
  readonly receivedAt: number;
  /** Older points are stale, ms. */
  readonly eventAgeMs: number;
}

/** A point in the units of the stored row. */
export interface HeatPoint {
  readonly type: HeatType;
  readonly device: HeatDevice;
  readonly page: string;
  readonly selector: string;
  /** Thousandths of the page, whole, of 16 bits. */
  readonly x: number;
  readonly y: number;
  /** ms since epoch. */
  readonly timestamp: number;
  /** What of the time goes into the id: the client's text; '' when it sent none. */
  readonly idClock: string;
  /** Copies may have come at any time before: the client's clock says nothing. */
  readonly lookup: boolean;
}

/** Validates one point. */
export function readPoint(value: unknown, context: PointContext): HeatPoint | Rejection {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return new Rejection('not_an_object', 'a point must be a JSON object');
  const field = (name: string): unknown => Object.getOwnPropertyDescriptor(value, name)?.value;
  const type = named(HEAT_TYPES, field('type'));
  if (type === undefined)
    return new Rejection('invalid_value', `type must be one of ${HEAT_TYPES.join(', ')}`);
  const device = named(HEAT_DEVICES, field('device_type') || 'desktop');
  if (device === undefined)
    return new Rejection('invalid_value', `device_type must be one of ${HEAT_DEVICES.join(', ')}`);
  const url = field('url');
  const page = typeof url === 'string' ? normalisePage(url.trim()) : '';
  if (page === '') return new Rejection('missing_field', 'url must be the path of a page');
  const x = coordinate(field('x_percent'), field('x'));
  const y = coordinate(field('y_percent'), field('y'));
  if (x === null || y === null) return new Rejection('invalid_value', 'x and y must be numbers');
  if (!context.rules.allows(page))
    return new Rejection('excluded_page', 'heatmaps are not recorded on this page');
  const clock = readClock(field('timestamp'), context);
  if (clock instanceof Rejection) return clock;
  return { type, device, page, selector: shortSelector(field('selector')), x, y, ...clock };
}

function named<T extends string>(names: readonly T[], value: unknown): T | undefined {
  if (typeof value !== 'string') return undefined;
  const name = value.trim().toLowerCase();
  return names.find((known) => known === name);
}

/** The first of the two that is there and not 0, rounded and held within 16 bits; null when it is no number. */
function coordinate(percent: unknown, plain: unknown): number | null {
  const given = isAbsent(percent) || asNumber(percent) === 0 ? plain : percent;
  const number = isAbsent(given) ? 0 : asNumber(given);
  if (number === null) return null;
  return Math.min(I16.max, Math.max(I16.min, Math.round(number))) + 0;
}

const isAbsent = (value: unknown): boolean => value === undefined || value === null || value === '';

/**
 * Selectors are written from the root to the element, so a long one loses its beginning: what is left still names the element, where the
 * other end would lump it together with all its neighbours.
 */
function shortSelector(value: unknown): string {
  if (typeof value !== 'string') return '';
  if (value.length <= SELECTOR_LIMIT) return value;
  const end = value.slice(-SELECTOR_LIMIT);
  const step = end.indexOf(' > ');
  if (step !== -1) return end.slice(step + 3);
  // Not in the middle of a surrogate pair.
  return /^[\udc00-\udfff]/.test(end) ? end.slice(1) : end;
}

function readClock(
  value: unknown,
  { receivedAt, eventAgeMs }: PointContext,
): Pick<HeatPoint, 'timestamp' | 'idClock' | 'lookup'> | Rejection {
  if (isAbsent(value) || value === 0) return { timestamp: receivedAt, idClock: '', lookup: false };
  const unix = asNumber(value);
  const ms =
    unix !== null ? parseUnixTime(unix) : typeof value === 'string' ? parseTimestamp(value) : Number.NaN;
  if (Number.isNaN(ms)) return new Rejection('invalid_timestamp', 'timestamp must be unix seconds');
  if (ms < Math.max(0, receivedAt - eventAgeMs))
    return new Rejection('stale', `the point is older than ${lengthText(eventAgeMs)}`);
  const idClock = String(value).slice(0, TEXT_LIMITS.label);
  return ms > receivedAt + FUTURE_LIMIT_MS
    ? { timestamp: receivedAt, idClock, lookup: true }
    : { timestamp: ms, idClock, lookup: false };
}
