import { collectDefaultMetrics } from 'prom-client';
import type { Config } from '../config.js';
import { createApp } from '../edge/app.js';
import { docsPage } from '../edge/docs-page.js';
import { createIdempotency } from '../edge/idempotency.js';
import { openApiDocument } from '../edge/openapi.js';
import { claimPort } from '../edge/port.js';
import { createRateLimiter } from '../edge/rate-limit.js';
import type { AnyRoute } from '../edge/route.js';
import { adminRoutes } from '../edge/routes/admin.js';
import { analyticsRoutes } from '../edge/routes/analytics.js';
import { billingRoutes } from '../edge/routes/billing.js';
import { exportRoutes } from '../edge/routes/export.js';
import { internalRoutes } from '../edge/routes/internal.js';
import { notificationRoutes } from '../edge/routes/notifications.js';
import { systemRoutes } from '../edge/routes/system.js';
import { Analytics } from '../metrics/analytics.js';
import { createInstanceStats } from '../metrics/instance-stats.js';
import { shareMetrics } from '../metrics/shared-metrics.js';
import { createNotificationService } from '../notifications/notification-service.js';
import { tellingOfQuarantine, watchingFailures } from '../notifications/occasions.js';
import { forgetfulObserver, forgetfulStore } from '../privacy/forgetful.js';
import { patiently } from '../storage/stream/patiently.js';
import type { Link } from '../supervisor/link.js';
import type { Telemetry } from '../telemetry.js';
import { composeAccounts } from './accounts.js';
import { composeAutomations, openMailer } from './automations.js';
import { composeAvatars } from './avatars.js';
import { composeUsage } from './billing.js';
import { composeContact } from './contact.js';
import { claimDataDir } from './data-dir.js';
import { type Engines, type PartChoice, startEngines } from './engines.js';
import { openEventStores } from './event-store.js';
import { composeFunnels } from './funnels.js';
import { composeHeatmaps, trackedPagesOf } from './heatmaps.js';
import { startIntake, startWriter } from './ingest.js';
import { Lifecycle } from './lifecycle.js';
import { composePasswordResets } from './password-resets.js';
import type { Place } from './place.js';
import { composePrivacy, forgetting, openEraser, purgeOf } from './privacy.js';
import { measureParts, readiness } from './readiness.js';
import { openReplays } from './replays.js';
import { composeRetention } from './retention.js';
import { signingSecret } from './secret.js';
import { composeSharing } from './sharing.js';
import { openCache, openMetadata, openObjects, openStream } from './storage.js';
import { composeTransfer } from './transfer.js';
import { version } from './version.js';
import { viewOfNode } from './whole-node.js';

/** All of shutdown must fit into five seconds: what is running gets most of it, the engines the rest. */
const CLOSE_BUDGET_MS = 3_000;
const PURGE_RETRY_MS = 60_000;
const MIB = 1024 * 1024;
/** Bodies that a node holds at once, bytes, and the least that each of its processes may. */
const BODIES_BYTES = 256 * MIB;
const LEAST_BODIES_BYTES = 64 * MIB;

export interface RunningNode {
  readonly port: number;
  readonly parts: readonly PartChoice[];
  needsSetup(): Promise<boolean>;
  stop(): Promise<void>;
}

/** Where a process stands that is not the whole node. */
export interface Membership {
  readonly place: Place;
  readonly link: Link;
}

/**
 * Brings a process of a node up, which usually is the node: engines, stores, actors, edge, in this order; nothing listens before
 * everything behind it is there.
 * @param config of this process
 * @param signal ends the waiting for servers that are away
 */
