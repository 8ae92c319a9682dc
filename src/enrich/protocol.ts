/**
 * What crosses the thread boundary between the edge and the enrichment pool. One task is a micro-batch of requests: all bodies in one
 * transferred buffer, all rows back in one transferred buffer, so the cost of a hop is shared.
 */
import type { ErrorCode } from '../errors.js';
import type { Source } from '../events/frame.js';

export interface EnrichTask {
  /** All request bodies, concatenated (already inflated). Transferred. */
  readonly bodies: ArrayBuffer;
  readonly requests: readonly EnrichRequest[];
  /** The sites the requests refer to by index. */
  readonly sites: readonly EnrichSite[];
}

export interface EnrichRequest {
  /** `event`: one object. `batch`: `{siteId, domain, events}`. */
  readonly source: Extract<Source, 'event' | 'batch'>;
  readonly offset: number;
  readonly length: number;
  /** Index into `sites`, found by a cheap scan of the body; the worker checks it against the parsed body. */
  readonly site: number;
  /** Client address after the trusted-proxy rule. Used for geo and then dropped; never stored. */
  readonly address: string;
  readonly userAgent: string;
  /** `Origin` header, else `Referer`, else ''. */
  readonly origin: string;
  /** ms since epoch. */
  readonly receivedAt: number;
  /** The request said it is a prefetch or prerender (`Sec-Purpose`, `Purpose`, `X-Moz`). */
  readonly prefetch: boolean;
}

/** What the worker needs to know of a site. */
export interface EnrichSite {
  readonly id: string;
  readonly siteId: string;
  readonly host: string;
  readonly allowedHosts: readonly string[];
  readonly isActive: boolean;
}

export interface EnrichResult {
  /** All rows of all requests as `row` records of events/frame.ts, concatenated. Transferred. */
  readonly rows: ArrayBuffer;
  /** One a request, in order. */
  readonly outcomes: readonly EnrichOutcome[];
}

export type EnrichOutcome =
  | {
      readonly outcome: 'rows';
      readonly offset: number;
      readonly length: number;
      readonly rowCount: number;
      readonly received: number;
      /** Events that can never be stored, by index in the request; at most 10 are listed, `rejected` counts all. */
      readonly rejected: number;
      readonly errors: readonly RejectedEvent[];
      /** First event's id as UUID text, and its visitor and session: the answer of the single-event route. */
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
  | 'batch_too_large';
