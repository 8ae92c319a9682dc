import { AppError } from '../../errors.js';
import { type ColumnType, EVENT_COLUMNS } from '../../events/columns.js';
import { decodeRow } from '../../events/row-decoder.js';
import type { RowTable } from '../../events/tables.js';
import { type Queryable, type Row, sqlState } from '../postgres.js';
import { RowsRefusedError, StoreUnavailableError } from './event-store.js';

/** Rows of one statement: few enough that preparing its parameters does not hold up the event loop. */
const ROWS_A_STATEMENT = 500;

const SQL_TYPES: Readonly<Record<ColumnType, string>> = {
  id: 'uuid',
  ms: 'bigint',
  string: 'text',
  label: 'text',
  u8: 'smallint',
  u16: 'integer',
  u32: 'bigint',
  i16: 'smallint',
};

const COLUMN_LIST = EVENT_COLUMNS.map(({ name }) => `"${name}"`).join(', ');
/** Exact for milliseconds, unlike to_timestamp() of a fraction. */
const VALUES = EVENT_COLUMNS.map(({ name, type }) =>
  type === 'ms' ? `timestamptz 'epoch' + "${name}" * interval '1 millisecond'` : `"${name}"`,
).join(', ');
const PARAMETERS = EVENT_COLUMNS.map(({ type }, index) => `$${index + 1}::${SQL_TYPES[type]}[]`).join(', ');

const insertStatement = (table: RowTable): string =>
  `INSERT INTO ${table} (${COLUMN_LIST})
   SELECT ${VALUES} FROM unnest(${PARAMETERS}) AS rows (${COLUMN_LIST})
   ON CONFLICT (site_id, event_id) DO NOTHING`;

/** Inserts all rows within the caller's transaction; rows that are stored already stay as they are. */
export async function insertRows(tx: Queryable, table: RowTable, rows: readonly Uint8Array[]): Promise<void> {
  const statement = insertStatement(table);
  for (let start = 0; start < rows.length; start += ROWS_A_STATEMENT) {
    const decoded = rows.slice(start, start + ROWS_A_STATEMENT).map(decodeRow);
    const columns = EVENT_COLUMNS.map(({ name }) => decoded.map((row) => storable(row[name])));
    await tx.query(statement, columns);
  }
}

/** Postgres has no NUL in texts; everything else survives. */
export function storable<T extends string | number>(value: T): T | string {
  return typeof value === 'string' && value.includes('\0') ? value.replaceAll('\0', '\uFFFD') : value;
}

/** Which of the two ways of failing an error is. */
export function storeError(error: unknown): StoreUnavailableError | RowsRefusedError {
  if (error instanceof StoreUnavailableError || error instanceof RowsRefusedError) return error;
  const message = error instanceof Error ? error.message.slice(0, 300) : String(error);
  // 22: data exception, 23: constraint, 54000: a value too long for its index. `internal`: not a row at all.
  const refused =
    /^(22|23|54000)/.test(sqlState(error)) || (error instanceof AppError && error.code === 'internal');
  return refused
    ? new RowsRefusedError(message, undefined, { cause: error })
    : new StoreUnavailableError(message, { cause: error });
}

/** Reads a bytea column. */
export function bytes(row: Row, column: string): Buffer {
  const value = row[column];
  if (value instanceof Buffer) return value;
  throw new TypeError(`column ${column}: expected bytea, got ${value === null ? 'null' : typeof value}`);
}
