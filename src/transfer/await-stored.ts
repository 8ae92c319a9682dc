import { setTimeout as pause } from 'node:timers/promises';
import type { EventStore } from '../storage/events/event-store.js';
import type { AddedRow } from './imported-rows.js';

const POLL_MS = 150;
/** Books are kept by the hour of receipt, which may be the one before. */
const BOOKS_RANGE_MS = 2 * 3_600_000;
/** The books follow the rows at once; they may be lost when a writer loses its partition in between. */
const BOOKS_MS = 3_000;

/**
 * Sends rows and waits until the writer is done with them: they are stored with all that hangs on them, and booked.
 * @returns how many of them the store has refused: they are booked, and not there
 * @throws what the store throws, the signal's reason
 */
export async function awaitStored(
  events: Pick<EventStore, 'existingIds' | 'books'>,
  siteId: string,
  rows: readonly AddedRow[],
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
  let since = { seen: 0, booked: 0 };
  for (;;) {
    await pause(POLL_MS, undefined, { signal });
    const now = Date.now();
    missing = await stillMissing(events, siteId, missing);
    const areBooked = (await booked()) >= before + rows.length;
    since = {
      seen: missing.length === 0 ? since.seen || now : 0,
      booked: areBooked ? since.booked || now : 0,
    };
    if (missing.length === 0 && (areBooked || now - since.seen > BOOKS_MS)) return 0;
    // Older copies of the rows may have been booked in the place of these, so it is not enough at once.
    if (areBooked && now - since.booked > BOOKS_MS) return missing.length;
  }
}

/** Rows become visible in the order they were sent in, or all at once, so the last one tells whether to ask for all. */
async function stillMissing(
  events: Pick<EventStore, 'existingIds'>,
  siteId: string,
  rows: readonly AddedRow[],
): Promise<readonly AddedRow[]> {
  const ask = async (some: readonly AddedRow[]): Promise<Set<string>> => {
    const times = some.reduce(
      (range, { timestamp }) => ({
        from: Math.min(range.from, timestamp),
        to: Math.max(range.to, timestamp),
      }),
      { from: Number.POSITIVE_INFINITY, to: 0 },
    );
    const ids = some.map(({ id }) => Buffer.from(id, 'hex'));
    return events.existingIds([{ siteId, table: 'events', ids, ...times }]);
  };
  const last = rows.at(-1);
  if (last === undefined) return rows;
  const existing = await ask(rows.length > 1 && !(await ask([last])).has(last.id) ? [last] : rows);
  return rows.filter(({ id }) => !existing.has(id));
}
