import type { RowTable } from '../events/tables.js';

/** Rows of these tables are about single visitors. */
export const PERSONAL_TABLES = [
  'events',
  'bot_events',
  'funnel_events',
] as const satisfies readonly RowTable[];
export type PersonalTable = (typeof PERSONAL_TABLES)[number];

/** A row as it is exported: ids as hex, times in ISO 8601, `properties` as the object it was. */
export type PersonalRow = Readonly<Record<string, unknown>>;

/** What a site's rows become when they are made anonymous. */
export interface Anonymisation {
  /** Rows of events that happened before, ms since epoch. */
  readonly before: number;
  /** Secret without which nobody can tell which id became which. Hex. */
  readonly salt: string;
}

/**
 * The event store as far as single visitors go, and all that is kept of a site. Two adapters: ClickHouse and Postgres.
 * @throws StoreUnavailableError from every method, when the store does not answer
 */
export interface PersonalStore {
  /** Rows of a table in portions; of one visitor, or of the whole site. */
  rows(
    table: PersonalTable,
    siteId: string,
    visitorId: string | null,
    signal: AbortSignal,
  ): AsyncIterable<PersonalRow[]>;
  /** Sessions that the visitor's rows name. */
  sessionsOf(siteId: string, visitorId: string): Promise<string[]>;
  /** Removes everything about a visitor: rows, what rollups hold of them, quarantined rows. Rows inserted meanwhile may stay. */
  deleteVisitor(siteId: string, visitorId: string): Promise<void>;
  /** Removes everything of a site, from every table with a `site_id`. Rows inserted meanwhile may stay. */
  deleteSite(siteId: string): Promise<void>;
  /**
   * Replaces visitor and session ids by one-way values and removes what could tell who somebody was. May be begun anew with the same
   * salt after a crash.
   */
  anonymise(siteId: string, how: Anonymisation): Promise<void>;
  /** Resolves when the bytes of removed rows are rewritten. @throws the signal's reason */
  rewritten(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}
