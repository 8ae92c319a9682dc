/** One upload of a recorder: what `POST /replays/record` brings, after it was checked and made safe to play. */
import type { ErrorCode } from '../errors.js';

/** What a chunk may hold. */
export interface ChunkLimits {
  /** rrweb events of one chunk; more is refused. */
  readonly events: number;
  /** Characters of a session id. */
  readonly sessionIdLength: number;
  /** Characters of a page. */
  readonly pageLength: number;
}

export const CHUNK_LIMITS: ChunkLimits = { events: 20_000, sessionIdLength: 255, pageLength: 2_048 };

/** A valid chunk with nothing in it that could run when it is played. */
export interface SanitisedChunk {
  readonly kind: 'chunk';
  /** As the body has it: either form of the id. */
  readonly websiteId: string;
  /** 1 to 255 characters, no control characters; otherwise any text: never a part of a key or path as it is. */
  readonly sessionId: string;
  /** Whole number from 0 to 2^31-1. Not unique in its session (contract L9). */
  readonly sequence: number;
  /** Normalised path, '' when the body names none. */
  readonly page: string;
  /** The sanitised events as JSON array text, UTF-8, ordered as they came. */
  readonly events: Uint8Array;
  /** Events in it, at least 1. */
  readonly count: number;
  /** Earliest and latest `timestamp` of its events: the recorder's clock, ms since epoch. */
  readonly firstMs: number;
  readonly lastMs: number;
  readonly hasFullSnapshot: boolean;
  /** Mouse clicks; those that belong to bursts on one spot (metrics and list filters); errors that the recorder reported. */
  readonly clicks: number;
  readonly rageClicks: number;
  readonly errors: number;
  /** What sanitising took out, for the metrics. */
  readonly removed: number;
}

/** The chunk is refused for good. */
export interface ChunkRefusal {
  readonly kind: 'refused';
  readonly code: Extract<ErrorCode, 'invalid_json' | 'invalid_request' | 'batch_too_large'>;
  /** Safe to show to the caller. */
  readonly message: string;
}

/** Implemented by `sanitise/sanitise.ts`; runs in the recording pool's worker. */
export type SanitiseChunk = (body: Uint8Array, limits: ChunkLimits) => SanitisedChunk | ChunkRefusal;
