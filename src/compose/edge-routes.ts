import type { AnyRoute } from '../edge/route.js';
import { adminRoutes } from '../edge/routes/admin.js';
import { analyticsRoutes } from '../edge/routes/analytics.js';
import { billingRoutes } from '../edge/routes/billing.js';
import { exportRoutes } from '../edge/routes/export.js';
import { internalRoutes } from '../edge/routes/internal.js';
import { notificationRoutes } from '../edge/routes/notifications.js';
import type { Mailer } from '../mail/mailer.js';
import { Analytics } from '../metrics/analytics.js';
import { createInstanceStats } from '../metrics/instance-stats.js';
import { shareMetrics } from '../metrics/shared-metrics.js';
import type { NotificationService } from '../notifications/notification-service.js';
import type { Eraser } from '../privacy/eraser.js';
import type { ErasureMetrics } from '../privacy/erasure-metrics.js';
import type { Cache } from '../storage/cache/cache.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type { ObjectStore } from '../storage/objects/objects.js';
import type { FrameStream } from '../storage/stream/stream.js';
import type { AccountParts } from './accounts.js';
import type { AvatarParts } from './avatars.js';
import { composeUsage } from './billing.js';
import { composeContact } from './contact.js';
import type { EventStores } from './event-store.js';
import { composeFunnels } from './funnels.js';
import { composeHeatmaps } from './heatmaps.js';
import { startIntake } from './ingest.js';
import { composePasswordResets } from './password-resets.js';
import { composePrivacy } from './privacy.js';
import type { ReplayNode } from './replays.js';
import { composeSharing } from './sharing.js';
import type { OpenContext } from './storage.js';
import { composeTransfer } from './transfer.js';

/** What has been opened for every node, whatever its roles. */
export interface NodeParts {
  readonly metadata: MetadataStore;
  readonly cache: Cache;
  readonly objects: ObjectStore;
  readonly stores: EventStores;
  readonly stream: FrameStream;
  readonly notifications: NotificationService;
  readonly erasureMetrics: ErasureMetrics;
  readonly eraser: Eraser;
  readonly replays: ReplayNode;
  readonly avatars: AvatarParts;
  readonly mailer: Mailer;
  readonly accounts: AccountParts;
  /** Routes of rooms that work on every node. */
  readonly retention: readonly AnyRoute[];
  readonly automations: readonly AnyRoute[];
}

/** Starts what takes events and answers questions, and gives the routes of all rooms. */
export async function edgeRoutes(context: OpenContext, parts: NodeParts): Promise<AnyRoute[]> {
  const { config, telemetry, lifecycle } = context;
  const { metadata, cache, objects, stores, stream, notifications, replays, mailer, accounts } = parts;
  const metrics = shareMetrics(stores.metrics, { telemetry });
  const analytics = new Analytics(metrics, stores.heat);
  const { sites, notices } = accounts;
  const taking = await startIntake(
    config,
    stream,
    sites,
    stores.events,
    telemetry,
    lifecycle,
    metadata.visitorSalts,
    replays.publish,
  );
  const usage = composeUsage(metadata, stores, telemetry);
  const { MAX_EVENT_BODY_BYTES: eventBytes } = config;
  return [
    ...taking.routes,
    ...accounts.routes,
    ...analyticsRoutes({ analytics }),
    ...exportRoutes({ analytics }),
    ...notificationRoutes(notifications),
    ...parts.retention,
    ...(await composeSharing({
      ...{ config, metadata, accounts, analytics, notifier: notifications, telemetry, cache },
    })),
    ...parts.avatars.routes,
    ...composePrivacy(context, {
      ...{ metadata, stores, metrics, replays, accounts, cache },
      ...{ eraser: parts.eraser, erasureMetrics: parts.erasureMetrics },
      eraseLeftovers: parts.avatars.avatars.erase,
    }),
    ...billingRoutes({ usage }),
    ...internalRoutes({ users: metadata.users, usage }),
    ...composeContact(config, mailer, cache, telemetry),
    ...adminRoutes(createInstanceStats({ store: stores.instanceStats, telemetry })),
    ...composePasswordResets({ config, metadata, accounts, mailer, telemetry, lifecycle }),
    ...parts.automations,
    ...composeTransfer(context, {
      ...{ stores, metadata, stream, publisher: taking.publisher, sites, objects },
      notifier: notifications,
    }),
    ...composeFunnels(config, metadata, metrics, notices, taking.intake),
    ...composeHeatmaps(stores.heat, taking.intake, notices, telemetry, lifecycle, eventBytes),
    ...replays.startRecorder({ cache, sites, geo: taking.geo, events: stream }),
  ];
}
