/**
 * Cross-origin rules. Tracker routes answer pages of every customer and use no cookie, so any origin is echoed, with credentials because
 * beacons always send in that mode. The rest of the API names its origins exactly; authentication is by header there, never by cookie.
 */
import { endWithoutLength, type UwsResponse } from './uws.js';

export interface CorsOptions {
  /** Exact origins (`https://app.example.com`); `*` admits every origin; none admits no foreign page. */
  readonly allowedOrigins: readonly string[];
  /** Outside production pages of localhost and 127.0.0.1 on any port are admitted too. */
  readonly production: boolean;
}

const ALLOWED_HEADERS =
  'Content-Type, Content-Length, Content-Encoding, Accept-Encoding, X-CSRF-Token, Authorization, accept, origin, Cache-Control, X-Requested-With, X-API-Key, X-Site-ID, Idempotency-Key, If-None-Match, X-Share-Token';
const ALLOWED_METHODS = 'POST, OPTIONS, GET, PUT, DELETE, PATCH, HEAD';
const EXPOSED_HEADERS =
  'Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-Request-Id, ETag, Idempotency-Replayed, Content-Disposition';
/** Seconds. Browsers cap it themselves (Chromium at two hours, Firefox at a day). */
const PREFLIGHT_MAX_AGE = '86400';
const LOOPBACK = /^https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/i;

export class Cors {
  readonly #allowed: ReadonlySet<string>;
  readonly #any: boolean;
  readonly #production: boolean;

  constructor(options: CorsOptions) {
    const origins = options.allowedOrigins.map((origin) => origin.trim().replace(/\/$/, '').toLowerCase());
    this.#allowed = new Set(origins);
    this.#any = this.#allowed.has('*');
    this.#production = options.production;
  }

  /** Whether a page of this origin may read the answer. */
  allows(policy: 'tracker' | 'api', origin: string): boolean {
    if (origin === '') return false;
    if (policy === 'tracker' || this.#any) return true;
    return this.#allowed.has(origin.toLowerCase()) || (!this.#production && LOOPBACK.test(origin));
  }

  /** Writes the headers of an ordinary answer. */
  write(res: UwsResponse, policy: 'tracker' | 'api', origin: string): void {
    res.writeHeader('Vary', 'Origin');
    if (!this.allows(policy, origin)) return;
    res.writeHeader('Access-Control-Allow-Origin', origin);
    res.writeHeader('Access-Control-Allow-Credentials', 'true');
    if (policy === 'api') res.writeHeader('Access-Control-Expose-Headers', EXPOSED_HEADERS);
  }

  /** Answers a preflight (any OPTIONS): 204, at once, for GETs too since the trackers' GETs carry a content type. */
  preflight(res: UwsResponse, policy: 'tracker' | 'api', origin: string, closeConnection: boolean): void {
    res.writeStatus('204 No Content').writeHeader('Vary', 'Origin');
    if (this.allows(policy, origin)) {
      res.writeHeader('Access-Control-Allow-Origin', origin);
      res.writeHeader('Access-Control-Allow-Credentials', 'true');
      res.writeHeader('Access-Control-Allow-Methods', ALLOWED_METHODS);
      res.writeHeader('Access-Control-Allow-Headers', ALLOWED_HEADERS);
      res.writeHeader('Access-Control-Max-Age', PREFLIGHT_MAX_AGE);
    }
    endWithoutLength(res, closeConnection);
  }
}
