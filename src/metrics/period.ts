/**
 * Periods and buckets in local time (metrics.md "Time"), as UTC instants. Everything here is exact on days of 23 and 25 hours, in
 * zones whose midnight does not exist on some days, and in zones that skip a day.
 */
import { IANAZone } from 'luxon';
import { AppError } from '../errors.js';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
/** No zone was ever further from UTC. */
const MAX_OFFSET_MS = 16 * HOUR_MS;
export const MAX_DAYS = 3650;

/** What the caller asked for: `days` up to now, or local dates `from` to `to`, both inclusive. */
export type Range =
  | { readonly days: number }
  | { readonly from: string /* YYYY-MM-DD */; readonly to: string /* YYYY-MM-DD */ };

/** A stretch of whole local days, cut at `now` when it is running. */
export interface Period {
  readonly zone: IANAZone;
  /** First local day, as days since 1970-01-01. */
  readonly firstDay: number;
  readonly days: number;
  /** First instant, ms since epoch. */
  readonly from: number;
  /** First instant that is no longer part of it, ms since epoch. */
  readonly to: number;
}

/**
 * The named zone.
 * @throws AppError `invalid_parameter` when the name is no IANA zone
 */
export function zoneOf(name: string): IANAZone {
  const lower = name.toLowerCase();
  const known = zones.get(lower);
  if (known) return known;
  const canonical = /^[a-z][\w+\-/]{0,63}$/.test(lower) ? canonicalZone(lower) : undefined;
  if (canonical === undefined)
    throw new AppError('invalid_parameter', `unknown timezone: ${name.slice(0, 64)}`);
  const zone = IANAZone.create(canonical);
  zones.set(lower, zone);
  return zone;
}

/** By lower-case name: as many as there are zones and links, in whatever spellings they are asked for. Luxon keeps each spelling for ever. */
const zones = new Map<string, IANAZone>();

function canonicalZone(name: string): string | undefined {
  try {
    // What ICU calls the zone of a browser that cannot tell its own; a time zone of nowhere in the IANA database.
    const timeZone = name === 'etc/unknown' ? 'UTC' : name;
    return new Intl.DateTimeFormat('en-US', { timeZone }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}

/** Days since 1970-01-01 of a `YYYY-MM-DD` date; undefined when it is none (or before 1970). */
export function parseDate(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\d$/.test(text)) return undefined;
  const ms = Date.parse(`${text}T00:00:00Z`);
  if (Number.isNaN(ms) || ms < 0 || new Date(ms).toISOString().slice(0, 10) !== text) return undefined;
  return ms / DAY_MS;
}

/** `YYYY-MM-DD` of a day number. */
export const formatDate = (day: number): string => new Date(day * DAY_MS).toISOString().slice(0, 10);

/**
 * The asked period. A running one ends with the current millisecond.
 * @throws AppError `invalid_parameter` when dates are malformed, reversed or more than 3650 days apart
 */
export function periodOf(range: Range, zone: IANAZone, now: number): Period {
  const today = localDay(zone, now);
  if ('days' in range) return cut(zone, today - range.days + 1, range.days, now + 1);
  const first = dateParameter('from', range.from);
  const last = dateParameter('to', range.to);
  if (last < first) throw new AppError('invalid_parameter', 'from must not be after to');
  if (last - first >= MAX_DAYS)
    throw new AppError('invalid_parameter', `at most ${MAX_DAYS} days can be asked for`);
  return cut(zone, first, last - first + 1, now + 1);
}

/** The stretch before: moved back by the period's number of days and cut at the same local time of day. */
export function previousPeriod(period: Period, now: number): Period {
  const { zone, firstDay, days } = period;
  const wallClock = now + offsetMs(zone, now);
  const day = Math.floor(wallClock / DAY_MS);
  const sameTime = localInstant(zone, day - days, wallClock - day * DAY_MS);
  return cut(zone, firstDay - days, days, sameTime + 1);
}

/** First instants of the period's days, and as one more element the first instant after its last day. */
export function dayStarts(period: Period): number[] {
  return Array.from({ length: period.days + 1 }, (_, i) => localInstant(period.zone, period.firstDay + i, 0));
}

/** First instants of the local hours of the period's days, and as one more element the first instant after the last. */
export function hourStarts(period: Period): number[] {
  const { zone } = period;
  const end = localInstant(zone, period.firstDay + period.days, 0);
  const starts: number[] = [];
  let at = localInstant(zone, period.firstDay, 0);
  while (at < end) {
    starts.push(at);
    at = nextHour(zone, at);
  }
  starts.push(end);
  return starts;
}

/** The local wall clock at an instant: `YYYY-MM-DDTHH:MM`. */
export function wallClockText(zone: IANAZone, instant: number): string {
  return new Date(instant + offsetMs(zone, instant)).toISOString().slice(0, 16);
}

/** Local calendar day of an instant, as days since 1970-01-01. */
export function localDay(zone: IANAZone, instant: number): number {
  return Math.floor((instant + offsetMs(zone, instant)) / DAY_MS);
}

function cut(zone: IANAZone, firstDay: number, days: number, end: number): Period {
  const from = localInstant(zone, firstDay, 0);
  const to = Math.min(localInstant(zone, firstDay + days, 0), end);
  return { zone, firstDay, days, from, to: Math.max(from, to) };
}

/**
 * First instant at which the local clock shows this day and time, or has just jumped over it.
 * @param timeMs milliseconds since local midnight
 */
function localInstant(zone: IANAZone, day: number, timeMs: number): number {
  const wallClock = day * DAY_MS + timeMs;
  const before = offsetMs(zone, wallClock - MAX_OFFSET_MS);
  const after = offsetMs(zone, wallClock + MAX_OFFSET_MS);
  if (before === after) return wallClock - before;
  const change = offsetChange(zone, wallClock - MAX_OFFSET_MS, wallClock + MAX_OFFSET_MS);
  return wallClock - before < change ? wallClock - before : Math.max(wallClock - after, change);
}

function nextHour(zone: IANAZone, at: number): number {
  const offset = offsetMs(zone, at);
  const next = at + HOUR_MS - ((at + offset) % HOUR_MS);
  return offsetMs(zone, next) === offset ? next : offsetChange(zone, at, next);
}

/** The first second in (low, high] with another offset than at `low`. */
function offsetChange(zone: IANAZone, low: number, high: number): number {
  const offset = offsetMs(zone, low);
  let same = Math.floor(low / 1000);
  let other = Math.ceil(high / 1000);
  while (other - same > 1) {
    const middle = Math.floor((same + other) / 2);
    if (offsetMs(zone, middle * 1000) === offset) same = middle;
    else other = middle;
  }
  return other * 1000;
}

function offsetMs(zone: IANAZone, instant: number): number {
  return Math.round(zone.offset(instant) * 60_000);
}

function dateParameter(name: string, value: string): number {
  const day = parseDate(value);
  if (day === undefined) throw new AppError('invalid_parameter', `${name} must be a date, YYYY-MM-DD`);
  return day;
}
