import type { IdCandidates } from '../storage/events/event-store.js';
import type { RecordingPart } from './recording-row.js';

/**
 * The index of recordings. Two adapters: ClickHouse and Postgres. Sessions and chunks go by their hashes, 32 hex characters. What is
 * deleted is not answered by any read, whether its rows are gone already or not.
 * @throws StoreUnavailableError from every method, when the store does not answer
 */
export interface ReplayStore {
  /** Notes objects that are about to be written; the last note of an object counts. */
  noteObjects(objects: readonly NotedObject[]): Promise<void>;
  /**
   * Inserts rows of the index, all or nothing. The same token again is a no-op.
   * @param deadline ms since epoch after which the insert must not take effect any more
   * @throws RowsRefusedError the rows will never be taken
   */
  insertParts(parts: readonly PlacedPart[], token: string, deadline: number): Promise<void>;
  /** As EventStore.existingIds and recentIds, of the index. */
  existingIds(candidates: readonly IdCandidates[]): Promise<Set<string>>;
  recentIds(
    partition: number,
    partitions: number,
    since: number,
    limit: number,
  ): Promise<Uint8Array[] | null>;

  /** The page of the list that the query asks for, newest first. */
  sessions(query: SessionQuery): Promise<SessionSummary[]>;
  /** How many sessions the filters of the query leave, on all pages. */
  countSessions(query: SessionQuery): Promise<number>;
  /** The first parts of a session in the order of playing: first event, sequence, chunk, part. */
  partsOf(siteId: string, sessionKey: string, limit: number): Promise<StoredPart[]>;
  /** Parts of the newest chunk with a full snapshot of the page, in order; [] when there is none. */
  newestSnapshot(siteId: string, page: string): Promise<StoredPart[]>;

  /** Remembers sessions as deleted: from now on they are neither read nor inserted. */
  bury(siteId: string, sessionKeys: readonly string[], now: number): Promise<void>;
  /** Which of these sessions are deleted? */
  buried(siteId: string, sessionKeys: readonly string[]): Promise<Set<string>>;
  /** Sessions that were deleted at or after `since` (ms) and have rows in the index all the same. */
  haunting(since: number, limit: number): Promise<{ siteId: string; sessionKey: string }[]>;
  /** Objects that hold something of these sessions. */
  objectsOf(siteId: string, sessionKeys: readonly string[]): Promise<string[]>;
  /** Sites in which sessions were deleted at or after `since` (ms). */
  sitesWithDeletions(since: number): Promise<string[]>;
  /** Everything that objects hold, deleted sessions included, by object and place in it. */
  partsIn(siteId: string, objectKeys: readonly string[]): Promise<HeldPart[]>;
  /** Makes the index say that parts lie elsewhere. */
  move(siteId: string, moves: readonly Move[]): Promise<void>;
  /** Removes objects and what lies in them from the index, and from the notes. */
  removeObjects(siteId: string, objectKeys: readonly string[]): Promise<void>;
  /** Sites of which objects were noted at or after `since` (ms). */
  sitesWithObjects(since: number): Promise<string[]>;
  /** Noted objects that no row of the index lies in, the oldest first. */
  orphans(query: OrphanQuery): Promise<NotedObject[]>;
  /** Noted objects of the site that were written before `before` (ms). */
  objectsBefore(siteId: string, before: number, limit: number): Promise<NotedObject[]>;
  close(): Promise<void>;
}

export interface NotedObject {
  readonly siteId: string;
  readonly objectKey: string;
  /** ms since epoch. */
  readonly writtenAt: number;
}

export interface OrphanQuery {
  /** Written at or after `since` and before `before`, ms since epoch. */
  readonly since: number;
  readonly before: number;
  readonly limit: number;
  /** Of one site; default of any. */
  readonly siteId?: string;
}

/** A part and where its bytes lie. */
export interface PlacedPart {
  readonly part: RecordingPart;
  readonly objectKey: string;
  readonly offset: number;
}

/** What playing needs to know of a part. */
export interface StoredPart {
  readonly chunkId: string;
  readonly sessionId: string;
  readonly sequence: number;
  readonly part: number;
  readonly parts: number;
  /** By the recorder's clock, as it was. */
  readonly firstMs: number;
  readonly lastMs: number;
  readonly receivedAt: number;
  readonly rawBytes: number;
  readonly objectKey: string;
  readonly offset: number;
  readonly length: number;
}

export interface HeldPart {
  readonly eventId: string;
  readonly sessionKey: string;
  readonly objectKey: string;
  readonly offset: number;
  readonly length: number;
  /** ms since epoch. */
  readonly receivedAt: number;
}

export interface Move {
  readonly eventId: string;
  readonly objectKey: string;
  readonly offset: number;
}

/** Filters of the list; undefined: not asked for. Texts are compared without case. */
export interface SessionQuery {
  readonly siteId: string;
  readonly limit: number;
  readonly offset: number;
  /** Sessions that come after this one in the list: its start (ms) and key. */
  readonly after?: { readonly startMs: number; readonly sessionKey: string };
  /** Start of the session, ms since epoch, both inclusive. */
  readonly from?: number;
  readonly to?: number;
  /** Seconds. */
  readonly minDuration?: number;
  readonly maxDuration?: number;
  /** ISO codes, any of them; [] fits none. */
  readonly countryCodes?: readonly string[];
  readonly browser?: string;
  readonly os?: string;
  readonly device?: string;
  /** Part of the path of any of its pages. */
  readonly page?: string;
  readonly hasRageClicks?: boolean;
  readonly hasErrors?: boolean;
}

export interface SessionSummary {
  readonly sessionId: string;
  readonly sessionKey: string;
  /** ms since epoch, by the recorder's clock, corrected where that is wrong. */
  readonly startMs: number;
  readonly endMs: number;
  readonly chunkCount: number;
  /** '' unknown. */
  readonly browser: string;
  readonly device: string;
  readonly os: string;
  readonly countryCode: string;
  readonly entryPage: string;
  /** At most 20, in alphabetical order. */
  readonly pages: readonly string[];
  readonly clicks: number;
  readonly rageClicks: number;
  readonly errors: number;
  readonly hasFullSnapshot: boolean;
  /** It lacks a chunk of its numbers from 0, or begins without a full snapshot. */
  readonly isIncomplete: boolean;
}

/** Pages of a session that a summary names. */
export const PAGES_SHOWN = 20;
