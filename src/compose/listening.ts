import type { Config } from '../config.js';
import { createApp } from '../edge/app.js';
import { createIdempotency } from '../edge/idempotency.js';
import { createRateLimiter } from '../edge/rate-limit.js';
import type { AnyRoute } from '../edge/route.js';
import type { Cache } from '../storage/cache/cache.js';
import type { Telemetry } from '../telemetry.js';
import type { AccountParts } from './accounts.js';
import type { Lifecycle } from './lifecycle.js';
import type { Place } from './place.js';
import { signingSecret } from './secret.js';

const MIB = 1024 * 1024;
/** Bodies that a node holds at once, bytes, and the least that each of its processes may. */
const BODIES_BYTES = 256 * MIB;
const LEAST_BODIES_BYTES = 64 * MIB;

/** Answers requests from here on, by these routes; the port. @throws Error it is taken */
export async function listen(
  config: Config,
  { processes }: Place,
  routes: readonly AnyRoute[],
  accounts: AccountParts,
  cache: Cache,
  telemetry: Telemetry,
  lifecycle: Lifecycle,
): Promise<number> {
  const rateLimiter = createRateLimiter({
    cache,
    telemetry,
    limits: {
      ingest: config.RATE_LIMIT_INGEST,
      auth: config.RATE_LIMIT_AUTH,
      api: config.RATE_LIMIT_API,
      public: config.RATE_LIMIT_PUBLIC,
    },
  });
  lifecycle.add('rate limiter', rateLimiter, (it) => it.close());
  const secret = await signingSecret(config.JWT_SECRET, config.DATA_DIR);
  const idempotency = createIdempotency({ store: accounts.idempotency, secret, telemetry });
  lifecycle.add('idempotency keys', idempotency, (it) => it.close());
  const app = createApp({
    routes,
    telemetry,
    rateLimiter,
    idempotency,
    audit: accounts.audit,
    ...accounts.gatewayParts,
    authenticate: accounts.authenticate,
    resolveSite: (id) => accounts.sites.resolve(id),
    authorize: (principal, site, action) => accounts.gate.authorize(principal, site, action),
    cors: { allowedOrigins: config.CORS_ALLOWED_ORIGINS, production: config.ENVIRONMENT === 'production' },
    trustedProxies: {
      trust: config.TRUSTED_PROXIES,
      ...(config.CLIENT_ADDRESS_HEADER === undefined ? {} : { header: config.CLIENT_ADDRESS_HEADER }),
    },
    limits: {
      apiBodyBytes: config.MAX_BODY_BYTES,
      bodiesInFlightBytes: Math.max(LEAST_BODIES_BYTES, Math.floor(BODIES_BYTES / processes)),
    },
  });
  lifecycle.add('edge', app, (it) => it.close(1_500));
  return app.listen(config.PORT, undefined, { shared: processes > 1 });
}
