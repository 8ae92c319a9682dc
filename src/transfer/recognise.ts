/** What an uploaded file is, by its beginning; its name says nothing. */
import { AppError } from '../errors.js';
import { headerOf, isObject, objectOf } from './file-rows.js';

/** A file of events, or the report of figures that `GET /api/v1/analytics/export` gives. */
export type Recognised =
  | { readonly format: 'csv'; readonly columns: readonly string[] }
  | { readonly format: 'ndjson' }
  | {
      readonly format: 'report';
      readonly report: Readonly<Record<string, unknown>>;
      /** How many figures and lines of lists it has. */
      readonly figures: number;
    };

/** Columns without which a row is no event. */
const NEEDED = ['event_id', 'timestamp', 'event_type'];
const MAX_HEAD_BYTES = 1024 * 1024;
/** Room for a hundred pages and sources with the longest names. */
const MAX_REPORT_BYTES = 256 * 1024;
const MAX_FIGURES = 100;
/** Of either list. */
const MAX_LINES = 100;
const MAX_TEXT = 2_048;

/**
 * @param head the beginning of the text, at least 1 MiB of a longer one
 * @param bytes of the whole text
 * @throws AppError `invalid_request`
 */
export function recognise(head: Buffer, bytes: number): Recognised {
  if (bytes === 0) throw new AppError('invalid_request', 'The file is empty');
  const text = head.toString('utf8', 0, MAX_HEAD_BYTES).replace(/^\ufeff/, '');
  if (/^\s*\{/.test(text)) return recogniseJson(text, bytes);
  if (/^Metric,Value\r?\n/i.test(text)) return reportFromTable(text);
  const columns = headerOf(head);
  if (NEEDED.every((name) => columns.includes(name)) && new Set(columns).size === columns.length) {
    return { format: 'csv', columns };
  }
  throw unknownFile();
}

function recogniseJson(text: string, bytes: number): Recognised {
  const whole = bytes <= MAX_REPORT_BYTES ? objectOf(text) : null;
  const report = whole === null ? null : reportFrom(whole);
  if (report !== null) return report;
  const first = objectOf(text.split('\n').find((line) => line.trim() !== '') ?? '');
  if (first !== null && NEEDED.every((name) => Object.hasOwn(first, name))) return { format: 'ndjson' };
  throw unknownFile();
}

/** What a report says, and nothing else that may stand beside or within it; null when it is none. */
function reportFrom(whole: Readonly<Record<string, unknown>>): Recognised | null {
  const { website_id, period_days, metrics, top_pages, top_sources, exported_at } = whole;
  const lists = [top_pages, top_sources].map((list) => list ?? []);
  if (typeof period_days !== 'number' || !isFlat(metrics) || !lists.every(isList)) return null;
  if (![website_id, exported_at].every((value) => value === undefined || isValue(value))) return null;
  return {
    format: 'report',
    report: { website_id, period_days, metrics, top_pages, top_sources, exported_at },
    figures: lists.reduce((sum, { length }) => sum + length, Object.keys(metrics).length),
  };
}

const isList = (value: unknown): value is readonly unknown[] =>
  Array.isArray(value) && value.length <= MAX_LINES && value.every(isFlat);

const isFlat = (value: unknown): value is Readonly<Record<string, unknown>> =>
  isObject(value) &&
  Object.keys(value).length <= MAX_FIGURES &&
  Object.entries(value).every(([name, it]) => isText(name) && isValue(it));

const isValue = (value: unknown): boolean =>
  value === null || ['number', 'boolean'].includes(typeof value) || isText(value);

/** Postgres keeps neither NUL nor half of a character. */
const isText = (value: unknown): boolean =>
  typeof value === 'string' &&
  value.length <= MAX_TEXT &&
  !value.includes('\0') &&
  !/\p{Surrogate}/u.test(value);

/** `Metric,Value` and a line for each figure. */
function reportFromTable(text: string): Recognised {
  const metrics: Record<string, number> = {};
  for (const line of text.split(/\r?\n/).slice(1, MAX_FIGURES + 1)) {
    const [, name, value] = /^"?([A-Za-z][A-Za-z ]{0,60})"?,(-?\d{1,15}(?:\.\d{1,6})?)$/.exec(line) ?? [];
    if (name !== undefined) metrics[name] = Number(value);
  }
  const figures = Object.keys(metrics).length;
  if (figures === 0) throw unknownFile();
  return { format: 'report', report: { metrics }, figures };
}

const unknownFile = (): AppError =>
  new AppError(
    'invalid_request',
    'The file is neither an export of events (CSV or NDJSON, gzip or not) nor a report of this program',
  );
