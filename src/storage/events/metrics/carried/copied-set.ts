import { randomUUID } from 'node:crypto';
import type { Sql } from '../clickhouse-conditions.js';
import { second } from './sql-values.js';

/** A set is used for this long, and its rows stay so much longer that no query misses them. */
export const SET_MS = 50 * 60_000;
const SPARE_MS = 10 * 60_000;

/** Copies of older rows of some sessions. */
export interface Copies {
  readonly id: string;
  readonly madeAt: number;
  /** Last batch that is there. */
  batch: number;
  /** Sessions whose visitors are looked up; visitors whose sessions are; sessions whose rows are copied. */
  readonly touched: Set<string>;
  readonly visitors: Set<string>;
  readonly sessions: Set<string>;
}

/** What one site's set of copies holds. */
export interface CopiedSet extends Copies {
  /** Quarter of an hour, ms: batches hold rows that arrived before, the recent copy all that came later. */
  settled: number;
  recent: string;
  /** What only earlier periods need would be ballast to all others. */
  beside: Copies;
}

/** Columns of `changed_rows` that are those of the rollup. */
export const COPIED =
  'site_id, slot, session, visitor, place, agent, first_ts, last_ts, page_views, customs, last_view, last_exit, source, view_ts, view_page, custom_ts, custom_type, arrived';

export const noCopies = (): Copies => ({
  id: randomUUID(),
  madeAt: Date.now(),
  batch: 0,
  touched: new Set(),
  visitors: new Set(),
  sessions: new Set(),
});

export const emptySet = (settled: number): CopiedSet => ({
  ...noCopies(),
  settled,
  recent: '',
  beside: noCopies(),
});

/** Parameters of what is added next. */
export const batchOf = ({ id, batch, madeAt }: Copies): Sql['params'] => ({
  set: id,
  batch: batch + 1,
  until: second(madeAt + SET_MS + SPARE_MS),
});
