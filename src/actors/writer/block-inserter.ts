import { hexId, receivedAtOf } from '../../events/row-head.js';
import { type EventStore, RowsRefusedError } from '../../storage/events/event-store.js';
import type { Logger } from '../../telemetry.js';
import { Turns } from '../../turns.js';
import type { DedupeWindow } from '../dedupe-window.js';
import type { Actor } from '../runtime/actor.js';
import { isRemovable, NO_SITE_ID, quarantineId } from './admission.js';
import { type Block, Piece, piecesOf, type RefusedRow } from './block.js';
import type { BlockRow } from './block-row.js';
import { candidatesOf } from './candidates.js';
import type { ObservedRow, RowObserver } from './observer.js';
import type { Pause } from './pause.js';
import { giveUpHopeless, repairPartition } from './repair.js';
import { bookEntries, type Tally } from './tally.js';
import type { Tenure } from './tenure.js';
import type { WriterMetrics } from './writer-metrics.js';

/** Ids asked for at once, at most and at least: few ids of a large site are found by its index, many read all of its history. */
const LOOKUP_IDS = { most: 10_000, least: 50 } as const;
/** Parts of one site in one block that may be refused before the rest of a refused part is quarantined as it is. */
const SITE_REFUSALS = 64;
/** Undecodable messages of one block that get a log line each. */
const LOGGED_MESSAGES = 10;
/** How often to look whether a lapsed ownership was renewed or ended. */
const LAPSED_POLL_MS = 25;
/**
 * So many times as long as an insert may take is the token of an attempt in doubt relied on. The store remembers a number of tokens, not a
 * time (ClickHouse 1,000 parts a table, of all writers): a node that was cut off from it for long would store its block once more.
 */
const TOKEN_TRUST = 3;
/** Attempts to book what is stored when no partition of the block is ours any more. */
const ORPHANED_BOOK_ATTEMPTS = 3;

export interface BlockInserterOptions {
  readonly store: Pick<EventStore, 'insertRows' | 'addToBooks' | 'quarantine' | 'existingIds' | 'repair'>;
  /** Number of partitions of the stream. */
  readonly partitions: number;
  readonly observer: RowObserver | undefined;
  readonly window: DedupeWindow;
  readonly metrics: WriterMetrics;
  readonly log: Logger;
  /** Longest time that an insert may take effect after it was sent, ms. */
  readonly insertMs: number;
  readonly pause: Pause;
}

/**
 * Stores one block after the other. Each step leaves its result in the block and can be repeated, so whatever happens in between, the
 * block goes on where it stood:
 *
 *     repair -> look up -> observe -> insert (parting what is refused or takes too long) -> quarantine -> book -> acknowledge
 *
 * A step that fails is repeated with growing pauses, for as long as a partition of the block is owned.
 */
export class BlockInserter implements Actor<Block> {
  /** Halved when the store does not answer, doubled when it does. */
  #lookupIds: number = LOOKUP_IDS.most;

  constructor(readonly options: BlockInserterOptions) {}

  async receive(block: Block): Promise<void> {
    this.options.metrics.blockRows.observe(block.rowCount);
    await this.#repair(block);
    await this.#lookUp(block);
    await this.#observe(block);
    await this.#insert(block);
    await this.#quarantine(block);
    await this.#book(block);
    await this.#acknowledge(block);
  }

