/** One node of the product as far as accounts and websites go, over real HTTP; several may share a database and a Redis. */
import { createAuditLog } from '../../src/audit/audit-log.js';
import { createAddressNotice } from '../../src/auth/address-notice.js';
import { createApiKeyVerifier } from '../../src/auth/api-key-verifier.js';
import { createApiKeyService } from '../../src/auth/api-keys.js';
import { createAttempts } from '../../src/auth/attempts.js';
import { createAuthService } from '../../src/auth/auth-service.js';
import { type Authenticator, createAuthenticator } from '../../src/auth/authenticator.js';
import { createChallenges } from '../../src/auth/challenges.js';
import { createCrowdAttempts } from '../../src/auth/crowd-attempts.js';
import { createGate, type Gate } from '../../src/auth/gate.js';
import { createKeyUsage } from '../../src/auth/key-usage.js';
import { createPasswords, type Passwords } from '../../src/auth/passwords.js';
import { createProfileService } from '../../src/auth/profile-service.js';
import { createSecondFactor } from '../../src/auth/second-factor.js';
import { createTokens } from '../../src/auth/tokens.js';
import { createApp } from '../../src/edge/app.js';
import { createIdempotency } from '../../src/edge/idempotency.js';
import { createRateLimiter, type RateLimits } from '../../src/edge/rate-limit.js';
import type { AnyRoute } from '../../src/edge/route.js';
import { apiKeyRoutes } from '../../src/edge/routes/api-keys.js';
import { auditRoutes } from '../../src/edge/routes/audit.js';
import { authRoutes } from '../../src/edge/routes/auth.js';
import { memberRoutes } from '../../src/edge/routes/members.js';
import { notificationRoutes } from '../../src/edge/routes/notifications.js';
import { profileRoutes } from '../../src/edge/routes/profile.js';
import { secondFactorRoutes } from '../../src/edge/routes/second-factor.js';
import { trackerRoutes } from '../../src/edge/routes/tracker-config.js';
import { websiteRoutes } from '../../src/edge/routes/websites.js';
import type { Mailer } from '../../src/mail/mailer.js';
import type { SiteStatsReader } from '../../src/metrics/site-stats.js';
import {
  createNotificationService,
  type NotificationService,
} from '../../src/notifications/notification-service.js';
import { tellingMembers } from '../../src/notifications/occasions.js';
import type { Cache } from '../../src/storage/cache/cache.js';
import { createMemoryCache } from '../../src/storage/cache/memory-cache.js';
import type { MetadataStore } from '../../src/storage/metadata/metadata.js';
import { createMetadataStore } from '../../src/storage/metadata/postgres-store.js';
import { silentTelemetry, type Telemetry } from '../../src/telemetry.js';
import { createMemberService } from '../../src/websites/members.js';
import type { SiteDirectory } from '../../src/websites/site.js';
import { createSiteDirectory } from '../../src/websites/site-directory.js';
import { createSiteNotices, type SiteNotices } from '../../src/websites/site-notices.js';
import { createTrackerConfigs } from '../../src/websites/tracker-config.js';
import { createWebsiteService } from '../../src/websites/website-service.js';

export const SECRET = 'the secret of the accounts tests, long enough';

export interface NodeOptions {
  readonly databaseUrl: string;
  readonly cache?: Cache;
  readonly allowRegistration?: boolean;
  /** Of an account. */
  readonly maxWebsites?: number;
  readonly production?: boolean;
  readonly maxAttempts?: number;
  readonly maxAttemptsInAll?: number;
  /** Proxies whose X-Forwarded-For is believed; default: none. */
  readonly trust?: readonly string[];
  readonly refreshGraceMs?: number;
  readonly staleMs?: number;
  /** Clock of the second factor, ms. */
  readonly now?: () => number;
  /** Requests a minute; default: no limits. */
  readonly limits?: Partial<RateLimits>;
  /** Key of internal routes. */
  readonly serviceKey?: string;
  /** Tells former addresses of accounts; default: nobody does. */
  readonly mailer?: Mailer;
  readonly onDeleted?: (siteId: string) => Promise<void>;
  /** Figures beside websites; default: none. */
  readonly siteStats?: SiteStatsReader;
  /** Routes beside those of accounts, websites and trackers. */
  readonly routes?: (parts: NodeParts) => readonly AnyRoute[] | Promise<readonly AnyRoute[]>;
}

/** What further rooms are built from. */
export interface NodeParts {
  readonly metadata: MetadataStore;
  readonly notices: SiteNotices;
  readonly cache: Cache;
  readonly sites: SiteDirectory;
  readonly gate: Gate;
  readonly passwords: Passwords;
  readonly authenticator: Authenticator;
  readonly notifications: NotificationService;
  readonly telemetry: Telemetry;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a JSON answer, looked into by the assertions of the tests
  readonly body: any;
}

export type Call = (
  method: string,
  path: string,
  options?: { token?: string; body?: unknown; raw?: string; headers?: Record<string, string> },
) => Promise<Answer>;

