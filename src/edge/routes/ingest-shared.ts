/** What the record routes of trackers share. */
import Type from 'typebox';
import type { IngestRequest } from '../../enrich/intake.js';
import type { ErrorCode } from '../../errors.js';
import type { RequestInfo } from '../route.js';

/** Headers by which browsers and proxies mark a load that nobody looks at yet. */
export const PREFETCH_HEADERS = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz'] as const;

/**
 * Refusals that stay the same however often the request comes. The unmodified tracker repeats a batch for ever on any status but 2xx
 * (contract 17.7), so on the routes of trackers they are answered 200 and say `rejected`.
 */
export const PERMANENT: ReadonlySet<ErrorCode> = new Set([
  'body_too_large',
  'batch_too_large',
  'feature_disabled',
  'invalid_json',
  'invalid_request',
  'origin_not_allowed',
  'unsupported_encoding',
  'website_inactive',
  'website_not_found',
]);

export const RejectedEventSchema = Type.Object({
  index: Type.Integer(),
  code: Type.String(),
  message: Type.String(),
});

/** A raw route's request as the intake takes it; the route must list PREFETCH_HEADERS. */
export function ingestRequest(
  source: IngestRequest['source'],
  bytes: Uint8Array,
  request: RequestInfo,
): IngestRequest {
  const { origin } = request;
  return {
    source,
    bytes,
    address: request.address,
    userAgent: request.userAgent,
    origin: origin === '' || origin === 'null' ? request.referer : origin,
    receivedAt: Date.now(),
    prefetch: isPrefetch(request),
  };
}

/** `Sec-Purpose: prefetch;prerender`, `Purpose: prefetch`, `X-Purpose: preview`, `X-Moz: prefetch`. */
function isPrefetch(request: RequestInfo): boolean {
  for (const name of PREFETCH_HEADERS) {
    const value = request.header(name);
    if (value !== '' && /prefetch|prerender|preview/i.test(value)) return true;
  }
  return false;
}
