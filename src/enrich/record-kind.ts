/** What the writers of heat points and funnel events are called with and answer (heat-points.ts, funnel-events.ts). */
import type { EnrichOutcome, RejectedEvent } from './protocol.js';
import type { ReadySite } from './site-table.js';
import type { MadeVisitor } from './visitor-hash.js';

/** What the entries of one request share. Site, activity, origin and the site's own switch are checked by then. */
export interface RecordContext {
  readonly site: ReadySite;
  /** ms since epoch. */
  readonly receivedAt: number;
  /** Client address after the trusted-proxy rule; never stored. */
  readonly address: string;
  /** For entries without a visitor id. */
  readonly visitor: MadeVisitor;
  readonly userAgent: string;
  /** The body had `\u` escapes. */
  readonly escapes: boolean;
  /** Older entries are stale, ms. */
  readonly eventAgeMs: number;
}

/**
 * `received` = `rowCount` + `rejected` (the books rest on it): entries that are merged into one row count as one, here and in the books.
 */
export type RowsOutcome = Extract<EnrichOutcome, { outcome: 'rows' }>;

/** Rejected entries that an outcome lists. */
export const LISTED_ERRORS = 10;

/** An outcome without rows, to be spread and filled in. */
export const NO_ROWS = {
  outcome: 'rows',
  rows: new Uint8Array(0),
  rowCount: 0,
  received: 0,
  rejected: 0,
  errors: [],
  eventId: '',
  visitorId: '',
  sessionId: '',
} as const satisfies RowsOutcome;

/** Collects the first of the rejected entries and counts all. */
export class Rejections {
  readonly errors: RejectedEvent[] = [];
  count = 0;

  add(index: number, code: RejectedEvent['code'], message: string): void {
    this.count++;
    if (this.errors.length < LISTED_ERRORS) this.errors.push({ index, code, message });
  }
}
