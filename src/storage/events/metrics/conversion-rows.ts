/** Readers of the rows about goals and funnels. */
import type { FunnelCounts, TrackedCounts } from '../../../metrics/funnel-metrics.js';
import type { GoalCounts } from '../../../metrics/goal-metrics.js';
import { numbers, textAndNumbers } from './result-rows.js';

/** What a tracker reports, in the order of the counts of `trackedRow`. */
export const TRACKED_TYPES = ['start', 'progress', 'conversion', 'dropoff'] as const;

/** @param rows index from 1, count, visitors, properties; of the goals that have conversions */
export function goalRows(rows: readonly (readonly unknown[])[], goals: number): GoalCounts[] {
  const list: GoalCounts[] = Array.from({ length: goals }, () => ({ count: 0, visitors: 0, properties: '' }));
  for (const row of rows) {
    const [nth, count, visitors] = numbers(row.slice(0, 3), 3);
    const properties = row[3];
    if (typeof properties !== 'string') throw new TypeError('expected properties');
    list[nth - 1] = { count, visitors, properties };
  }
  return list;
}

/** @param row label; for each step: visitors, twice the median in ms or -1 */
export function funnelRow(row: readonly unknown[], steps: number): FunnelCounts {
  const [label] = row;
  if (typeof label !== 'string') throw new TypeError(`expected a label, got ${JSON.stringify(label)}`);
  return {
    label,
    steps: Array.from({ length: steps }, (_, i) => {
      const [visitors, twice] = numbers(row.slice(1 + 2 * i, 3 + 2 * i), 2);
      return { visitors, medianMs: twice < 0 ? null : twice / 2 };
    }),
  };
}

/** What a funnel answers that nobody entered: one row without breakdown, none with one. */
export function orNobody(rows: FunnelCounts[], steps: number, breakdown: boolean): FunnelCounts[] {
  if (breakdown || rows.length > 0) return rows;
  return [{ label: '', steps: Array.from({ length: steps }, () => ({ visitors: 0, medianMs: null })) }];
}

/** @param row funnel id and a count for each of TRACKED_TYPES */
export function trackedRow(row: readonly unknown[]): TrackedCounts {
  const { text, counts } = textAndNumbers(row, 4);
  const [starts, progress, conversions, dropoffs] = counts;
  return { funnelId: text, starts, progress, conversions, dropoffs };
}