export async function startNode(
  config: Config,
  telemetry: Telemetry,
  signal: AbortSignal,
  membership?: Membership,
): Promise<RunningNode> {
  collectDefaultMetrics({ register: telemetry.registry });
  const lifecycle = new Lifecycle(telemetry.log);
  const claim = () => claimDataDir(config.DATA_DIR);
  // A predecessor whose parent was killed may still be ending.
  const lock = await (membership === undefined ? claim() : patiently(claim, signal));
  let engines: Engines | undefined;
  const stop = async () => {
    await lifecycle.close(CLOSE_BUDGET_MS);
    await engines?.stop();
    await lock.release();
  };
  try {
    // Asked again when it is listened to, but then engines have been started and databases made for nothing.
    if (membership === undefined) await claimPort(config.PORT);
    engines = await startEngines(config, telemetry);
    return { ...(await compose(config, telemetry, signal, engines, lifecycle, membership)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function compose(
  config: Config,
  telemetry: Telemetry,
  signal: AbortSignal,
  engines: Engines,
  lifecycle: Lifecycle,
  membership: Membership | undefined,
): Promise<Omit<RunningNode, 'stop'>> {
  const place = membership?.place ?? { process: 1, processes: 1, nodeDir: config.DATA_DIR };
  const context = { config, place, telemetry, lifecycle, signal };
  const metadata = await openMetadata(context, engines.postgresUrl);
  const [cache, objects, stores, stream] = await Promise.all([
    openCache(context),
    openObjects(context),
    openEventStores(config, engines, telemetry, lifecycle, signal),
    openStream(context, !engines.parts.every((part) => part.embedded)),
  ]);
  const notifications = createNotificationService({ notifications: metadata.notifications, telemetry });
  const erasures = forgetting(metadata, stores, telemetry);
  const written = forgetfulStore(stores.events, erasures);
  const replays = await openReplays(context, {
    ...{
      stores: { ...stores, events: written },
      metadata,
      postgresUrl: engines.postgresUrl,
      objects: objects.store,
      erasures: erasures.erasures,
    },
    storeOutlivesUs: !engines.parts.every((part) => part.embedded),
  });
  const eraser = openEraser(context, {
    ...{ metadata, stores, replays, stream: stream.store, postgresUrl: engines.postgresUrl },
    ...{ objects: objects.store, metrics: erasures.metrics },
  });
  const avatars = composeAvatars(metadata, objects.store, telemetry);
  const mailer = openMailer(config, telemetry, lifecycle);
  const accounts = await composeAccounts(
    config,
    metadata,
    cache.store,
    purgeOf(eraser),
    trackedPagesOf(stores.heat),
    telemetry,
    notifications,
    mailer,
    stores.instanceStats,
  );
  lifecycle.add('use of API keys', accounts.keyUsage, (it) => it.close());
  lifecycle.add('audit log', accounts.audit, (it) => it.close());
  keepPurging(accounts.websites, telemetry, lifecycle);
  const automations = composeAutomations({
    ...{ config, metadata, accounts, telemetry, lifecycle },
    cache: cache.store,
    mailer,
    sessions: stores.sessionFacts,
    onEnded: watchingFailures(accounts.sites, notifications),
  });
  const retention = composeRetention(context, {
    ...{ stores, metadata, postgresUrl: engines.postgresUrl, websites: accounts.websites },
    deleteRecordings: replays.deleteOlderThan,
  });
  const routes: AnyRoute[] = [];
  if (config.ROLES.includes('writer')) {
    const telling = (what: 'events' | 'recordings') =>
      tellingOfQuarantine(written, what, accounts.sites, notifications);
    await startWriter(
      config,
      stream.store,
      telling('events'),
      forgetfulObserver(automations.observer, erasures),
      telemetry,
      lifecycle,
    );
    await replays.startWriter(telling('recordings'));
  }
  if (config.ROLES.includes('edge')) {
    const metrics = shareMetrics(stores.metrics, { telemetry });
    const analytics = new Analytics(metrics, stores.heat);
    const intake = await startIntake(
      config,
      stream.store,
      accounts.sites,
      stores.events,
      telemetry,
      lifecycle,
      metadata.visitorSalts,
      replays.publish,
    );
    routes.push(...intake.routes, ...accounts.routes, ...analyticsRoutes({ analytics }));
    routes.push(...exportRoutes({ analytics }), ...notificationRoutes(notifications), ...retention);
    routes.push(
      ...(await composeSharing({
        ...{ config, metadata, accounts, analytics, notifier: notifications, telemetry },
        cache: cache.store,
      })),
    );
    routes.push(...avatars.routes);
    routes.push(
      ...composePrivacy(context, {
        ...{ metadata, stores, metrics, replays, accounts, eraser },
        ...{ cache: cache.store, erasureMetrics: erasures.metrics },
        eraseLeftovers: avatars.avatars.erase,
      }),
    );
    const usage = composeUsage(metadata, stores, telemetry);
    routes.push(...billingRoutes({ usage }), ...internalRoutes({ users: metadata.users, usage }));
    routes.push(...composeContact(config, mailer, cache.store, telemetry));
    routes.push(...adminRoutes(createInstanceStats({ store: stores.instanceStats, telemetry })));
    routes.push(...composePasswordResets({ config, metadata, accounts, mailer, telemetry, lifecycle }));
    routes.push(...automations.routes);
    routes.push(
      ...composeTransfer(context, {
        ...{ stores, metadata, stream: stream.store, publisher: intake.publisher, sites: accounts.sites },
        ...{ objects: objects.store, notifier: notifications },
      }),
    );
    routes.push(...composeFunnels(config, metadata, metrics, accounts.notices, intake.intake));
    const { MAX_EVENT_BODY_BYTES: eventBytes } = config;
    routes.push(
      ...composeHeatmaps(stores.heat, intake.intake, accounts.notices, telemetry, lifecycle, eventBytes),
    );
    routes.push(
      ...replays.startRecorder({
        cache: cache.store,
        sites: accounts.sites,
        geo: intake.geo,
        events: stream.store,
      }),
    );
  }
  const parts = [...engines.parts, stream.choice, cache.choice, objects.choice];
  const probe = (part: string, kind: string, ping: () => Promise<void>, required: boolean) => {
    const choice = parts.find((it) => it.part === part);
    return choice === undefined ? [] : [{ kind, choice, ping, required }];
  };
  const ownParts = readiness({
    probes: [
      ...probe('metadata', 'postgres', () => metadata.ping(), true),
      // Events are accepted while their store is away: the stream keeps them.
      ...probe('events', stores.events.kind, () => stores.events.ping(), false),
      ...probe('cache', cache.store.kind, () => cache.store.ping(), false),
      ...probe('objects', objects.store.kind, () => objects.store.ping(), false),
    ],
    stream: { choice: stream.choice, stream: stream.store },
  });
  measureParts(telemetry.registry, ownParts);
  const view = viewOfNode(telemetry.registry, ownParts, membership?.link);
  routes.push(
    ...systemRoutes({
      version,
      registry: { contentType: telemetry.registry.contentType, metrics: view.metrics },
      ...(config.METRICS_TOKEN === undefined ? {} : { metricsToken: config.METRICS_TOKEN }),
      parts: view.parts,
      document: () => openApiDocument(routes, { version }),
      page: () => docsPage(routes, version),
    }),
  );
  const port = await listen(config, place, routes, accounts, cache.store, telemetry, lifecycle);
  return {
    port,
    parts,
    needsSetup: accounts.needsSetup,
  };
}

async function listen(
  config: Config,
  { processes }: Place,
  routes: readonly AnyRoute[],
  accounts: Awaited<ReturnType<typeof composeAccounts>>,
  cache: Awaited<ReturnType<typeof openCache>>['store'],
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

/** Deleted sites whose data could not be removed at once are tried again until every store has proved them gone. */
function keepPurging(
  websites: Awaited<ReturnType<typeof composeAccounts>>['websites'],
  { log }: Telemetry,
  lifecycle: Lifecycle,
): void {
  const retry = () =>
    websites.resumePurges().catch((err: unknown) => log.error({ err }, 'purging deleted sites failed'));
  const timer = setInterval(retry, PURGE_RETRY_MS);
  timer.unref();
  lifecycle.add('purge retry', timer, async (it) => clearInterval(it));
}
