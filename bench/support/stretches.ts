/** Figures of stretches of the same kind: one stretch is at the mercy of whatever else the machine does, the median of several is not. */

export interface Stretch {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export function stretchOf(latenciesMs: readonly number[]): Stretch {
  const sorted = [...latenciesMs].sort((a, b) => a - b);
  return { p50Ms: quantile(sorted, 0.5), p99Ms: quantile(sorted, 0.99) };
}

/** The medians of both figures over the stretches. */
export function medians(stretches: readonly Stretch[]): Stretch {
  return {
    p50Ms: median(stretches.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(stretches.map(({ p99Ms }) => p99Ms)),
  };
}

/** `least to most` of the p99 of the stretches, ms. */
export function spread(stretches: readonly Stretch[]): string {
  const all = stretches.map(({ p99Ms }) => p99Ms);
  return `${Math.min(...all).toFixed(1)} to ${Math.max(...all).toFixed(1)}`;
}

function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );
}

function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}
