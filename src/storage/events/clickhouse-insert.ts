import { Readable } from 'node:stream';
import { ClickHouseError, type ClickHouseSettings } from '@clickhouse/client';
import { type Clickhouse, reasonOf } from '../clickhouse.js';
import { RowsRefusedError, StoreUnavailableError } from './event-store.js';

/** Row slices are gathered into pieces of this size: fewer writes than rows, and little memory beside the rows themselves. */
const PIECE_BYTES = 1 << 20;

/** Rows of one insert that the server takes as one block, so that it is stored as a whole or not at all. */
export const MAX_BLOCK_ROWS = 1_000_000;

/** The server gets this much less time than there is, so that its clock runs out before ours. */
const SERVER_MARGIN_MS = 250;

export interface Insert {
  /** `INSERT INTO … FORMAT RowBinary`; a table name of ours, never text from outside. */
  readonly query: string;
  /** Byte slices that make up the body in this order. */
  readonly body: readonly Uint8Array[];
  /** Recognises the block when it is sent again. */
  readonly token: string;
  /** ms since epoch. */
  readonly deadline: number;
}

/**
 * Sends one block. It is one part a month it touches; each part carries the token, so a block that was stored for one month only is
 * completed by sending it again.
 * @throws StoreUnavailableError, RowsRefusedError
 */
export async function insertBlock(clickhouse: Clickhouse, insert: Insert): Promise<void> {
  const remainingMs = insert.deadline - Date.now();
  if (remainingMs <= SERVER_MARGIN_MS) throw new StoreUnavailableError('no time left before the deadline');
  const body = Readable.from(gather(insert.body), { objectMode: false, highWaterMark: PIECE_BYTES });
  try {
    const { stream } = await clickhouse.client.exec({
      query: insert.query,
      values: body,
      abort_signal: AbortSignal.timeout(remainingMs),
      clickhouse_settings: insertSettings(insert.token, remainingMs - SERVER_MARGIN_MS, clickhouse.cluster),
    });
    for await (const _ of stream) {
      // An insert answers nothing; reading to the end frees the socket.
    }
  } catch (error) {
    throw storeError(error);
  } finally {
    body.destroy();
  }
}

function insertSettings(token: string, timeMs: number, cluster: string | undefined): ClickHouseSettings {
  return {
    async_insert: 0,
    insert_deduplicate: 1,
    insert_deduplication_token: token,
    deduplicate_blocks_in_dependent_materialized_views: 1,
    max_execution_time: timeMs / 1_000,
    timeout_overflow_mode: 'throw',
    // One block, whatever the profile of the user says.
    max_insert_block_size: '1048449',
    min_insert_block_size_rows: '1048449',
    min_insert_block_size_bytes: '4294967296',
    // An import may reach back over more than the default of 100 months.
    max_partitions_per_insert_block: '1000',
    wait_end_of_query: 1,
    ...(cluster === undefined ? {} : { insert_distributed_sync: 1 }),
  };
}

function* gather(slices: readonly Uint8Array[]): Generator<Uint8Array> {
  let piece: Buffer | undefined;
  let at = 0;
  for (const slice of slices) {
    if (slice.length >= PIECE_BYTES) {
      if (piece && at > 0) yield piece.subarray(0, at);
      piece = undefined;
      yield slice;
      continue;
    }
    if (piece && at + slice.length > PIECE_BYTES) {
      yield piece.subarray(0, at);
      piece = undefined;
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
  '395', // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
  '407', // DECIMAL_OVERFLOW
  '469', // VIOLATED_CONSTRAINT
]);

/** Which of the two ways of failing an error of the client is. */
export function storeError(error: unknown): StoreUnavailableError | RowsRefusedError {
  if (error instanceof StoreUnavailableError || error instanceof RowsRefusedError) return error;
  const message = reasonOf(error);
  const refused = error instanceof ClickHouseError && (DATA_CODES.has(error.code) || tooManyMonths(error));
  return refused
    ? new RowsRefusedError(message, { cause: error })
    : new StoreUnavailableError(message, { cause: error });
}

/** TOO_MANY_PARTS says two things: a table that merges too slowly (wait), or one block over too many partitions (halve). */
const tooManyMonths = (error: ClickHouseError): boolean =>
  error.code === '252' && /single INSERT block/.test(error.message);
