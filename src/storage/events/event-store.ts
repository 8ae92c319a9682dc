import type { Source } from '../../events/frame.js';
import type { RowTable } from '../../events/tables.js';

/** The write side of the event store: what the partition writer needs. Two adapters: ClickHouse and Postgres. */
export interface EventStore {
  readonly kind: 'clickhouse' | 'postgres';
  /** Waits for the server (logging "waiting for …") and brings the schema up to date under a lock. */
  migrate(): Promise<void>;
  /**
   * Inserts one block of rows, all or nothing. The same token again is a no-op, so a block whose answer was lost is sent again.
   * A block has at most 1,000,000 rows and should stay below 256 MB (it is held in memory as one by the server).
   * @param deadline ms since epoch after which the insert must not take effect any more (lease fencing)
   * @throws StoreUnavailableError try the same block again later
   * @throws RowsRefusedError the store will never take this block as it is: take its `badRows` out, or halve it
   */
  insertRows(table: RowTable, rows: readonly Uint8Array[], token: string, deadline: number): Promise<void>;
  /** Adds to the ingestion books (P2). Same token rule as rows. */
  addToBooks(entries: readonly BookEntry[], token: string): Promise<void>;
  /** Keeps refused rows with reason and original bytes. Same token rule as rows. */
  quarantine(entries: readonly QuarantinedRow[], token: string): Promise<void>;
  /**
   * Which of these ids are stored already for their site, in their table (or in the other one of `events` and `bot_events`)? Answers
   * lower-case hex ids. An id that is asked for several sites or tables in one call is answered when one of them has it.
   */
  existingIds(candidates: readonly IdCandidates[]): Promise<Set<string>>;
  /**
   * Ids of the rows of all tables received at or after `since` (ms), of sites of this partition; null when there are more than `limit`.
   * Used to refill the dedupe window when a partition is taken over.
   */
  recentIds(
    partition: number,
    partitions: number,
    since: number,
    limit: number,
  ): Promise<Uint8Array[] | null>;
  /**
   * Completes what a crash of the store left half stored of the newest rows of this partition's sites. To be called by the owner; nobody,
   * the owner included, may insert rows of the partition meanwhile.
   * @returns how many places were mended
   * @throws StoreUnavailableError the store does not answer, or the ownership ended: try again
   * @throws RepairFailedError it answers, but cannot do this: ask for less
   */
  repair(partition: number, partitions: number, range: RepairRange): Promise<number>;
  /** The ingestion books of a site in [from, to), by source. */
  books(siteId: string, from: number, to: number): Promise<BookTotals[]>;
  /**
   * Newest first. `before`: id of the last row of the page before (a row that is gone meanwhile starts over). At most `limit`, and as many as
   * it takes for `QUARANTINE_PAGE_BYTES`: a page is the last one when it is below both.
   */
  listQuarantine(siteId: string, limit: number, before?: string): Promise<StoredQuarantinedRow[]>;
  /** Those of these rows that are in the quarantine. */
  quarantined(siteId: string, ids: readonly string[]): Promise<StoredQuarantinedRow[]>;
  /** Removes rows from the quarantine and answers those that were there. */
  takeQuarantined(siteId: string, ids: readonly string[]): Promise<StoredQuarantinedRow[]>;
  /**
   * Removes everything that is stored of a site, from every table with a `site_id`. Rows that are inserted meanwhile may stay:
   * close the site and let the writers run dry first.
   */
  deleteSite(siteId: string): Promise<void>;
  /** Throws when the store does not answer. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** Bytes of rows of a page of the quarantine; the row that fills it may have half a megabyte more. */
export const QUARANTINE_PAGE_BYTES = 8 * 1024 * 1024;

export interface IdCandidates {
  readonly siteId: string;
  readonly table: RowTable;
  /** 16 raw bytes each. */
  readonly ids: readonly Uint8Array[];
  /**
   * When the caller knows the `timestamp` that a stored copy would have (rows without the `lookup` flag): the earliest and the latest
   * of them, ms since epoch, both inclusive. The look-up then reads days instead of the site's whole history.
   */
  readonly from?: number;
  readonly to?: number;
}

/** received = stored + duplicate + bot + rejected + quarantined, for each site, source and hour of receipt. */
export interface BookEntry extends BookTotals {
  readonly siteId: string;
  /** Start of the UTC hour of receipt, ms. */
  readonly hour: number;
}

export interface BookTotals {
  readonly source: Source;
  readonly received: number;
  readonly stored: number;
  readonly duplicate: number;
  readonly bot: number;
  readonly rejected: number;
  readonly quarantined: number;
}

export interface QuarantinedRow {
  /** 32 hex characters, unique: makes a repeated insert recognisable. */
  readonly id: string;
  readonly siteId: string;
  readonly source: Source;
  readonly table: RowTable;
  readonly quarantinedAt: number;
  readonly reason: string;
  readonly bytes: Uint8Array;
}

export type StoredQuarantinedRow = QuarantinedRow;

export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError';
}

export class RepairFailedError extends Error {
  override readonly name = 'RepairFailedError';
}

/** Which rows a repair looks at, and for how long it may write. */
export interface RepairRange {
  /** Those received in this time before the newest of the partition, ms, */
  readonly backMs: number;
  /** and those received since then, ms since epoch. */
  readonly since?: number;
  /** Nothing is changed after this, ms since epoch; it may be put off meanwhile. */
  readonly validUntil: () => number;
  /**
   * Called before rows are taken away that are then made anew. When the repair fails after that, a later one of a shorter range would
   * leave out what is missing until then, or what the store takes away late.
   */
  readonly changing?: () => void;
}

export class RowsRefusedError extends Error {
  override readonly name = 'RowsRefusedError';

  /**
   * @param badRows indices of all rows that were found to be bad, ascending, when the store can tell: without them the block may be taken.
   * Nothing of the block was stored.
   */
  constructor(
    message: string,
    readonly badRows?: readonly number[],
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
