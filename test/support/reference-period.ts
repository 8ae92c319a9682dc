/** Periods of the naive reference: local dates, instants, and what a local time is called. */
import { DateTime } from 'luxon';
import type { ReferenceSession } from './reference-sessions.js';

export interface ReferenceQuestion {
  readonly zone: string;
  /** ms since epoch */
  readonly now: number;
  readonly range: { readonly days: number } | { readonly from: string; readonly to: string };
  readonly limit: number;
  /** What the filters let through. */
  readonly session?: ((session: ReferenceSession) => boolean) | undefined;
  readonly page?: ((page: string) => boolean) | undefined;
}

export interface Interval {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

export const inside = ({ from, to }: Interval, at: number): boolean => at >= from && at < to;

/** Local dates of the period, ascending. */
export function daysOf({ range, zone, now }: ReferenceQuestion): readonly string[] {
  const key = JSON.stringify([range, zone, now]);
  const known = dayLists.get(key) ?? listDays(range, zone, now);
  dayLists.set(key, known);
  return known;
}

const dayLists = new Map<string, readonly string[]>();

function listDays(range: ReferenceQuestion['range'], zone: string, now: number): string[] {
  const today = DateTime.fromMillis(now, { zone });
  const first = 'days' in range ? today.minus({ days: range.days - 1 }).toISODate() : range.from;
  const last = 'days' in range ? today.toISODate() : range.to;
  const days: string[] = [];
  for (let day = DateTime.fromISO(first ?? '', { zone: 'utc' }); day.toISODate() !== null; ) {
    const text = day.toISODate() ?? '';
    if (text > (last ?? '')) break;
    days.push(text);
    day = day.plus({ days: 1 });
  }
  return days;
}

export function periodOf(question: ReferenceQuestion): Interval {
  const days = daysOf(question);
  return cut(question, days[0] ?? '', days.length, question.now + 1);
}

export function previousOf(question: ReferenceQuestion): Interval {
  const days = daysOf(question);
  const first = DateTime.fromISO(days[0] ?? '', { zone: 'utc' }).minus({ days: days.length });
  const shown = DateTime.fromMillis(question.now, { zone: question.zone }).setZone('utc', {
    keepLocalTime: true,
  });
  const sameTime = firstInstant(question.zone, shown.minus({ days: days.length }));
  return cut(question, first.toISODate() ?? '', days.length, sameTime + 1);
}

function cut({ zone }: ReferenceQuestion, first: string, days: number, end: number): Interval {
  const from = dayStart(zone, first);
  return { from, to: Math.max(from, Math.min(end, dayStart(zone, first, days))) };
}

const dayStart = (zone: string, date: string, later = 0): number =>
  firstInstant(zone, DateTime.fromISO(date, { zone: 'utc' }).plus({ days: later }));

/** When a local clock shows this time first, or has just jumped over it. @param shown the time, as if it were UTC */
function firstInstant(zone: string, shown: DateTime): number {
  const wanted = shown.toMillis();
  // No clock is farther from UTC than that.
  let at = Math.floor(wanted / QUARTER) * QUARTER - 64 * QUARTER;
  const shows = () => at + DateTime.fromMillis(at, { zone }).offset * 60_000;
  while (shows() + QUARTER <= wanted) at += QUARTER;
  return at + Math.max(0, wanted - shows());
}

/** No zone has ever changed its clock within a quarter of an hour (since 1970). */
const QUARTER = 15 * 60_000;
const names = new Map<string, string>();

/** What a local time is called; remembered by quarters of an hour, for the format must not tell more. */
export function localName(zone: string, format: string, at: number): string {
  const quarter = Math.floor(at / QUARTER);
  const key = `${zone} ${format} ${quarter}`;
  const known = names.get(key);
  if (known !== undefined) return known;
  const name = DateTime.fromMillis(quarter * QUARTER, { zone }).toFormat(format);
  names.set(key, name);
  return name;
}

/** Hours that the local clock shows on these days, told apart by their offset from UTC, with their first instants. */
export function hoursOf({ zone }: ReferenceQuestion, days: readonly string[]): Map<string, number> {
  const begin = dayStart(zone, days[0] ?? '');
  const end = dayStart(zone, days.at(-1) ?? '', 1);
  const hours = new Map<string, number>();
  for (let at = begin; at < end; at += QUARTER) {
    const hour = localName(zone, HOUR, at);
    if (!hours.has(hour)) hours.set(hour, at);
  }
  return hours;
}

export const DAY = 'yyyy-MM-dd';
export const HOUR = 'yyyy-MM-dd HH ZZZ';
