import { createHash, randomUUID } from 'node:crypto';
import { ROW_TABLES, type RowTable } from '../../events/tables.js';
import type { BookEntry, QuarantinedRow } from '../../storage/events/event-store.js';
import type { StreamMessage } from '../../storage/stream/stream.js';
import { Turns } from '../../turns.js';
import { type Fingerprint, FingerprintSet } from '../fingerprint.js';
import type { BlockRow } from './block-row.js';
import type { Tally } from './tally.js';
import type { Tenure } from './tenure.js';

/** A row that goes to the quarantine. */
export interface RefusedRow {
  readonly tally: Tally;
  readonly entry: QuarantinedRow;
}

/** A store that had no time for so many attempts in a row is asked for less at once. */
const LATE_ATTEMPTS = 2;

/** Rows of one table that are inserted together: at first all of the block's, after a refusal a part of them. */
export class Piece {
  #token: string | undefined;
  /**
   * An attempt with an unknown outcome may take effect until then (by `performance.now()`: clocks are set back); 0 when there was none. As
   * long as the same rows are sent again with the same token this does not matter.
   */
  doubtUntil = 0;
  /** When the first of the attempts in doubt was sent (by `performance.now()`); 0 when there was none. */
  doubtSince = 0;
  /** The rows are no longer those of an attempt in doubt, or the store may have forgotten its token: find out which ones it stored first. */
  mustVerify = false;
  /** Attempts in a row that used up their time. */
  #late = 0;

  constructor(
    readonly table: RowTable,
    public rows: BlockRow[],
  ) {}

  /** The same rows in the same order have the same token, in this process or another. */
  async token(): Promise<string> {
    this.#token ??= await tokenOf(this.table, this.rows);
    return this.#token;
  }

  /** So many rows take longer than an attempt may: once it is known which of them are stored, halves of the others may get through. */
  get isTooLarge(): boolean {
    return this.#late >= LATE_ATTEMPTS && this.rows.length > 1;
  }

  /** An attempt has failed after `ms` of the `givenMs` until its deadline. */
  failedAfter(ms: number, givenMs: number): void {
    this.#late = ms > givenMs / 2 ? this.#late + 1 : 0;
    if (this.isTooLarge) this.mustVerify = true;
  }

  /** Replaces the rows by fewer. */
  reduceTo(rows: BlockRow[]): void {
    if (rows.length === this.rows.length) return;
    this.rows = rows;
    this.#token = undefined;
    if (this.doubtUntil > 0) this.mustVerify = true;
  }
}

/** One piece for each table that has rows; the last one is inserted first: events before all else. */
export async function piecesOf(rows: readonly BlockRow[]): Promise<Piece[]> {
  const byTable = new Map<RowTable, BlockRow[]>();
  const turns = new Turns();
  for (const row of rows) {
    if (turns.isOver) await turns.next();
    const own = byTable.get(row.table);
    if (own === undefined) byTable.set(row.table, [row]);
    else own.push(row);
  }
  return ROW_TABLES.flatMap((table) => {
    const own = byTable.get(table);
    return own === undefined ? [] : [new Piece(table, own)];
  }).reverse();
}

/**
 * What is collected from all partitions, stored together and acknowledged together. The ids of its rows are `pending`: a copy that
 * comes before the block is settled is a duplicate, and is booked as one no sooner than the original is stored, since blocks are
 * settled in order. They enter the dedupe window only when their rows are stored; a block that is given up leaves no trace.
 */
export class Block {
  /** Tells this block's entries in books and quarantine from all others. */
  readonly serial = randomUUID();
  readonly pending = new FingerprintSet();
  readonly tallies: Tally[] = [];
  messages: { readonly tenure: Tenure; readonly message: StreamMessage }[] = [];
  rows: BlockRow[] = [];
  /** Rows that may be in the store although the window does not know them. */
  lookups: BlockRow[] = [];
  refused: RefusedRow[] = [];
  /** Set when `lookups` are resolved and `rows` divided by table; the last one is inserted first. */
  pieces: Piece[] | undefined;
  /** Set when nothing can change in them any more. */
  books: readonly BookEntry[] | undefined;
  /** Bytes of the messages, which its rows keep in memory. */
  bytes = 0;
  /** Resolves when the block is stored and acknowledged, or given up. */
  readonly done: Promise<void>;
  finish: () => void = () => {};

  #releases: { readonly tenure: Tenure; readonly resolve: () => void }[] = [];

  constructor() {
    this.done = new Promise((resolve) => {
      this.finish = resolve;
    });
  }

  get isEmpty(): boolean {
    return this.messages.length === 0;
  }

  get rowCount(): number {
    return this.rows.length + this.lookups.length;
  }

  /** Resolves when nothing of an ended tenure can be stored through this block any more, not even by an attempt in doubt. */
  released(tenure: Tenure): Promise<void> {
    if (!this.messages.some((held) => held.tenure === tenure)) return Promise.resolve();
    return new Promise((resolve) => {
      this.#releases.push({ tenure, resolve });
      void this.done.then(resolve);
    });
  }

  /** Lets go of everything whose tenure has ended. Not to be called while an attempt is under way. */
  dropEnded(fingerprint: Fingerprint): void {
    if (!this.messages.some(({ tenure }) => tenure.ended)) return;
    const doubtUntil = Math.max(0, ...(this.pieces ?? []).map((piece) => piece.doubtUntil));
    for (const { tenure, resolve } of this.#releases)
      if (tenure.ended) setTimeout(resolve, Math.max(0, doubtUntil - performance.now()));
    this.#releases = this.#releases.filter(({ tenure }) => !tenure.ended);
    const alive = (row: { readonly tally: Tally }) => !row.tally.tenure.ended;
    this.messages = this.messages.filter(({ tenure }) => !tenure.ended);
    this.rows = this.rows.filter(alive);
    this.lookups = this.lookups.filter(alive);
    this.refused = this.refused.filter(alive);
    for (const piece of this.pieces ?? []) piece.reduceTo(piece.rows.filter(alive));
    this.pending.clear();
    for (const rows of [this.rows, this.lookups, ...(this.pieces ?? []).map((piece) => piece.rows)])
      for (const { bytes, salt } of rows) this.pending.add(fingerprint.read(bytes, salt));
  }
}

/** Of a row, in what a token is made from. */
const TOKEN_BYTES = 28;

/**
 * Over ids, times of receipt and sites: two sites may use the same id, and a block of one must not pass for a block of the other; an event
 * that was removed and comes in anew is another row.
 */
async function tokenOf(table: RowTable, rows: readonly BlockRow[]): Promise<string> {
  const ids = Buffer.allocUnsafe(rows.length * TOKEN_BYTES);
  const turns = new Turns();
  let at = 0;
  for (const { bytes, tally } of rows) {
    if (turns.isOver) await turns.next();
    for (let i = 0; i < 16; i++) ids[at + i] = bytes[i] ?? 0;
    // received_at (events/tables.ts)
    for (let i = 0; i < 8; i++) ids[at + 16 + i] = bytes[24 + i] ?? 0;
    ids.writeInt32LE(tally.salt, at + 24);
    at += TOKEN_BYTES;
  }
  return `${table}-${createHash('sha256').update(ids).digest('hex').slice(0, 32)}`;
}
