import { setTimeout as pause } from 'node:timers/promises';
import type { EventStore } from '../storage/events/event-store.js';
import type { FrameStream } from '../storage/stream/stream.js';
import type { AddedRow } from './imported-rows.js';

const POLL_MS = 150;
/** Books are kept by the hour of receipt, which may be the one before. */
const BOOKS_RANGE_MS = 2 * 3_600_000;
/** Books and rows follow each other at once. */
const BOOKS_MS = 3_000;

/** Whom to ask about rows on their way. */
export interface AwaitStoredOptions {
  readonly events: Pick<EventStore, 'existingIds' | 'books'>;
  /** Of the stream that the rows go into. */
  readonly drain: FrameStream['drain'];
  /** How long the books may differ from what is stored before the stream itself is waited for, ms. Default 3,000. */
  readonly booksMs?: number;
}

/** What is sent. */
export interface SentRows {
  readonly siteId: string;
  readonly rows: readonly AddedRow[];
  /** As the books will count them: rows, and those that were refused before. */
  readonly received: number;
}

/**
 * Sends rows and waits until the writer is done with them: they are stored with all that hangs on them, and booked.
 *
 * The books of a site's imports are one sum, so they can be those of another message: of one that comes again, say. They are believed as long as
 * they agree with what is stored. When they do not, the stream is waited for: what it has acknowledged was stored or refused, and booked. So no
 * row is called refused that is still on its way, and no booking is left over for what is sent next.
 * @returns how many of them the store has refused: they are booked, and not there
 * @throws what the store and the stream throw, the signal's reason
 */
export async function awaitStored(
  { events, drain, booksMs = BOOKS_MS }: AwaitStoredOptions,
  { siteId, rows, received }: SentRows,
  send: () => Promise<void>,
  signal: AbortSignal,
): Promise<number> {
  const began = Date.now();
  const booked = async (): Promise<number> => {
    const totals = await events.books(siteId, began - BOOKS_RANGE_MS, Date.now() + BOOKS_RANGE_MS);
    return totals.find(({ source }) => source === 'import')?.received ?? 0;
  };
  const before = await booked();
  await send();
  let missing = rows;
  let differSince = 0;
  for (;;) {
    await pause(POLL_MS, undefined, { signal });
    const now = Date.now();
    missing = await stillMissing(events, siteId, missing);
    const areSeen = missing.length === 0;
    const areBooked = (await booked()) >= before + received;
    if (areSeen && areBooked) return 0;
    if (areSeen === areBooked) differSince = 0;
    else differSince ||= now;
    if (differSince === 0 || now - differSince < booksMs) continue;
    await drain(signal);
    return (await missingOf(events, siteId, missing)).length;
  }
}

type Events = Pick<EventStore, 'existingIds'>;

/** While rows are on their way they become visible in the order they were sent in, or all at once: the last one tells whether to ask for all. */
async function stillMissing(
  events: Events,
  siteId: string,
  rows: readonly AddedRow[],
): Promise<readonly AddedRow[]> {
  const isLastMissing = (await missingOf(events, siteId, rows.slice(-1))).length > 0;
  return isLastMissing ? rows : missingOf(events, siteId, rows);
}

async function missingOf(
  events: Events,
  siteId: string,
  rows: readonly AddedRow[],
): Promise<readonly AddedRow[]> {
  if (rows.length === 0) return rows;
  const times = rows.reduce(
    (range, { timestamp }) => ({
      from: Math.min(range.from, timestamp),
      to: Math.max(range.to, timestamp),
    }),
    { from: Number.POSITIVE_INFINITY, to: 0 },
  );
  const ids = rows.map(({ id }) => Buffer.from(id, 'hex'));
  const existing = await events.existingIds([{ siteId, table: 'events', ids, ...times }]);
  return rows.filter(({ id }) => !existing.has(id));
}
