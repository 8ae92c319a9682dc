import type { RowTable } from '../../events/tables.js';
import type { Tally } from './tally.js';

/** A row in a block. */
export interface BlockRow {
  readonly bytes: Uint8Array;
  readonly table: RowTable;
  /** Of its site and table, for its fingerprint. */
  readonly salt: number;
  readonly tally: Tally;
  /** A copy of it may bear another timestamp (`RowFlag.lookup`). */
  readonly isTimeless: boolean;
}
