import { AppError } from '../../errors.js';
import type { ColumnType } from '../../events/columns.js';
import { decodeRowOf } from '../../events/row-decoder.js';
import { type RowTable, TABLE_COLUMNS } from '../../events/tables.js';
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

function insertStatement(table: RowTable): string {
  const columns = TABLE_COLUMNS[table];
  const names = columns.map(({ name }) => `"${name}"`).join(', ');
  // Exact for milliseconds, unlike to_timestamp() of a fraction.
  const values = columns.map(({ name, type }) =>
    type === 'ms' ? `timestamptz 'epoch' + "${name}" * interval '1 millisecond'` : `"${name}"`,
  );
  const parameters = columns.map(({ type }, index) => `$${index + 1}::${SQL_TYPES[type]}[]`);
  return `INSERT INTO ${table} (${names})
    SELECT ${values.join(', ')} FROM unnest(${parameters.join(', ')}) AS rows (${names})
    ON CONFLICT (site_id, event_id) DO NOTHING`;
}

/** Inserts all rows within the caller's transaction; rows that are stored already stay as they are. */
export async function insertRows(tx: Queryable, table: RowTable, rows: readonly Uint8Array[]): Promise<void> {
  const statement = insertStatement(table);
  for (let start = 0; start < rows.length; start += ROWS_A_STATEMENT) {
    const decoded = rows
      .slice(start, start + ROWS_A_STATEMENT)
      .map((row) => Object.values<string | number>(decodeRowOf(table, row)));
    const columns = TABLE_COLUMNS[table].map((_, index) => decoded.map((values) => storable(values[index])));
    await tx.query(statement, columns);
  }
}

/** Postgres has no NUL in texts; everything else survives. */
export function storable<T extends string | number | undefined>(value: T): T | string {
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

/**
 * Does something with the store.
 * @throws StoreUnavailableError, RowsRefusedError
 */
export async function attempt<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storeError(error);
  }
}

/** Reads a bytea column. */
export function bytes(row: Row, column: string): Buffer {
  const value = row[column];
  if (value instanceof Buffer) return value;
  throw new TypeError(`column ${column}: expected bytea, got ${value === null ? 'null' : typeof value}`);
}