export async function startNode(options: NodeOptions) {
  const telemetry = silentTelemetry();
  const cache = options.cache ?? createMemoryCache({ telemetry });
  const metadata = await createMetadataStore({
    url: options.databaseUrl,
    maxConnections: 8,
    minConnections: 0,
    telemetry,
  });
  const { websites, sessions } = metadata;
  const notices = await createSiteNotices(cache, telemetry.log);
  const directory = createSiteDirectory({ websites, notices, telemetry });
  const tokens = createTokens({ secret: SECRET });
  const { apiKeys } = metadata;
  const keyUsage = createKeyUsage({ keys: apiKeys, telemetry });
  const keys = await createApiKeyVerifier({ keys: apiKeys, usage: keyUsage, cache, telemetry });
  const authenticator = await createAuthenticator({ tokens, sessions, keys, cache, telemetry });
  const gate = createGate({ websites, notices, telemetry });
  const { log } = telemetry;
  const passwords = await createPasswords({ registry: telemetry.registry, refusalMs: 0 });
  const attempts = createAttempts({ cache, log, max: options.maxAttempts });
  const attemptsInAll = createCrowdAttempts({ cache, log, max: options.maxAttemptsInAll });
  const common = { metadata, passwords, tokens, authenticator, attempts, attemptsInAll, log };
  const { mailer } = options;
  const addressMoved = mailer
    ? createAddressNotice({ mailer, frontendUrl: 'https://dashboard.example', log })
    : () => {};
  const audit = createAuditLog({ store: metadata.audit, telemetry, retentionDays: 365 });
  const secondFactor = createSecondFactor({
    factors: metadata.secondFactors,
    users: metadata.users,
    ...{ passwords, tokens, authenticator, attempts, log },
    secret: SECRET,
    now: options.now ?? Date.now,
  });
  const auth = createAuthService({
    ...common,
    secondFactor,
    challenges: createChallenges(SECRET),
    audit,
    allowRegistration: options.allowRegistration ?? true,
    ...(options.refreshGraceMs === undefined ? {} : { refreshGraceMs: options.refreshGraceMs }),
  });
  const service = createWebsiteService({
    websites,
    notices,
    log: telemetry.log,
    onDeleted: options.onDeleted ?? (async () => {}),
    ...(options.maxWebsites === undefined ? {} : { maxOfAccount: options.maxWebsites }),
  });
  const configs = createTrackerConfigs({ ...metadata, trackedPages: async () => [], notices, telemetry });
  const rateLimiter = createRateLimiter({
    cache,
    telemetry,
    limits: { ingest: 0, auth: 0, api: 0, admin: 0, internal: 0, public: 0, ...options.limits },
  });
  const idempotency = createIdempotency({
    store: metadata.idempotency,
    secret: SECRET,
    telemetry,
    staleMs: options.staleMs ?? 60_000,
  });
  const notifications = createNotificationService({ notifications: metadata.notifications, telemetry });
  const app = createApp({
    telemetry,
    rateLimiter,
    idempotency,
    audit,
    routes: [
      ...authRoutes(auth),
      ...secondFactorRoutes(secondFactor),
      ...auditRoutes(metadata.audit),
      ...profileRoutes(createProfileService({ ...common, audit, addressMoved })),
      ...apiKeyRoutes(createApiKeyService({ keys: apiKeys, verifier: keys, sites: directory, gate, log })),
      ...websiteRoutes(service, gate, options.siteStats ?? { of: async () => new Map() }),
      ...memberRoutes(tellingMembers(createMemberService({ ...metadata, notices }), notifications)),
      ...notificationRoutes(notifications),
      ...trackerRoutes({ directory, configs, production: options.production ?? true }),
      ...((await options.routes?.({
        ...{ metadata, notices, cache, gate, passwords, authenticator, notifications, telemetry },
        sites: directory,
      })) ?? []),
    ],
    cors: { allowedOrigins: ['https://dashboard.example'], production: true },
    trustedProxies: { trust: options.trust ?? [] },
    ...(options.serviceKey === undefined ? {} : { serviceKey: options.serviceKey }),
    authenticate: authenticator.authenticate,
    resolveSite: directory.resolve,
    authorize: gate.authorize,
  });
  const port = await app.listen(0, '127.0.0.1');

  const call: Call = async (method, path, { token, body, raw, headers } = {}) => {
    const text = raw ?? (body === undefined ? undefined : JSON.stringify(body));
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(text === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(text === undefined ? {} : { body: text }),
    });
    const answer = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: answer === '' ? null : JSON.parse(answer),
    };
  };
  return {
    url: `http://127.0.0.1:${port}`,
    call,
    service,
    metadata,
    sites: directory,
    keyUsage,
    audit,
    async stop() {
      await app.close();
      await rateLimiter.close();
      await idempotency.close();
      await keyUsage.close();
      await audit.close();
      await metadata.close();
      if (!options.cache) await cache.close();
    },
  };
}

export type Node = Awaited<ReturnType<typeof startNode>>;

/** Registers an account and answers its token and id. */
export async function signUp(node: Pick<Node, 'call'>, email: string) {
  const { status, body } = await node.call('POST', '/api/v1/user/auth/register', {
    body: { name: email, email, password: 'correct horse' },
  });
  if (status !== 201) throw new Error(`registration of ${email}: ${status} ${JSON.stringify(body)}`);
  return { token: String(body.data.tokens.access_token), id: String(body.data.user.id) };
}
