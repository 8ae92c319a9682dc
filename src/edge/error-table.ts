/** The one place where error codes meet HTTP statuses. */
import { randomUUID } from 'node:crypto';
import type { Static } from 'typebox';
import Type from 'typebox';
import { AppError, type ErrorCode } from '../errors.js';
import type { Logger } from '../telemetry.js';
import type { Reply } from './route.js';

/** Every error answer. `error` and `message` are the same text: API clients read the one, the dashboard the other (contract 0.11). */
export const ErrorBody = Type.Object({
  error: Type.String(),
  message: Type.String(),
  code: Type.String({ description: 'Stable; meant for programs' }),
  details: Type.Optional(Type.Unknown()),
});
export type ErrorBody = Static<typeof ErrorBody>;

interface Row {
  readonly status: number;
  /** Seconds; sent unless the error itself names another time. */
  readonly retryAfter?: number;
}

/**
 * A failed login is 400, not 401: the dashboard takes every 401 as an expired session, logs out and hides the text (contract 0.12).
 */
export const ERROR_TABLE: Readonly<Record<ErrorCode, Row>> = {
  invalid_request: { status: 400 },
  invalid_json: { status: 400 },
  invalid_parameter: { status: 400 },
  unknown_type: { status: 400 },
  invalid_image: { status: 400 },
  limit_reached: { status: 400 },
  invalid_credentials: { status: 400 },
  invalid_reset_token: { status: 400 },
  invalid_second_factor: { status: 400 },
  unauthorized: { status: 401 },
  invalid_token: { status: 401 },
  registration_closed: { status: 403 },
  forbidden: { status: 403 },
  insufficient_scope: { status: 403 },
  two_factor_required: { status: 403 },
  website_inactive: { status: 403 },
  feature_disabled: { status: 403 },
  // Not 401, which the dashboard takes as an expired session.
  password_required: { status: 403 },
  origin_not_allowed: { status: 403 },
  not_found: { status: 404 },
  website_not_found: { status: 404 },
  method_not_allowed: { status: 405 },
  request_timeout: { status: 408 },
  conflict: { status: 409 },
  mail_not_configured: { status: 409 },
  request_in_progress: { status: 409, retryAfter: 1 },
  idempotency_mismatch: { status: 422 },
  email_taken: { status: 409 },
  body_too_large: { status: 413 },
  batch_too_large: { status: 413 },
  unsupported_encoding: { status: 415 },
  query_too_expensive: { status: 422 },
  rate_limited: { status: 429, retryAfter: 60 },
  quota_exceeded: { status: 429, retryAfter: 3600 },
  internal: { status: 500 },
  overloaded: { status: 503, retryAfter: 1 },
  storage_unavailable: { status: 503, retryAfter: 5 },
  mail_failed: { status: 503, retryAfter: 60 },
  timeout: { status: 504 },
};

/**
 * The answer to a failure. An unexpected one is logged once, with the request id that the answer carries, and tells nothing else.
 */
export function errorReply(error: unknown, log: Logger, where: string): Reply<ErrorBody> {
  if (error instanceof AppError) return expectedReply(error);
  const requestId = randomUUID();
  log.error({ err: error, requestId, route: where }, 'request failed');
  const text = 'Internal server error';
  return {
    status: 500,
    body: { error: text, message: text, code: 'internal', details: { requestId } },
    headers: { 'X-Request-Id': requestId },
  };
}

function expectedReply(error: AppError): Reply<ErrorBody> {
  const row = ERROR_TABLE[error.code];
  const { details, retryAfterSeconds = row.retryAfter } = error.options;
  const body: ErrorBody = { error: error.message, message: error.message, code: error.code };
  const headers: Record<string, string> = {};
  if (retryAfterSeconds !== undefined)
    headers['Retry-After'] = String(Math.max(1, Math.ceil(retryAfterSeconds)));
  if (error.code === 'unsupported_encoding') headers['Accept-Encoding'] = 'gzip, deflate, br';
  if (row.status === 401) headers['WWW-Authenticate'] = 'Bearer';
  return { status: row.status, body: details === undefined ? body : { ...body, details }, headers };
}
