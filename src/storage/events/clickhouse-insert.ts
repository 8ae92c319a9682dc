import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ClickHouseError, type ClickHouseSettings } from '@clickhouse/client';
import { type Clickhouse, reasonOf } from '../clickhouse.js';
import { drained } from '../clickhouse-body.js';
import { ServerClock } from './clickhouse-clock.js';
import { ask } from './clickhouse-statements.js';
import { RowsRefusedError, StoreUnavailableError } from './event-store.js';

/**
 * Row slices are gathered into pieces of this size, one a turn of the event loop: fewer writes than rows, and requests that come meanwhile
 * wait for the copying of one piece, not of the block.
 */
const PIECE_BYTES = 128 << 10;

/** Rows of one insert that the server takes as one block, so that it is stored as a whole or not at all. */
export const MAX_BLOCK_ROWS = 1_000_000;

/** What has to be known before an insert is asked for at most so long. */
const ASKING_MS = 5_000;

/** The server gets this much less time than there is. */
const MARGIN_MS = 250;

/** Longest that a request may be on its way, buffers of both kernels included. */
const MAX_TRAVEL_MS = 2_000;

/** FUNCTION_THROW_IF_VALUE_IS_NON_ZERO. */
const THROW_IF = '395';

export interface Insert {
  /** A table of ours, never text from outside. */
  readonly table: string;
  /** Byte slices that make up the rows (RowBinary) in this order. */
  readonly body: readonly Uint8Array[];
  /** Recognises the block when it is sent again. */
  readonly token: string;
  /** ms since epoch after which the insert must not take effect any more. */
  readonly deadline: number;
}

/** Inserts blocks of rows, each whole or not at all and none late. */
export class BlockInserter {
  private readonly structures = new Map<string, string>();
  private readonly clock: ServerClock;

  constructor(private readonly clickhouse: Clickhouse) {
    this.clock = new ServerClock(clickhouse);
  }

  /**
   * Sends one block. It becomes one part for each month it touches; each part carries the token, so a block that was stored in part
   * (one month of two, the table but not a rollup) is completed by sending it again.
   *
   * The deadline holds even when the request lies in a buffer of a frozen or cut-off machine for minutes and arrives after we have
   * given up: it has to begin within its travel time by the server's clock, and to end within the rest by the server's stopwatch.
   * @throws StoreUnavailableError, RowsRefusedError
   */
  async insert({ table, body, token, deadline }: Insert): Promise<void> {
    try {
      const asking = AbortSignal.timeout(Math.max(1, Math.min(ASKING_MS, deadline - Date.now())));
      const structure = await this.structureOf(table, asking);
      const aheadMs = await this.clock.aheadMs(asking);
      const now = Date.now();
      const travelMs = Math.min(MAX_TRAVEL_MS, (deadline - now) / 4);
      const timeMs = deadline - now - travelMs - MARGIN_MS;
      if (timeMs <= 0) throw new StoreUnavailableError('no time left before the deadline');
      await this.send(
        `INSERT INTO ${table} SELECT * FROM input({structure:String})
         WHERE NOT throwIf(now64(3) > fromUnixTimestamp64Milli({latest:Int64}), 'the request came too late')
         FORMAT RowBinary`,
        { structure, latest: Math.floor(now + travelMs + aheadMs) },
        body,
        AbortSignal.timeout(Math.floor(deadline - now)),
        insertSettings(token, timeMs),
      );
    } catch (error) {
      if (error instanceof ClickHouseError && error.code === THROW_IF) this.clock.forget();
      throw storeError(error);
    }
  }

  private async send(
    query: string,
    parameters: Record<string, unknown>,
    slices: readonly Uint8Array[],
    signal: AbortSignal,
    settings: ClickHouseSettings,
  ): Promise<void> {
    const body = Readable.from(gather(slices), { objectMode: false, highWaterMark: PIECE_BYTES });
    try {
      const { stream } = await this.clickhouse.client.exec({
        query,
        query_params: parameters,
        values: body,
        abort_signal: signal,
        clickhouse_settings: settings,
      });
      await drained(stream, signal);
    } finally {
      body.destroy();
    }
  }

