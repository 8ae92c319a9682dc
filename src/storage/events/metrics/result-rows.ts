/** Readers of result rows (arrays of values), which prove what they hand on. */
import type {
  BucketCounts,
  CohortRow,
  EventTypeRow,
  PlaceRow,
  PropertyRow,
  PropertyValueRow,
  VitalRow,
} from '../../../metrics/metrics-store.js';

/** A tuple of N numbers. */
export type Numbers<N extends number, T extends number[] = []> = T['length'] extends N
  ? T
  : Numbers<N, [...T, number]>;

/** A row of numbers. @throws TypeError when it is something else */
export function numbers<N extends number>(row: readonly unknown[] | undefined, count: N): Numbers<N> {
  const values: unknown = row?.map(toNumber);
  if (isNumbers(values, count)) return values;
  throw new TypeError(`expected ${count} numbers, got ${JSON.stringify(row)}`);
}

/** A row of one text and then numbers. @throws TypeError when it is something else */
export function textAndNumbers<N extends number>(
  row: readonly unknown[],
  count: N,
): { text: string; counts: Numbers<N> } {
  const [text, ...rest] = row;
  if (typeof text !== 'string') throw new TypeError(`expected a text, got ${JSON.stringify(text)}`);
  return { text, counts: numbers(rest, count) };
}

/**
 * Puts the buckets that have something at their places among all.
 * @param starts of all buckets, the last element being the end; of equal neighbours the last one counts
 * @param rows start, views, visitors, sessions, bounces
 */
export function fillBuckets(starts: readonly number[], rows: readonly Numbers<5>[]): BucketCounts[] {
  const found = new Map(rows.map((row) => [row[0], row]));
  return starts.slice(0, -1).map((start, i) => {
    const row = starts[i + 1] === start ? undefined : found.get(start);
    return row
      ? { views: row[1], visitors: row[2], sessions: row[3], bounces: row[4] }
      : { views: 0, visitors: 0, sessions: 0, bounces: 0 };
  });
}

/** One number a bucket, as `fillBuckets`. @param rows start, number */
export function fillNumbers(starts: readonly number[], rows: readonly Numbers<2>[]): number[] {
  const found = new Map(rows);
  return starts.slice(0, -1).map((start, i) => (starts[i + 1] === start ? 0 : (found.get(start) ?? 0)));
}

/** @param rows start of the cohort, start of the active bucket, visitors */
export function cohortRows(starts: readonly number[], rows: readonly Numbers<3>[]): CohortRow[] {
  return rows.map(([cohort, active, visitors]) => ({
    cohort: starts.lastIndexOf(cohort, starts.length - 2),
    active: starts.lastIndexOf(active, starts.length - 2),
    visitors,
  }));
}

/** @param row type, properties, count, visitors */
export function eventTypeRow(row: readonly unknown[]): EventTypeRow {
  const [type, properties, ...rest] = row;
  if (typeof type !== 'string' || typeof properties !== 'string')
    throw new TypeError('expected a type and properties');
  const [count, visitors] = numbers(rest, 2);
  return { type, properties, count, visitors };
}

/** @param row label, country code, views, visitors, sessions, bounces */
export function placeRow(row: readonly unknown[]): PlaceRow {
  const [value, countryCode, ...rest] = row;
  if (typeof value !== 'string' || typeof countryCode !== 'string') throw new TypeError('expected two texts');
  const [views, visitors, sessions, bounces] = numbers(rest, 4);
  return { value, countryCode, views, visitors, sessions, bounces };
}

/** @param row name, count, visitors */
export function propertyRow(row: readonly unknown[]): PropertyRow {
  const { text, counts } = textAndNumbers(row, 2);
  return { name: text, count: counts[0], visitors: counts[1] };
}

/** Numbers are written as JavaScript does. @param row type, text, number, count, visitors */
export function propertyValueRow(row: readonly unknown[]): PropertyValueRow {
  const [type, text, number, ...rest] = row;
  if (!isPropertyType(type) || typeof text !== 'string' || typeof number !== 'number')
    throw new TypeError('expected type, text and number of a property');
  const [count, visitors] = numbers(rest, 2);
  return { type, value: type === 'number' ? String(number) : text, count, visitors };
}

const isPropertyType = (type: unknown): type is PropertyValueRow['type'] =>
  type === 'boolean' || type === 'number' || type === 'string';

/** @param row name, count, sum, p75, p90, p99, good, poor */
export function vitalRow(row: readonly unknown[]): VitalRow {
  const { text, counts } = textAndNumbers(row, 7);
  const [count, sum, p75, p90, p99, good, poor] = counts;
  return { name: text, count, sum, p75, p90, p99, good, poor };
}

/** Drivers give 64-bit integers as text. */
function toNumber(value: unknown): unknown {
  if (typeof value === 'number') return value;
  if (typeof value === 'string' && /^-?\d{1,16}$/.test(value)) return Number(value);
  return undefined;
}

function isNumbers<N extends number>(values: unknown, count: N): values is Numbers<N> {
  return (
    Array.isArray(values) && values.length === count && values.every((value) => Number.isSafeInteger(value))
  );
}
