import { type AuditLog, createAuditLog } from '../audit/audit-log.js';
import { createAddressNotice } from '../auth/address-notice.js';
import { createApiKeyVerifier } from '../auth/api-key-verifier.js';
import { createApiKeyService } from '../auth/api-keys.js';
import { createAttempts } from '../auth/attempts.js';
import { createAuthService } from '../auth/auth-service.js';
import { createAuthenticator } from '../auth/authenticator.js';
import { createChallenges } from '../auth/challenges.js';
import { createCrowdAttempts } from '../auth/crowd-attempts.js';
import { createGate, type Gate } from '../auth/gate.js';
import { createKeyUsage, type KeyUsage } from '../auth/key-usage.js';
import { createPasswords, type Passwords } from '../auth/passwords.js';
import { createProfileService } from '../auth/profile-service.js';
import { createSecondFactor } from '../auth/second-factor.js';
import { createTokens } from '../auth/tokens.js';
import { type Config, isCloud } from '../config.js';
import type { AnyRoute } from '../edge/route.js';
import { apiKeyRoutes } from '../edge/routes/api-keys.js';
import { auditRoutes } from '../edge/routes/audit.js';
import { authRoutes } from '../edge/routes/auth.js';
import { memberRoutes } from '../edge/routes/members.js';
import { profileRoutes } from '../edge/routes/profile.js';
import { secondFactorRoutes } from '../edge/routes/second-factor.js';
import { trackerRoutes } from '../edge/routes/tracker-config.js';
import { websiteRoutes } from '../edge/routes/websites.js';
import type { Mailer } from '../mail/mailer.js';
import { createSiteStats, type SiteTotalsStore } from '../metrics/site-stats.js';
import type { Notifier } from '../notifications/notification-service.js';
import { tellingMembers } from '../notifications/occasions.js';
import type { Cache } from '../storage/cache/cache.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';
import { createMemberService } from '../websites/members.js';
import type { SiteDirectory } from '../websites/site.js';
import { createSiteDirectory } from '../websites/site-directory.js';
import { createSiteNotices, type SiteNotices } from '../websites/site-notices.js';
import { createTrackedPages } from '../websites/tracked-pages.js';
import { createTrackerConfigs } from '../websites/tracker-config.js';
import { createWebsiteService, type WebsiteService } from '../websites/website-service.js';
import { gatewayParts } from './gateway.js';
import { signingSecret } from './secret.js';

export interface AccountParts {
  readonly authenticate: (
    header: string,
    client: string,
  ) => ReturnType<Awaited<ReturnType<typeof createAuthenticator>>['authenticate']>;
  readonly gate: Gate;
  readonly sites: SiteDirectory;
  readonly websites: WebsiteService;
  readonly needsSetup: () => Promise<boolean>;
  readonly idempotency: MetadataStore['idempotency'];
  readonly notices: SiteNotices;
  readonly passwords: Passwords;
  readonly gatewayParts: ReturnType<typeof gatewayParts>;
  readonly sessionEnded: (sessionId: string) => Promise<void>;
  readonly keyEnded: (secretHash: Uint8Array) => Promise<void>;
  /** To be closed after the edge. */
  readonly keyUsage: KeyUsage;
  /** To be closed after the edge. */
  readonly audit: AuditLog;
  readonly routes: readonly AnyRoute[];
}

/**
 * Accounts and websites: who may do what, and the routes about both.
 * @param purge removes a deleted site's data from all other stores
 * @param loadTrackedPages pages of a site that have heat points
 * @param siteTotals what is shown beside websites
 */
export async function composeAccounts(
  config: Config,
  metadata: MetadataStore,
  cache: Cache,
  purge: (siteId: string) => Promise<void>,
  loadTrackedPages: (siteId: string) => Promise<readonly string[]>,
  telemetry: Telemetry,
  notifier: Notifier,
  mailer: Mailer,
  siteTotals: SiteTotalsStore,
): Promise<AccountParts> {
  const { log, registry } = telemetry;
  const secret = await signingSecret(config.JWT_SECRET, config.DATA_DIR);
  const tokens = createTokens({
    secret,
    accessSeconds: config.JWT_EXPIRE,
    refreshSeconds: config.JWT_REFRESH_EXPIRE,
  });
  const keyUsage = createKeyUsage({ keys: metadata.apiKeys, telemetry });
  const keys = await createApiKeyVerifier({ keys: metadata.apiKeys, usage: keyUsage, cache, telemetry });
  const { sessions } = metadata;
  const authenticator = await createAuthenticator({ tokens, sessions, keys, cache, telemetry });
  const passwords = await createPasswords({ registry });
  const common = {
    metadata,
    passwords,
    tokens,
    authenticator,
    attempts: createAttempts({ cache, log }),
    attemptsInAll: createCrowdAttempts({ cache, log }),
    log,
  };
  const { users, secondFactors: factors } = metadata;
  const audit = createAuditLog({
    store: metadata.audit,
    telemetry,
    retentionDays: config.AUDIT_RETENTION_DAYS,
  });
  const secondFactor = createSecondFactor({ ...common, factors, users, secret });
  const auth = createAuthService({
    ...common,
    secondFactor,
    challenges: createChallenges(secret),
    audit,
    allowRegistration: config.ALLOW_REGISTRATION,
    accountsElsewhere: isCloud(config),
  });
  const notices = await createSiteNotices(cache, log);
  const sites = createSiteDirectory({ websites: metadata.websites, notices, telemetry });
  const gate = createGate({ websites: metadata.websites, notices, telemetry });
  const websites = createWebsiteService({
    ...{ websites: metadata.websites, notices, log, onDeleted: purge },
    maxOfAccount: config.WEBSITES_PER_ACCOUNT,
  });
  const configs = createTrackerConfigs({
    goals: metadata.goals,
    funnels: metadata.funnels,
    trackedPages: createTrackedPages({ load: loadTrackedPages, notices, telemetry }),
    notices,
    telemetry,
  });
  const apiKeys = createApiKeyService({ keys: metadata.apiKeys, verifier: keys, sites, gate, log });
  const addressMoved = createAddressNotice({ mailer, frontendUrl: config.FRONTEND_URL, log });
  const production = config.ENVIRONMENT === 'production';
  return {
    gatewayParts: gatewayParts(config, metadata, telemetry),
    sessionEnded: (sessionId) => authenticator.sessionEnded(sessionId),
    keyEnded: (secretHash) => authenticator.keyEnded(secretHash),
    authenticate: (header, client) => authenticator.authenticate(header, client),
    gate,
    sites,
    websites,
    idempotency: metadata.idempotency,
    notices,
    passwords,
    keyUsage,
    audit,
    needsSetup: async () => !(await auth.setupStatus()).setupComplete,
    routes: [
      ...authRoutes(auth),
      ...secondFactorRoutes(secondFactor),
      ...auditRoutes(metadata.audit),
      ...profileRoutes(createProfileService({ ...common, audit, addressMoved })),
      ...apiKeyRoutes(apiKeys),
      ...websiteRoutes(websites, gate, createSiteStats({ store: siteTotals, telemetry })),
      ...memberRoutes(tellingMembers(createMemberService({ ...metadata, notices }), notifier)),
      ...trackerRoutes({ directory: sites, configs, production, replaySampling: config.REPLAY_SAMPLING }),
    ],
  };
}
