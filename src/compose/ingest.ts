/** The way of an event: intake, pool, site actor, publisher, stream; and behind the stream the writer. */
import { availableParallelism } from 'node:os';
import { createPartitionWriter } from '../actors/partition-writer.js';
import { createSiteBatcher } from '../actors/site-batcher.js';
import type { RowObserver } from '../actors/writer/observer.js';
import type { Config } from '../config.js';
import type { AnyRoute } from '../edge/route.js';
import { ingestRoutes } from '../edge/routes/ingest.js';
import { ingestionRoutes } from '../edge/routes/ingestion.js';
import type { GeoImage } from '../enrich/geo-database.js';
import { createIntake, type Intake } from '../enrich/intake.js';
import { createEnrichPool } from '../enrich/pool.js';
import { openDailySalts } from '../privacy/daily-salts.js';
import type { EventStore } from '../storage/events/event-store.js';
import type { VisitorSaltStore } from '../storage/metadata/visitor-salts.js';
import { createPublisher, type Publisher } from '../storage/stream/publisher.js';
import type { FrameStream } from '../storage/stream/stream.js';
import type { Telemetry } from '../telemetry.js';
import type { SiteDirectory } from '../websites/site.js';
import type { Lifecycle } from './lifecycle.js';

const DRAIN_MS = 2_000;

/** Starts the writer side: competes for partitions and brings their messages into the event store. */
export async function startWriter(
  config: Config,
  stream: FrameStream,
  events: EventStore,
  observer: RowObserver,
  telemetry: Telemetry,
  lifecycle: Lifecycle,
): Promise<void> {
  const writer = createPartitionWriter({
    store: events,
    sending: stream.sending,
    observer,
    partitions: stream.partitions,
    telemetry,
    dedupeWindowEvents: config.DEDUPE_WINDOW_EVENTS,
    flushMs: config.FLUSH_INTERVAL_MS,
    blockRows: config.FLUSH_ROWS,
  });
  lifecycle.add('writer', writer, (it) => it.stop(DRAIN_MS));
  lifecycle.add('partitions', await stream.consume(writer), (it) => it.stop());
}

/** Starts the edge side and answers its routes. */
export async function startIntake(
  config: Config,
  stream: FrameStream,
  sites: SiteDirectory,
  events: EventStore,
  telemetry: Telemetry,
  lifecycle: Lifecycle,
  visitorSalts: VisitorSaltStore,
  publishRecording: Publisher['publish'],
): Promise<{
  readonly routes: readonly AnyRoute[];
  readonly publisher: Publisher;
  readonly intake: Intake;
  readonly geo: GeoImage;
}> {
  const publisher = lifecycle.add('publisher', createPublisher({ stream, telemetry }), (it) => it.close());
  const sink = createSiteBatcher({
    publish: (frame) => publisher.publish(frame),
    quotaPerMinute: config.SITE_EVENTS_PER_MINUTE,
    telemetry,
  });
  lifecycle.add('site actors', sink, (it) => it.stop(DRAIN_MS));
  const salts = await openDailySalts({ store: visitorSalts, telemetry });
  lifecycle.add('keys of the day', salts, (it) => it.close());
  const pool = await createEnrichPool({
    threads: config.ENRICH_THREADS || Math.max(1, availableParallelism() - 1),
    geo: config.MAXMIND_DB_PATH === undefined ? 'bundled' : { path: config.MAXMIND_DB_PATH },
    production: config.ENVIRONMENT === 'production',
    limits: { batchEvents: config.BATCH_SIZE, eventAgeMs: config.MAX_EVENT_AGE * 1000 },
    salts: () => salts.current(),
    telemetry,
  });
  lifecycle.add('enrichment pool', pool, (it) => it.close());
  const intake = lifecycle.add('intake', createIntake({ pool, sites, sink, telemetry }), (it) => it.close());
  const routes = [
    ...ingestRoutes({ intake, bodyLimitBytes: config.MAX_EVENT_BODY_BYTES }),
    ...ingestionRoutes({
      ...{ store: events, publishRecording },
      publish: (frame) => publisher.publish(frame),
    }),
  ];
  return { routes, publisher, intake, geo: pool.geoImage };
}
