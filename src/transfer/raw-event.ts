/** Stored events one by one, as they leave and enter the program in files. */
import { EVENT_COLUMNS, type EventColumn } from '../events/columns.js';
import type { EventRow } from '../events/row-decoder.js';

/** A stored event and whether it was taken for a bot's. */
export interface RawEvent extends EventRow {
  readonly bot: boolean;
}

/** Columns of a file: those of the events table in its order, then `bot`. */
export const FILE_COLUMNS: readonly (EventColumn | 'bot')[] = [
  ...EVENT_COLUMNS.map(({ name }) => name),
  'bot',
];

/** Where in the order of a file an event stands: by time, then by id. */
export interface Place {
  /** ms since epoch */
  readonly timestamp: number;
  /** 32 lower-case hex characters. */
  readonly id: string;
}

export interface RawEventQuery {
  readonly siteId: string;
  /** ms since epoch; `to` is not included. */
  readonly from: number;
  readonly to: number;
  /** Events of bots as well, or alone. */
  readonly bots: 'exclude' | 'include' | 'only';
  /** Only what comes after this place. */
  readonly after: Place | null;
}

/** Reads stored events. Two adapters: ClickHouse and Postgres. */
export interface RawEventStore {
  /**
   * Events in the order of their places, in portions of a few thousand. Each portion is a query of its own, so nothing waits in the store for a
   * slow reader, and the query under way ends with the signal.
   * @throws AppError `storage_unavailable`, `timeout`, `query_too_expensive`; the signal's reason
   */
  read(query: RawEventQuery, signal: AbortSignal): AsyncIterable<readonly RawEvent[]>;
  close(): Promise<void>;
}
