/**
 * What crosses the thread boundary between the edge and the enrichment pool. One task is a micro-batch of requests: everything in one
 * transferred buffer, all rows and outcomes back in one transferred buffer (wire.ts), so the cost of a hop is shared and nothing is
 * cloned.
 */
import type { ErrorCode } from '../errors.js';
import type { Source } from '../events/frame.js';
import type { GeoImage } from './geo-database.js';

export interface EnrichRequest {
  /**
   * `event`: one object. `batch`: `{siteId, domain, events}`. `heatmap`: `{website_id, points}`. `funnel`: `{website_id, events}` or
   * one event with a `website_id` of its own.
   */
  readonly source: Extract<Source, 'event' | 'batch' | 'heatmap' | 'funnel'>;
  /** The body, already inflated. */
  readonly body: Uint8Array;
  /** The site that a cheap scan of the body found; the worker checks it against the parsed body. null: none found. */
  readonly site: EnrichSite | null;
  /** Client address after the trusted-proxy rule. Used for geo and then dropped, unless the site has it stored. */
  readonly address: string;
  readonly userAgent: string;
  /** `Origin` header, else `Referer`, else ''. */
  readonly origin: string;
  /** ms since epoch. */
  readonly receivedAt: number;
  /** The request said it is a prefetch or prerender (`Sec-Purpose`, `Purpose`, `X-Moz`). */
  readonly prefetch: boolean;
  /** The visitor asked not to be tracked (`DNT`, `Sec-GPC`); the site decides whether that counts. */
  readonly optOut: boolean;
}

/** What the worker needs to know of a site. */
export interface EnrichSite {
  readonly id: string;
  readonly siteId: string;
  readonly host: string;
  readonly allowedHosts: readonly string[];
  readonly isActive: boolean;
  readonly respectDoNotTrack: boolean;
  /** Of the address only the network is looked up. */
  readonly cutAddress: boolean;
  /** What is looked up is stored, too. */
  readonly storeAddress: boolean;
  readonly heatmapEnabled: boolean;
  /** Patterns of pages (websites/page-patterns.ts); null: all pages, or none. */
  readonly heatmapInclude: string | null;
  readonly heatmapExclude: string | null;
  readonly funnelEnabled: boolean;
}

export interface EnrichResult {
  /** One a request, in order. */
  readonly outcomes: readonly EnrichOutcome[];
  /** How long each of them kept the worker busy, ms. */
  readonly tookMs: readonly number[];
  /** Geo look-ups have stopped in a worker for this reason; null otherwise. */
  readonly geoFailure: string | null;
  /** A request failed in a way that no input should be able to cause; null otherwise. */
  readonly failure: string | null;
}

export type EnrichOutcome =
  | {
      readonly outcome: 'rows';
      /** `row` records of events/frame.ts; a view into the task's result. */
      readonly rows: Uint8Array;
      readonly rowCount: number;
      readonly received: number;
      /** Events that can never be stored, by index in the request; at most 10 are listed, `rejected` counts all. */
      readonly rejected: number;
      readonly errors: readonly RejectedEvent[];
      /** Of the single-event route: the event's id as UUID text, and its visitor and session; '' otherwise. */
      readonly eventId: string;
      readonly visitorId: string;
      readonly sessionId: string;
    }
  /** The whole request is refused for good. `received` events go to the books as rejected. */
  | {
      readonly outcome: 'refused';
      readonly code: ErrorCode;
      readonly message: string;
      readonly received: number;
    }
  /** The body names another site than the scan had found: resolve this one and send the request again. */
  | { readonly outcome: 'other_site'; readonly site: string };

export interface RejectedEvent {
  readonly index: number;
  readonly code: RejectionCode;
  readonly message: string;
}

/** Why a single event is refused; also a metric label. */
export type RejectionCode =
  | 'not_an_object'
  | 'missing_visitor'
  | 'wrong_type'
  | 'invalid_timestamp'
  | 'stale'
  | 'properties_too_large'
  | 'batch_too_large'
  | 'missing_field'
  | 'invalid_value'
  | 'excluded_page'
  | 'bot_agent'
  | 'do_not_track';

export interface EnrichLimits {
  /** Most events of a batch that are taken; the rest is rejected. */
  readonly batchEvents: number;
  /** Events older than this, in ms, are refused as stale. */
  readonly eventAgeMs: number;
}

export const DEFAULT_LIMITS: EnrichLimits = { batchEvents: 1000, eventAgeMs: 30 * 86_400_000 };

/** What a worker is started with. */
export interface EnrichWorkerOptions {
  readonly geo: GeoImage;
  /** Loopback hosts may not send for every site. */
  readonly production: boolean;
  readonly limits: EnrichLimits;
}
