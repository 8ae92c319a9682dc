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
const MAX_REPORT_BYTES = 1024 * 1024;
const MAX_FIGURES = 100;

/**
 * @param head the beginning of the text, at least 1 MiB of a longer one
 * @param bytes of the whole text
 * @throws AppError `invalid_request`
 */
export function recognise(head: Buffer, bytes: number): Recognised {
  if (bytes === 0) throw new AppError('invalid_request', 'The file is empty');
  const text = head.toString('utf8', 0, MAX_REPORT_BYTES).replace(/^\ufeff/, '');
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
  if (whole !== null && isObject(whole.metrics) && typeof whole.period_days === 'number') {
    const { website_id, period_days, metrics, top_pages, top_sources, exported_at } = whole;
    const report = { website_id, period_days, metrics, top_pages, top_sources, exported_at };
    const lists = [top_pages, top_sources].map((list) => (Array.isArray(list) ? list.length : 0));
    return {
      format: 'report',
      report,
      figures: lists.reduce((sum, length) => sum + length, Object.keys(metrics).length),
    };
  }
  const first = objectOf(text.split('\n').find((line) => line.trim() !== '') ?? '');
  if (first !== null && NEEDED.every((name) => Object.hasOwn(first, name))) return { format: 'ndjson' };
  throw unknownFile();
}

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
