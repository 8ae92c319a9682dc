import { AppError } from '../errors.js';
import type { Place } from './raw-event.js';

const DAY_MS = 86_400_000;
const DATE = /^\d{4}-\d{2}-\d{2}$/;
const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})$/;
const ID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

/**
 * A stretch of time as callers name it: dates are days of UTC and `to` is included as a day; moments (RFC 3339) are as they are, `to`
 * not included.
 * @returns ms since epoch, `to` not included
 * @throws AppError `invalid_parameter`
 */
export function parseRange(from: string, to: string, now: number): { from: number; to: number } {
  const start = from === '' ? 0 : moment('from', from, 0);
  // Clocks of browsers may be ahead a little.
  const end = to === '' ? now + DAY_MS : moment('to', to, DAY_MS);
  if (end <= start) throw new AppError('invalid_parameter', 'to must be after from');
  return { from: start, to: end };
}

function moment(name: string, value: string, dayMs: number): number {
  const isDate = DATE.test(value);
  const ms = isDate || TIME.test(value) ? Date.parse(value) : Number.NaN;
  if (!Number.isFinite(ms) || ms < 0 || ms > 4_102_444_800_000) {
    throw new AppError('invalid_parameter', `${name} must be a date or a moment as in 2026-01-31T12:00:00Z`);
  }
  return isDate ? ms + dayMs : ms;
}

/**
 * The place after which a file goes on: `timestamp,event_id` as they stand in its last whole line.
 * @throws AppError `invalid_parameter`
 */
export function parsePlace(after: string): Place | null {
  if (after === '') return null;
  const [time = '', id = '', ...rest] = after.split(',');
  const timestamp = TIME.test(time) ? Date.parse(time) : Number.NaN;
  if (rest.length > 0 || !Number.isFinite(timestamp) || !ID.test(id)) {
    throw new AppError(
      'invalid_parameter',
      'after must be the timestamp and the event_id of the last line, with a comma',
    );
  }
  return { timestamp, id: id.replaceAll('-', '').toLowerCase() };
}