  /**
   * Runs a call of the store or the observer.
   * @returns its result, or undefined after a pause when it failed
   */
  async #call<Result>(step: string, run: () => Promise<Result>): Promise<Result | undefined> {
    const { metrics, log, pause } = this.options;
    try {
      const result = await run();
      pause.succeeded();
      return result;
    } catch (error) {
      metrics.failures.inc({ step });
      log.warn({ step, err: error }, 'a step of the writer failed: trying again');
      await pause.afterFailure();
      return undefined;
    }
  }

  /** Completes what the store may hold by halves of the block's partitions, as often as it takes. */
  async #repair(block: Block): Promise<void> {
    const { window, pause, metrics, log } = this.options;
    for (;;) {
      block.dropEnded(window.fingerprint);
      const tenure = block.messages.find((held) => held.tenure.isUnrepaired)?.tenure;
      if (tenure === undefined) return;
      if (tenure.validUntil() <= Date.now()) await pause.for(LAPSED_POLL_MS);
      else await this.#call('repair', () => repairPartition(this.options, tenure));
      if (!giveUpHopeless(tenure)) continue;
      metrics.unrepaired.inc();
      log.error(
        { partition: tenure.partition },
        'figures cannot be checked after a crash: they may be wrong',
      );
    }
  }

  /** Which rows that may be older than the window are stored already? All earlier blocks are settled by now. */
  async #lookUp(block: Block): Promise<void> {
    const { window } = this.options;
    for (;;) {
      block.dropEnded(window.fingerprint);
      block.lookups = block.lookups.filter((row) => {
        const isDuplicate = window.knows(row.bytes, row.salt) && !isRemovable(row.tally);
        if (isDuplicate) row.tally.duplicate++;
        return !isDuplicate;
      });
      if (block.lookups.length === 0) return;
      const answer = await this.#stored(block.lookups);
      if (answer === undefined) continue;
      for (const row of answer.stored) {
        row.tally.duplicate++;
        window.add(row.bytes, row.salt);
      }
      for (const row of answer.missing) block.rows.push(row);
      block.lookups = block.lookups.filter((row) => !answer.asked.has(row));
    }
  }

  /** Shows new events to the observer, before they are stored: after a crash it sees those again that are not stored by then. */
  async #observe(block: Block): Promise<void> {
    const { observer, window, metrics } = this.options;
    for (let isSeen = false; observer !== undefined && !isSeen; ) {
      block.dropEnded(window.fingerprint);
      // None any more once they are divided into pieces.
      const rows = await wantedOf(block.rows, observer);
      if (rows.length === 0) return;
      const stop = metrics.observeSeconds.startTimer();
      isSeen = (await this.#call('observe', () => observer.observe(rows).then(() => true))) ?? false;
      if (!isSeen) continue;
      stop();
      metrics.observedRows.inc(rows.length);
    }
  }

  /**
   * Asks the store for some of the rows. Ids are answered without their site, so the same id of two sites is not asked for at once.
   * @returns undefined when the store did not answer
   */
  async #stored(
    rows: readonly BlockRow[],
  ): Promise<{ asked: Set<BlockRow>; stored: BlockRow[]; missing: BlockRow[] } | undefined> {
    const byId = new Map<string, BlockRow>();
    for (const row of rows) {
      const id = hexId(row.bytes);
      if (!byId.has(id)) byId.set(id, row);
      if (byId.size === this.#lookupIds) break;
    }
    const candidates = candidatesOf([...byId.values()]);
    const existing = await this.#call('look up', () => this.options.store.existingIds(candidates));
    if (existing === undefined) {
      this.#lookupIds = Math.max(LOOKUP_IDS.least, this.#lookupIds >> 1);
      return undefined;
    }
    this.#lookupIds = Math.min(LOOKUP_IDS.most, this.#lookupIds * 2);
    this.options.metrics.lookups.inc(byId.size);
    const stored: BlockRow[] = [];
    const missing: BlockRow[] = [];
    for (const [id, row] of byId) (existing.has(id) ? stored : missing).push(row);
    return { asked: new Set(byId.values()), stored, missing };
  }

  async #insert(block: Block): Promise<void> {
    const { window, pause } = this.options;
    const refusals = new Map<string, number>();
    if (block.pieces === undefined) {
      block.pieces = await piecesOf(block.rows);
      block.rows = [];
    }
    for (let piece = block.pieces.at(-1); piece !== undefined; piece = block.pieces.at(-1)) {
      block.dropEnded(window.fingerprint);
      if (piece.doubtSince > 0 && performance.now() - piece.doubtSince > TOKEN_TRUST * this.options.insertMs)
        piece.mustVerify = true;
      if (piece.rows.length === 0 && !piece.mustVerify) {
        block.pieces.pop();
      } else if (piece.mustVerify) {
        await this.#verify(piece);
        await this.#repair(block);
        if (piece.isTooLarge && !piece.mustVerify) block.pieces.splice(-1, 1, ...halvesOf(piece));
      } else {
        const deadline = Math.min(Date.now() + this.options.insertMs, validUntil(piece));
        if (deadline <= Date.now()) await pause.for(LAPSED_POLL_MS);
        else await this.#attempt(block, block.pieces, piece, deadline, refusals);
      }
    }
  }

  async #attempt(
    block: Block,
    pieces: Piece[],
    piece: Piece,
    deadline: number,
    refusals: Map<string, number>,
  ): Promise<void> {
    const { store, metrics } = this.options;
    const doubtBefore = piece.doubtUntil;
    piece.doubtUntil = Math.max(doubtBefore, performance.now() + deadline - Date.now());
    piece.doubtSince ||= performance.now();
    const stop = metrics.insertSeconds.startTimer({ table: piece.table });
    const rows = piece.rows.map((row) => row.bytes);
    let refusal: RowsRefusedError | undefined;
    const sentAt = Date.now();
    const isSent = await this.#call('insert', async () => {
      try {
        await store.insertRows(piece.table, rows, await piece.token(), deadline);
      } catch (error) {
        if (error instanceof RowsRefusedError) refusal = error;
        else {
          // What fails for want of a longer ownership says nothing about the rows.
          if (deadline - sentAt >= this.options.insertMs / 4)
            piece.failedAfter(Date.now() - sentAt, deadline - sentAt);
          throw error;
        }
      }
      return true;
    });
    if (isSent === undefined) return;
    if (refusal === undefined) {
      stop();
      pieces.pop();
      await this.#markStored(piece.rows);
      return;
    }
    // This attempt has stored nothing, but an earlier one of the same rows may have.
    piece.doubtUntil = doubtBefore;
    if (doubtBefore === 0) piece.doubtSince = 0;
    if (doubtBefore > 0) {
      piece.mustVerify = true;
      return;
    }
    metrics.splits.inc();
    const parts =
      (await this.#takeOut(block, piece, refusal)) ?? this.#divide(block, piece, refusal.message, refusals);
    pieces.splice(pieces.indexOf(piece), 1, ...parts);
  }

  /**
   * Sends the rows that the store knows to be bad to the quarantine, in slices.
   * @returns the others, or undefined when the store named none
   */
  async #takeOut(block: Block, piece: Piece, refusal: RowsRefusedError): Promise<Piece[] | undefined> {
    const bad = new Set(refusal.badRows?.map((index) => piece.rows[index]));
    const good: BlockRow[] = [];
    const refused: RefusedRow[] = [];
    const turns = new Turns();
    for (const row of piece.rows) {
      if (turns.isOver) await turns.next();
      if (bad.has(row)) refused.push(refusedRow(row, refusal.message));
      else good.push(row);
    }
    if (refused.length === 0) return undefined;
    block.refused = block.refused.concat(refused);
    return good.length === 0 ? [] : [new Piece(piece.table, good)];
  }

  /** An attempt in doubt may have stored some of these rows, with others that are not ours any more. Wait it out, then look. */
  async #verify(piece: Piece): Promise<void> {
    const { pause } = this.options;
    const wait = piece.doubtUntil - performance.now();
    if (wait > 0) return pause.for(wait);
    if (piece.rows.length > 0) {
      const stored: BlockRow[] = [];
      const missing: BlockRow[] = [];
      let rest: readonly BlockRow[] = piece.rows;
      while (rest.length > 0) {
        const answer = await this.#stored(rest);
        if (answer === undefined) return;
        stored.push(...answer.stored);
        missing.push(...answer.missing);
        rest = rest.filter((row) => !answer.asked.has(row));
      }
      // The attempt may have died between the rows and what is made of them, and nobody sends them again under its token.
      if (piece.table === 'events') for (const row of stored) needsRepair(row);
      await this.#markStored(stored);
      piece.reduceTo(missing);
    }
    piece.doubtUntil = 0;
    piece.doubtSince = 0;
    piece.mustVerify = false;
  }

  /** In slices: while it goes on, the block's own `pending` still answers for rows that the window does not know yet. */
  async #markStored(rows: readonly BlockRow[]): Promise<void> {
    const turns = new Turns();
    for (const { bytes, table, salt, tally } of rows) {
      if (turns.isOver) await turns.next();
      this.options.window.add(bytes, salt);
      if (table === 'bot_events') tally.bot++;
      else tally.stored++;
    }
  }

  /**
   * What to do with a refused piece of which no bad row is known: halves, by site, so that the bad rows of one site stand alone soon and cost the others little. A row
   * that stands alone goes to the quarantine, and so does the rest of a site that has too many bad rows to look for each.
   */
  #divide(block: Block, piece: Piece, reason: string, refusals: Map<string, number>): Piece[] {
    const rows = piece.rows.toSorted((a, b) => compare(a.tally.siteId, b.tally.siteId));
    const first = rows[0]?.tally.siteId ?? '';
    let isHopeless = rows.length === 1;
    if (first === rows.at(-1)?.tally.siteId) {
      const refused = (refusals.get(first) ?? 0) + 1;
      refusals.set(first, refused);
      isHopeless ||= refused > SITE_REFUSALS;
    }
    if (!isHopeless) return halvesOf(new Piece(piece.table, rows));
    for (const row of rows) block.refused.push(refusedRow(row, reason));
    return [];
  }

  async #quarantine(block: Block): Promise<void> {
    const { store, window, log, metrics } = this.options;
    for (;;) {
      block.dropEnded(window.fingerprint);
      const { refused } = block;
      if (refused.length === 0) return;
      const entries = refused.map(({ entry }) => entry);
      // An attempt in doubt had these entries and perhaps more: whichever comes first is enough.
      const token = `quarantine-${block.serial}`;
      const kept = await this.#call('quarantine', async () => {
        await store.quarantine(entries, token);
        return true;
      });
      if (kept === undefined) continue;
      for (const { tally } of refused) tally.quarantined++;
      const messages = refused.filter(({ entry }) => entry.siteId === NO_SITE_ID);
      metrics.undecodableMessages.inc(messages.length);
      for (const { entry } of messages.slice(0, LOGGED_MESSAGES))
        log.error({ id: entry.id, reason: entry.reason }, 'a message of the stream cannot be decoded');
      log.warn({ rows: refused.length, reason: entries[0]?.reason }, 'rows were quarantined');
      block.refused = [];
    }
  }

  async #book(block: Block): Promise<void> {
    const { store, metrics } = this.options;
    block.books ??= bookEntries(block.tallies);
    const entries = block.books;
    const token = `books-${block.serial}`;
    for (let attempt = 1; entries.length > 0; attempt++) {
      const booked = await this.#call('book', async () => {
        await store.addToBooks(entries, token);
        return true;
      });
      if (booked !== undefined) break;
      block.dropEnded(this.options.window.fingerprint);
      if (block.isEmpty && attempt >= ORPHANED_BOOK_ATTEMPTS) return;
    }
    for (const entry of entries) {
      metrics.rows.inc({ outcome: 'stored' }, entry.stored);
      metrics.rows.inc({ outcome: 'duplicate' }, entry.duplicate);
      metrics.rows.inc({ outcome: 'bot' }, entry.bot);
      metrics.rows.inc({ outcome: 'rejected' }, entry.rejected);
      metrics.rows.inc({ outcome: 'quarantined' }, entry.quarantined);
    }
  }

  async #acknowledge(block: Block): Promise<void> {
    block.dropEnded(this.options.window.fingerprint);
    const acks = await Promise.allSettled(block.messages.map(({ message }) => message.ack()));
    const failed = acks.filter((ack) => ack.status === 'rejected').length;
    if (failed > 0)
      this.options.log.warn({ messages: failed }, 'acknowledgements failed: messages come again');
  }
}

