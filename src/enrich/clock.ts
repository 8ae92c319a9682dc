/** Client clocks: RFC 3339 in, milliseconds out, and what becomes of clocks that are wrong. */

/** A clock this much ahead is taken for skew; more is replaced by the server's time. */
export const FUTURE_LIMIT_MS = 60_000;

const RFC3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d{2}):?(\d{2}))$/;

const DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/**
 * Milliseconds since epoch of an RFC 3339 date-time (also with a space for `T`, and fractions of any length); NaN when it is none.
 */
export function parseTimestamp(text: string): number {
  return isBrowserForm(text) ? parseBrowserForm(text) : parseAnyForm(text);
}

/** `2025-11-23T03:18:00.123Z`, what `Date.toISOString` writes and nearly every event has; saves the regular expression. */
function isBrowserForm(text: string): boolean {
  return (
    text.length === 24 &&
    text[4] === '-' &&
    text[7] === '-' &&
    text[10] === 'T' &&
    text[13] === ':' &&
    text[16] === ':' &&
    text[19] === '.' &&
    text[23] === 'Z'
  );
}

function parseBrowserForm(text: string): number {
  const date = dateMs(digits(text, 0, 4), digits(text, 5, 7), digits(text, 8, 10));
  return (
    date + timeMs(digits(text, 11, 13), digits(text, 14, 16), digits(text, 17, 19)) + digits(text, 20, 23)
  );
}

/** Number of the digits in [from, to); NaN when anything else is among them. */
function digits(text: string, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return Number.NaN;
    value = value * 10 + digit;
  }
  return value;
}

function parseAnyForm(text: string): number {
  const match = RFC3339.exec(text);
  if (match === null) return Number.NaN;
  const date = dateMs(Number(match[1]), Number(match[2]), Number(match[3]));
  const fraction = match[7] === undefined ? 0 : Number(match[7].padEnd(3, '0').slice(0, 3));
  const utc = date + timeMs(Number(match[4]), Number(match[5]), Number(match[6])) + fraction;
  if (match[8] === undefined) return utc;
  const offset = (Number(match[9]) * 60 + Number(match[10])) * 60_000;
  return match[8] === '+' ? utc - offset : utc + offset;
}

/** NaN for days that the calendar does not have. */
function dateMs(year: number, month: number, day: number): number {
  const exists = day >= 1 && day <= (DAYS[month - 1] ?? 0) && (month !== 2 || day < 29 || isLeap(year));
  return exists ? utcMs(year, month, day) : Number.NaN;
}

/** A leap second counts as the first of the next minute. */
function timeMs(hour: number, minute: number, second: number): number {
  return hour <= 23 && minute <= 59 && second <= 60
    ? ((hour * 60 + minute) * 60 + second) * 1000
    : Number.NaN;
}

/** Date.UTC takes years below 100 for 19xx. */
function utcMs(year: number, month: number, day: number): number {
  if (year >= 100) return Date.UTC(year, month - 1, day);
  return new Date(0).setUTCFullYear(year, month - 1, day);
}

function isLeap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

/** A length of time for people: whole days where it is that, else seconds. */
export function lengthText(ms: number): string {
  return ms % 86_400_000 === 0 ? `${ms / 86_400_000} days` : `${ms / 1000} seconds`;
}

/** Unix time in a JSON number: seconds or milliseconds, told apart by size. NaN when it is no finite number. */
export function parseUnixTime(value: number): number {
  if (!Number.isFinite(value)) return Number.NaN;
  return Math.round(Math.abs(value) < 1e11 ? value * 1000 : value);
}

let dayStart = 0;
let dayText = '';

/** UTC day of a time as `YYYY-MM-DD`; the last one is kept, for nearly all events are of one day. */
export function utcDay(ms: number): string {
  if (ms >= dayStart && ms < dayStart + 86_400_000 && dayText !== '') return dayText;
  dayText = new Date(ms).toISOString().slice(0, 10);
  dayStart = Math.floor(ms / 86_400_000) * 86_400_000;
  return dayText;
}