  /** Columns and types of the table, as `input` wants them. */
  private async structureOf(table: string, signal: AbortSignal): Promise<string> {
    const known = this.structures.get(table);
    if (known !== undefined) return known;
    const columns = await ask<[string, string]>(
      this.clickhouse,
      'SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String} ORDER BY position',
      { table },
      { signal },
    );
    if (columns.length === 0) throw new StoreUnavailableError(`there is no table ${table}`);
    const structure = columns.map(([name, type]) => `${name} ${type}`).join(', ');
    this.structures.set(table, structure);
    return structure;
  }
}

function insertSettings(token: string, timeMs: number): ClickHouseSettings {
  return {
    async_insert: 0,
    insert_deduplicate: 1,
    insert_deduplication_token: token,
    deduplicate_blocks_in_dependent_materialized_views: 1,
    max_execution_time: timeMs / 1_000,
    timeout_overflow_mode: 'throw',
    // One block, whatever the profile of the user says.
    max_block_size: '1048449',
    max_insert_block_size: '1048449',
    max_insert_threads: '1',
    min_insert_block_size_rows: '1048449',
    min_insert_block_size_bytes: '4294967296',
    // An import may reach back over more than the default of 100 months.
    max_partitions_per_insert_block: '1000',
    wait_end_of_query: 1,
  };
}

async function* gather(slices: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  let piece: Buffer | undefined;
  let at = 0;
  for (const slice of slices) {
    if (slice.length >= PIECE_BYTES) {
      if (piece && at > 0) yield piece.subarray(0, at);
      piece = undefined;
      yield slice;
      await nextTurn();
      continue;
    }
    if (piece && at + slice.length > PIECE_BYTES) {
      yield piece.subarray(0, at);
      piece = undefined;
      await nextTurn();
    }
    if (!piece) {
      // Not from the shared pool, and not used again: the socket may still hold it.
      piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
      at = 0;
    }
    piece.set(slice, at);
    at += slice.length;
  }
  if (piece && at > 0) yield piece.subarray(0, at);
}

/**
 * Errors about the data of a block, by number: they come again as often as the block does. All else (time, memory, too many parts,
 * read-only tables, missing tables and rights, errors unknown here) is taken for a state of the server: waiting loses nothing.
 */
const DATA_CODES = new Set([
  '6', // CANNOT_PARSE_TEXT
  '25', // CANNOT_PARSE_ESCAPE_SEQUENCE
  '26', // CANNOT_PARSE_QUOTED_STRING
  '27', // CANNOT_PARSE_INPUT_ASSERTION_FAILED
  '32', // ATTEMPT_TO_READ_AFTER_EOF
  '33', // CANNOT_READ_ALL_DATA
  '38', // CANNOT_PARSE_DATE
  '41', // CANNOT_PARSE_DATETIME
  '43', // ILLEGAL_TYPE_OF_ARGUMENT
  '53', // TYPE_MISMATCH
  '69', // ARGUMENT_OUT_OF_BOUND
  '70', // CANNOT_CONVERT_TYPE
  '72', // CANNOT_PARSE_NUMBER
  '117', // INCORRECT_DATA
  '128', // TOO_LARGE_ARRAY_SIZE
  '131', // TOO_LARGE_STRING_SIZE
  '153', // ILLEGAL_DIVISION
  '190', // SIZES_OF_ARRAYS_DONT_MATCH
  '321', // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
  '349', // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
  '407', // DECIMAL_OVERFLOW
  '469', // VIOLATED_CONSTRAINT
]);

/** Which of the two ways of failing an error of the client is. */
export function storeError(error: unknown): StoreUnavailableError | RowsRefusedError {
  if (error instanceof StoreUnavailableError || error instanceof RowsRefusedError) return error;
  const message = reasonOf(error);
  const refused = error instanceof ClickHouseError && (DATA_CODES.has(error.code) || tooManyMonths(error));
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

/** TOO_MANY_PARTS says two things: a table that merges too slowly (wait), or one block over too many partitions (halve). */
const tooManyMonths = (error: ClickHouseError): boolean =>
  error.code === '252' && /single INSERT block/.test(error.message);
