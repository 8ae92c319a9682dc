import type { Scope } from './metrics-store.js';

/** Which events are conversions; texts are compared with case. */
export type GoalMatch =
  | { readonly on: 'event'; readonly type: string }
  /** `exact`: the stored path; `wildcard`: `*` is any text, also none. */
  | { readonly on: 'page'; readonly how: 'exact' | 'wildcard'; readonly path: string };

/** Conversions of one goal. */
export interface GoalCounts {
  /** Matching events in the period. */
  readonly count: number;
  /** Distinct visitors with one. */
  readonly visitors: number;
  /** Properties of the latest one, JSON text; `{}` when they are longer than MAX_SAMPLE_BYTES, '' when there is none. */
  readonly properties: string;
}

export interface GoalMetrics {
  /**
   * One element a goal, in their order: events in the period that match it, of sessions that the filters let through.
   * @param goals at most 500
   */
  goals(scope: Scope, goals: readonly GoalMatch[], signal: AbortSignal): Promise<GoalCounts[]>;
}
