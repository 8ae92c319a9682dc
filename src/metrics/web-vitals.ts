/** Web vitals: which there are and what is good (https://web.dev/articles/vitals and the pages of each metric there). */
import type { VitalRow } from './metrics-store.js';

export interface Vital {
  /** Lower case, as answers name it; events may write it in any case. */
  readonly name: string;
  /** Thousandths of the metric's own unit (ms; CLS has none): up to `good` a value is good, above `poor` it is poor. */
  readonly good: number;
  readonly poor: number;
}

/** In the order of answers. */
export const VITALS: readonly Vital[] = [
  { name: 'lcp', good: 2_500_000, poor: 4_000_000 },
  { name: 'inp', good: 200_000, poor: 500_000 },
  { name: 'cls', good: 100, poor: 250 },
  { name: 'fid', good: 100_000, poor: 300_000 },
  { name: 'fcp', good: 1_800_000, poor: 3_000_000 },
  { name: 'ttfb', good: 800_000, poor: 1_800_000 },
];

/** Greater values (an hour) and negative ones are no measures. */
export const VITAL_LIMIT = 3_600_000;

/** Rows as answers, in the metrics' own units, three decimal places; metrics without measures are absent. */
export function vitalFigures(rows: readonly VitalRow[]) {
  return VITALS.flatMap(({ name }) => {
    const row = rows.find((one) => one.name === name);
    if (!row || row.count === 0) return [];
    return [
      {
        name,
        avg: thousandths(Math.round(row.sum / row.count)),
        count: row.count,
        p75: thousandths(row.p75),
        p90: thousandths(row.p90),
        p99: thousandths(row.p99),
        good: row.good,
        needs_improvement: row.count - row.good - row.poor,
        poor: row.poor,
      },
    ];
  });
}

const thousandths = (value: number): number => value / 1000;
