import type { DecodedSiteFrame, Source } from '../../events/frame.js';
import { hasStorableTimes, MIN_ROW_BYTES, receivedAtOf } from '../../events/row-head.js';
import type { BookEntry } from '../../storage/events/event-store.js';
import { siteSalt } from '../fingerprint.js';
import type { Tenure } from './tenure.js';

const HOUR_MS = 3_600_000;

/** What became of the events of one site frame, for the books (P2). */
export class Tally {
  readonly siteId: string;
  readonly source: Source;
  readonly salt: number;
  /** Start of the UTC hour of receipt, ms. */
  readonly hour: number;
  readonly received: number;
  readonly rejected: number;
  stored = 0;
  duplicate = 0;
  bot = 0;
  quarantined = 0;

  constructor(
    readonly tenure: Tenure,
    frame: Pick<DecodedSiteFrame, 'siteId' | 'source' | 'received' | 'rejected' | 'rows'>,
    now: number,
  ) {
    this.siteId = frame.siteId;
    this.source = frame.source;
    this.salt = siteSalt(frame.siteId);
    const first = frame.rows.find(
      ({ bytes }) => bytes.byteLength >= MIN_ROW_BYTES && hasStorableTimes(bytes),
    );
    const receivedAt = first === undefined ? now : receivedAtOf(first.bytes);
    this.hour = Math.floor(receivedAt / HOUR_MS) * HOUR_MS;
    this.received = frame.received;
    this.rejected = frame.rejected;
  }

  /** Is every event accounted for? */
  get isBalanced(): boolean {
    return this.received === this.stored + this.duplicate + this.bot + this.rejected + this.quarantined;
  }
}

/**
 * The entries to add to the books. A frame whose tenure ended before all its rows were settled is left out: its message comes again,
 * here or elsewhere, and is booked then. When all were settled, what this node stored is booked although the message comes again (as
 * duplicates), so that `stored` stays the number of rows in the store.
 */
export function bookEntries(tallies: readonly Tally[]): BookEntry[] {
  const entries = new Map<string, { -readonly [Key in keyof BookEntry]: BookEntry[Key] }>();
  for (const tally of tallies) {
    if (tally.tenure.ended && (!tally.isBalanced || tally.stored + tally.bot === 0)) continue;
    const key = `${tally.siteId} ${tally.source} ${tally.hour}`;
    const entry = entries.get(key);
    const { siteId, source, hour, received, stored, duplicate, bot, rejected, quarantined } = tally;
    if (entry === undefined) {
      entries.set(key, { siteId, source, hour, received, stored, duplicate, bot, rejected, quarantined });
      continue;
    }
    entry.received += received;
    entry.stored += stored;
    entry.duplicate += duplicate;
    entry.bot += bot;
    entry.rejected += rejected;
    entry.quarantined += quarantined;
  }
  return [...entries.values()];
}
