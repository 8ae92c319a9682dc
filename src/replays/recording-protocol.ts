/** What crosses the thread boundary between the recorder and its pool: one upload a task. */
import type { GeoImage } from '../enrich/geo-database.js';
import type { ChunkRefusal } from './chunk.js';

export interface RecordingTask {
  /** The body, already inflated; moves to the worker. */
  readonly body: ArrayBuffer;
  /** The site that a scan of the body found, with both forms of its id, lower case. */
  readonly siteId: string;
  readonly siteUuid: string;
  /** Client address, for the country alone. */
  readonly address: string;
  readonly userAgent: string;
  /** ms since epoch. */
  readonly receivedAt: number;
  /** Share of the sessions to keep, 0 to 1. */
  readonly samplingRate: number;
  readonly includePatterns: string | null;
  readonly excludePatterns: string | null;
}

export type RecordingOutcome =
  | {
      readonly kind: 'rows';
      /** `row` records of events/frame.ts. */
      readonly rows: ArrayBuffer;
      readonly rowCount: number;
      /** Bytes of the events as JSON text, and compressed. */
      readonly rawBytes: number;
      readonly storedBytes: number;
      readonly events: number;
      /** What sanitising took out. */
      readonly removed: number;
    }
  | { readonly kind: 'ignored'; readonly reason: 'not_sampled' | 'page_excluded' }
  | ChunkRefusal
  /** The body names another site than the scan found: it comes back to be sent again with that one. */
  | { readonly kind: 'other_site'; readonly site: string; readonly body: ArrayBuffer }
  /** Something failed that no input should be able to make fail. */
  | { readonly kind: 'failed'; readonly reason: string };

/** What a worker is started with. */
export interface RecordingWorkerOptions {
  readonly geo: GeoImage;
}