/** The events that the observer wants to see. */
async function wantedOf(rows: readonly BlockRow[], observer: RowObserver): Promise<ObservedRow[]> {
  const wanted: ObservedRow[] = [];
  const turns = new Turns();
  let asked: Tally | undefined;
  let isWanted = false;
  for (const { bytes, table, tally } of rows) {
    if (turns.isOver) await turns.next();
    // Rows of a frame lie side by side.
    if (tally !== asked) {
      asked = tally;
      isWanted = observer.wants(tally.siteId);
    }
    if (isWanted && (table === 'events' || table === 'funnel_events'))
      wanted.push({ siteId: tally.siteId, table, source: tally.source, bytes });
  }
  return wanted;
}

function needsRepair({ bytes, tally: { tenure } }: BlockRow): void {
  tenure.isUnrepaired = true;
  tenure.repairSince = Math.min(tenure.repairSince, receivedAtOf(bytes));
}

function halvesOf({ table, rows }: Piece): Piece[] {
  const middle = rows.length >> 1;
  return [new Piece(table, rows.slice(middle)), new Piece(table, rows.slice(0, middle))];
}

/** Until when all of the piece's partitions are ours, ms since epoch. */
function validUntil(piece: Piece): number {
  let until = Number.POSITIVE_INFINITY;
  let last: Tenure | undefined;
  for (const { tally } of piece.rows) {
    if (tally.tenure === last) continue;
    last = tally.tenure;
    until = Math.min(until, last.validUntil());
  }
  return until;
}

function refusedRow({ bytes, table, tally }: BlockRow, reason: string): RefusedRow {
  const { siteId, source } = tally;
  const quarantinedAt = Date.now();
  const id = quarantineId(siteId, source, table, bytes, quarantinedAt);
  const entry = { id, siteId, source, table, quarantinedAt, reason: reason.slice(0, 500), bytes };
  return { tally, entry };
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
