/**
 * Every error a caller of the API can meet, as a stable code. The edge maps codes to HTTP statuses in one table
 * (`src/edge/error-table.ts`); no other module knows statuses.
 */
export type ErrorCode =
  | 'invalid_request'
  | 'invalid_json'
  | 'invalid_parameter'
  | 'unknown_type'
  | 'limit_reached'
  | 'invalid_image'
  | 'unsupported_encoding'
  | 'body_too_large'
  | 'batch_too_large'
  | 'unauthorized'
  | 'invalid_token'
  | 'invalid_credentials'
  | 'invalid_reset_token'
  | 'registration_closed'
  | 'forbidden'
  | 'insufficient_scope'
  | 'two_factor_required'
  | 'invalid_second_factor'
  | 'not_found'
  | 'method_not_allowed'
  | 'website_not_found'
  | 'website_inactive'
  | 'feature_disabled'
  | 'password_required'
  | 'mail_not_configured'
  | 'mail_failed'
  | 'origin_not_allowed'
  | 'conflict'
  | 'request_in_progress'
  | 'idempotency_mismatch'
  | 'email_taken'
  | 'rate_limited'
  | 'quota_exceeded'
  | 'overloaded'
  | 'storage_unavailable'
  | 'query_too_expensive'
  | 'timeout'
  | 'request_timeout'
  | 'internal';

/** An expected failure with a stable code; `message` is safe to show to the caller. */
export class AppError extends Error {
  override readonly name = 'AppError';
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly options: { cause?: unknown; details?: unknown; retryAfterSeconds?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
  }
}
