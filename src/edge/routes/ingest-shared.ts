/** What the record routes of trackers share. */
import Type from 'typebox';
import type { IngestAnswer, IngestRequest } from '../../enrich/intake.js';
import { AppError, type ErrorCode } from '../../errors.js';
import type { Reply, RequestInfo } from '../route.js';

/** Headers by which browsers and proxies mark a load that nobody looks at yet. */
const PREFETCH_HEADERS = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz'] as const;

/** Headers by which a browser says that its user does not want to be tracked: Do Not Track and Global Privacy Control. */
export const OPT_OUT_HEADERS = ['dnt', 'sec-gpc'] as const;

/** What the record routes read beside what every request has. */
export const RECORD_HEADERS = [...PREFETCH_HEADERS, ...OPT_OUT_HEADERS] as const;

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

/** A raw route's request as the intake takes it; the route must list RECORD_HEADERS. */
export function ingestRequest(
  source: IngestRequest['source'],
  bytes: Uint8Array,
  request: RequestInfo,
): IngestRequest {
  return {
    source,
    bytes,
    address: request.address,
    userAgent: request.userAgent,
    origin: senderOf(request),
    receivedAt: Date.now(),
    prefetch: isPrefetch(request),
    optOut: isOptOut(request),
  };
}

/** The page that sends, as far as the browser says: its origin, or its address where it has none to tell. */
export function senderOf({ origin, referer }: Pick<RequestInfo, 'origin' | 'referer'>): string {
  return origin === '' || origin === 'null' ? referer : origin;
}

/** `Sec-Purpose: prefetch;prerender`, `Purpose: prefetch`, `X-Purpose: preview`, `X-Moz: prefetch`. */
function isPrefetch(request: RequestInfo): boolean {
  for (const name of PREFETCH_HEADERS) {
    const value = request.header(name);
    if (value !== '' && /prefetch|prerender|preview/i.test(value)) return true;
  }
  return false;
}

/** `DNT: 1` or `Sec-GPC: 1`; the route must list OPT_OUT_HEADERS. */
export function isOptOut(request: Pick<RequestInfo, 'header'>): boolean {
  return OPT_OUT_HEADERS.some((name) => request.header(name) === '1');
}

/** The answer to what a visitor did not want to be recorded, where one thing is sent. */
export const Ignored = Type.Object({
  status: Type.Literal('ignored', { description: 'Not stored, as the visitor and the website want it' }),
  reason: Type.Literal('do_not_track'),
});

type Accepted = Extract<IngestAnswer, { kind: 'accepted' }>;

/**
 * The answer to a single event.
 * @throws AppError why it is refused
 */
export function singleReply(
  answer: IngestAnswer,
  accepted: (answer: Accepted) => Reply<unknown>,
): Reply<unknown> {
  if (answer.kind === 'refused') throw new AppError(answer.code, answer.message);
  const [error] = answer.errors;
  if (error?.code === 'do_not_track')
    return { status: 200, body: { status: 'ignored', reason: 'do_not_track' } };
  if (error !== undefined)
    throw new AppError('invalid_request', error.message, { details: { reason: error.code } });
  return accepted(answer);
}

/** The answers of a route that takes many events and calls the number of those it took by a name of its own. */
export class BatchReplies {
  constructor(private readonly countName: string) {}

  /** @throws AppError what may be better later */
  of(answer: IngestAnswer, accepted: (answer: Accepted) => Reply<unknown>): Reply<unknown> {
    if (answer.kind === 'refused') {
      if (PERMANENT.has(answer.code)) return this.rejected(answer.code, answer.message, 0, []);
      throw new AppError(answer.code, answer.message);
    }
    const [error] = answer.errors;
    if (answer.accepted === 0 && error !== undefined)
      return this.rejected(error.code, error.message, answer.rejected, answer.errors);
    return accepted(answer);
  }

  /** For `refuse` of a raw route: the tracker keeps its events on any status but 2xx and sends them again for ever. */
  refuse(error: unknown): Reply<unknown> | undefined {
    if (!(error instanceof AppError) || !PERMANENT.has(error.code)) return undefined;
    return this.rejected(error.code, error.message, 0, []);
  }

  private rejected(
    code: string,
    message: string,
    rejected: number,
    errors: readonly unknown[],
  ): Reply<unknown> {
    const body = { status: 'rejected', [this.countName]: 0, rejected, errors, error: message, message, code };
    return { status: 200, body };
  }
}
