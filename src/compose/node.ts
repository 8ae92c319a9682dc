import { collectDefaultMetrics } from 'prom-client';
import type { Config } from '../config.js';
import { docsPage } from '../edge/docs-page.js';
import { openApiDocument } from '../edge/openapi.js';
import { claimPort } from '../edge/port.js';
import type { AnyRoute } from '../edge/route.js';
import { systemRoutes } from '../edge/routes/system.js';
import { createNotificationService } from '../notifications/notification-service.js';
import { tellingOfQuarantine, watchingFailures } from '../notifications/occasions.js';
import { forgetfulObserver, forgetfulStore } from '../privacy/forgetful.js';
import { patiently } from '../storage/stream/patiently.js';
import type { Link } from '../supervisor/link.js';
import type { Telemetry } from '../telemetry.js';
import { composeAccounts } from './accounts.js';
import { composeAutomations, openMailer } from './automations.js';
import { composeAvatars } from './avatars.js';
import { claimDataDir } from './data-dir.js';
import { edgeRoutes } from './edge-routes.js';
import { type Engines, type PartChoice, startEngines } from './engines.js';
import { openEventStores } from './event-store.js';
import { trackedPagesOf } from './heatmaps.js';
import { startWriter } from './ingest.js';
import { Lifecycle } from './lifecycle.js';
import { listen } from './listening.js';
import type { Place } from './place.js';
import { forgetting, openEraser, purgeOf } from './privacy.js';
import { measureParts, readiness } from './readiness.js';
import { openReplays } from './replays.js';
import { composeRetention } from './retention.js';
import { openCache, openMetadata, openObjects, openStream } from './storage.js';
import { version } from './version.js';
import { viewOfNode } from './whole-node.js';

/** All of shutdown must fit into five seconds: what is running gets most of it, the engines the rest. */
const CLOSE_BUDGET_MS = 3_000;
const PURGE_RETRY_MS = 60_000;

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
    routes.push(
      ...(await edgeRoutes(context, {
        ...{ metadata, stores, notifications, eraser, replays, avatars, mailer, accounts },
        ...{ cache: cache.store, objects: objects.store, stream: stream.store },
        erasureMetrics: erasures.metrics,
        ...{ retention, automations: automations.routes },
      })),
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
