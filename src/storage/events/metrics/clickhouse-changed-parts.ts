/** What is asked of changed sessions, and what the levels of that query share. */
import type { Filter, SessionAttribute } from '../../../metrics/filters.js';
import type { BoundValues } from './clickhouse-conditions.js';

/** A question, as the functions of clickhouse-queries.ts and its neighbours ask it of whole periods. */
export type ChangedPart =
  | { readonly on: 'totals' | 'returning' | 'pages' | 'event types' | 'event days' }
  | { readonly on: 'timeline' | 'event timeline'; readonly starts: readonly number[] }
  | { readonly on: 'breakdown' | 'places'; readonly attribute: SessionAttribute; readonly missing: string };

/** ms since epoch; `ends`: where it ends at each of the moments. */
export interface ChangedPeriod {
  readonly from: number;
  readonly ends: readonly number[];
}

export interface AskedPart {
  readonly period: ChangedPeriod;
  readonly part: ChangedPart;
}

/** How many sums a part has, beside its visitors. */
export const SUMS = {
  totals: 5,
  breakdown: 3,
  places: 3,
  timeline: 3,
  pages: 8,
  'event types': 1,
  'event days': 1,
  'event timeline': 1,
  returning: 0,
} as const satisfies Record<ChangedPart['on'], number>;

/** Of a cell; what is absent at its end is 0. */
export const numbersOf = (...items: readonly string[]): string => `[${items.join(', ')}]`;

export interface Numbered {
  readonly number: number;
  readonly part: ChangedPart;
  readonly from: string;
  readonly period: number;
}

/** What all levels of a query are written from. */
export interface Levels {
  readonly values: BoundValues;
  readonly filters: readonly Filter[];
  /** Beginnings of the periods; at each of the moments their ends. */
  readonly froms: string;
  readonly ends: string;
  readonly numbered: readonly Numbered[];
}

export const asks = ({ numbered }: Levels, ...kinds: readonly ChangedPart['on'][]): boolean =>
  numbered.some(({ part }) => kinds.includes(part.on));
export const asksEvents = (levels: Levels): boolean =>
  asks(levels, 'event types', 'event days', 'event timeline');
