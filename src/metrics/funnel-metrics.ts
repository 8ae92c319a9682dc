import type { SessionAttribute } from './filters.js';
import type { Scope } from './metrics-store.js';

/** Which events serve a step; texts are compared with case. Page steps are served by page views only. */
export type StepMatch =
  | {
      readonly on: 'page';
      /** `contains` and `starts_with` look at the path with a slash behind it, `regex` finds its text anywhere in the path. */
      readonly how: 'exact' | 'contains' | 'starts_with' | 'regex';
      readonly text: string;
    }
  /** Equality of the event type, whatever its kind. */
  | { readonly on: 'event'; readonly type: string }
  /** A step that nothing serves (the original stored steps that say nothing). */
  | { readonly on: 'nothing' };

/** `ordered`: other events may lie between the steps; `strict`: none may; `unordered`: the steps in any order. */
export const STEP_ORDERS = ['ordered', 'strict', 'unordered'] as const;
export type StepOrder = (typeof STEP_ORDERS)[number];

export interface FunnelQuestion {
  /** 1 to 20, in their order. */
  readonly steps: readonly StepMatch[];
  readonly order: StepOrder;
  /** From the first step to the last, both included, ms. */
  readonly windowMs: number;
  /** Counts apart by an attribute of the session of the first step. */
  readonly breakdown?: {
    readonly attribute: SessionAttribute;
    /** Label of the missing value. */
    readonly missing: string;
  };
}

export interface StepCounts {
  /** Who reached the step; never more than reached the one before. */
  readonly visitors: number;
  /** Median time from the step before, ms, in halves; null for the first step, where nobody came, and when unordered. */
  readonly medianMs: number | null;
}

export interface FunnelCounts {
  /** Value of the breakdown's attribute; '' without breakdown. */
  readonly label: string;
  /** One element a step. */
  readonly steps: readonly StepCounts[];
}

/** What trackers reported about one funnel. */
export interface TrackedCounts {
  readonly funnelId: string;
  readonly starts: number;
  readonly progress: number;
  readonly conversions: number;
  readonly dropoffs: number;
}

/** Counting of funnels; what is counted is said in docs/metrics-notes.md "Funnels". */
export interface FunnelMetrics {
  /** One row without breakdown, else a row a value that somebody started with, in no particular order. */
  funnel(scope: Scope, question: FunnelQuestion, signal: AbortSignal): Promise<FunnelCounts[]>;
  /** What trackers reported in [from, to) (ms since epoch), of those of the funnels that were reported at all, in no order. */
  trackedFunnels(
    siteId: string,
    funnelIds: readonly string[],
    from: number,
    to: number,
    signal: AbortSignal,
  ): Promise<TrackedCounts[]>;
}
