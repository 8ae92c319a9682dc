/** The way of a recording: recorder, pool, a stream of its own, and behind it a writer that makes objects and an index of them. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { createPartitionWriter, DEFAULT_INSERT_MS } from '../actors/partition-writer.js';
import type { AnyRoute } from '../edge/route.js';
import { replayRoutes } from '../edge/routes/replays.js';
import type { GeoImage } from '../enrich/geo-database.js';
import type { KnownErasures } from '../privacy/known-erasures.js';
import { createPlayback, type Playback } from '../replays/playback.js';
import { createRecordingQuota } from '../replays/quota.js';
import { createRecorder } from '../replays/recorder.js';
import { createRecordingPool } from '../replays/recording-pool.js';
import { createRecordingStore, type RecordingStoreOptions } from '../replays/recording-store.js';
import { type RecordingStoreMetrics, recordingStoreMetrics } from '../replays/recording-store-metrics.js';
import { createReplayUpkeep, type ReplayUpkeep } from '../replays/replay-upkeep.js';
import { createReplays } from '../replays/replays.js';
import { openAdvisoryLocks } from '../storage/advisory-lock.js';
import type { Cache } from '../storage/cache/cache.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type { ObjectStore } from '../storage/objects/objects.js';
import { openJetStream } from '../storage/stream/jetstream.js';
import { openLocalLog } from '../storage/stream/local-log.js';
import { createPublisher, type Publisher } from '../storage/stream/publisher.js';
import type { FrameStream } from '../storage/stream/stream.js';
import type { SiteDirectory } from '../websites/site.js';
import type { EventStores } from './event-store.js';
import { findFormerStream, RECORDINGS_FOLDER, takingLeft } from './left-spools.js';
import type { OpenContext } from './storage.js';

const MIB = 1024 * 1024;
const DRAIN_MS = 2_000;
/** Each costs a lease and a consumer; a few are enough to share the work among nodes. */
const MOST_PARTITIONS = 8;
/** Of a block, and of what is read ahead for the next one. */
const BLOCK_BYTES = 16 * MIB;
const BLOCK_ROWS = 10_000;
const DEDUPE_IDS = 500_000;
const MEMORY_BYTES = 8 * MIB;
const SWEEP_MS = 60_000;
const COLLECT_MS = 3_600_000;
/** Recordings give way when the stream of events is this full. */
const YIELD_FILL = 0.5;

export interface ReplayParts {
  readonly stores: Pick<EventStores, 'events' | 'replays'>;
  readonly objects: ObjectStore;
  readonly metadata: MetadataStore;
  readonly erasures: KnownErasures;
  readonly postgresUrl: string;
  /** The event store is a server, where an insert may still take effect after this process was killed. */
  readonly storeOutlivesUs: boolean;
}

export interface ReplayNode {
  /** Removes a deleted site's recordings. */
  readonly purge: (siteId: string) => Promise<void>;
  readonly deleteOlderThan: ReplayUpkeep['deleteOlderThan'];
  readonly upkeep: ReplayUpkeep;
  readonly playback: Playback;
  /** Of recordings on their way. */
  readonly stream: FrameStream;
  /** Makes a frame durable in it. */
  readonly publish: Publisher['publish'];
  /** Brings recordings from the stream into objects and index. @param events keeps books and quarantine */
  startWriter(events: RecordingStoreOptions['events']): Promise<void>;
  /** Starts taking recordings and answers the routes. */
  startRecorder(edge: RecorderParts): readonly AnyRoute[];
}

export interface RecorderParts {
  readonly cache: Cache;
  readonly sites: SiteDirectory;
  readonly geo: GeoImage;
  /** The stream of events. */
  readonly events: FrameStream;
}

/** Opens the stream of recordings and what is kept of them. */
export async function openReplays(context: OpenContext, parts: ReplayParts): Promise<ReplayNode> {
  const { config, telemetry, lifecycle } = context;
  const stream = lifecycle.add('recordings', await openRecordings(context, parts.storeOutlivesUs), (it) =>
    it.close(),
  );
  const publisher = lifecycle.add('recording publisher', createPublisher({ stream, telemetry }), (it) =>
    it.close(),
  );
  const publish: Publisher['publish'] = (frame) => publisher.publish(frame);
  const metrics = recordingStoreMetrics(telemetry.registry);
  const upkeep = upkeepOf(context, parts, metrics);
  return {
    purge: upkeep.deleteSite,
    deleteOlderThan: upkeep.deleteOlderThan,
    ...{ upkeep, stream, publish },
    playback: createPlayback({
      ...{ replays: parts.stores.replays, objects: parts.objects },
      ...{ metrics, log: telemetry.log },
    }),
    async startWriter(events) {
      const writer = createPartitionWriter({
        name: 'recording_writer',
        store: createRecordingStore({
          ...{ replays: parts.stores.replays, events },
          objects: parts.objects,
          siteExists: siteExists(parts.metadata),
          erasures: parts.erasures,
          metrics,
        }),
        sending: stream.sending,
        partitions: stream.partitions,
        telemetry,
        dedupeWindowEvents: DEDUPE_IDS,
        flushMs: config.RECORDINGS_FLUSH_MS,
        blockRows: BLOCK_ROWS,
        blockBytes: BLOCK_BYTES,
      });
      lifecycle.add('recording writer', writer, (it) => it.stop(DRAIN_MS));
      lifecycle.add('recording partitions', await stream.consume(writer), (it) => it.stop());
      keepUp(context, upkeep, metrics);
    },
    startRecorder: (edge) => startRecorder(context, parts, publish, upkeep, metrics, edge),
  };
}

/** JetStream without a spool: while NATS is away recordings are refused, and trackers keep them for a while. */
async function openRecordings(context: OpenContext, storeOutlivesUs: boolean): Promise<FrameStream> {
  const { config, place, telemetry, signal } = context;
  const takeoverMs = storeOutlivesUs ? DEFAULT_INSERT_MS : 0;
  const limitBytes = config.RECORDINGS_LIMIT_MB * MIB;
  if (config.NATS_URL === undefined)
    return openLocalLog({
      directory: join(config.DATA_DIR, RECORDINGS_FOLDER),
      partitions: 1,
      limitBytes,
      memoryBytes: MEMORY_BYTES,
      takeoverMs,
      name: 'recordings',
      telemetry,
    });
  const stream = await openJetStream({
    url: config.NATS_URL,
    streamName: `${config.NATS_STREAM}_RECORDINGS`,
    subject: `${config.NATS_SUBJECT_EVENTS}_recordings`,
    partitions: Math.min(config.PARTITIONS, MOST_PARTITIONS),
    replicas: config.NATS_REPLICAS,
    limitBytes,
    nodeId: config.NODE_ID ?? randomUUID(),
    signal,
    name: 'recordings',
    telemetry,
  });
  const formerStreams = findFormerStream(place, RECORDINGS_FOLDER);
  return takingLeft(context, stream, { target: stream, spools: [], formerStreams, takeoverMs });
}

const siteExists =
  ({ websites }: MetadataStore) =>
  async (siteId: string): Promise<boolean> =>
    (await websites.findMany([siteId])).length > 0;

function upkeepOf(
  { telemetry, lifecycle }: OpenContext,
  { stores, objects, metadata, postgresUrl }: ReplayParts,
  metrics: RecordingStoreMetrics,
): ReplayUpkeep {
  const locks = lifecycle.add('replay locks', openAdvisoryLocks(postgresUrl, telemetry), (it) => it.close());
  return createReplayUpkeep({
    replays: stores.replays,
    objects,
    withLock: (siteId, work) => locks.run(`seentics_replays_${siteId}`, work),
    siteExists: siteExists(metadata),
    removeRows: (siteId) => stores.events.deleteSite(siteId),
    metrics,
    log: telemetry.log,
  });
}

function keepUp(
  { telemetry, lifecycle }: OpenContext,
  upkeep: ReplayUpkeep,
  metrics: RecordingStoreMetrics,
): void {
  const every = (ms: number, what: string, work: () => Promise<void>) => {
    let running: Promise<void> | undefined;
    const round = async () => {
      try {
        await work();
      } catch (err) {
        metrics.sweepFailures.inc();
        telemetry.log.warn({ err }, `${what} failed: it comes again`);
      } finally {
        running = undefined;
      }
    };
    const timer = setInterval(() => {
      running ??= round();
    }, ms);
    timer.unref();
    lifecycle.add(what, timer, async (it) => {
      clearInterval(it);
      await running;
    });
  };
  every(SWEEP_MS, 'sweeping deleted recordings', upkeep.sweep);
  every(COLLECT_MS, 'collecting objects of recordings', upkeep.collect);
}

function startRecorder(
  { config, telemetry, lifecycle }: OpenContext,
  { stores, objects }: ReplayParts,
  publish: Publisher['publish'],
  upkeep: ReplayUpkeep,
  metrics: RecordingStoreMetrics,
  edge: RecorderParts,
): readonly AnyRoute[] {
  const { log } = telemetry;
  const pool = createRecordingPool({ geo: edge.geo, telemetry });
  lifecycle.add('recording pool', pool, (it) => it.close());
  const recorder = createRecorder({
    pool,
    sites: edge.sites,
    quota: createRecordingQuota(edge.cache, config.REPLAY_SITE_MB_PER_DAY * MIB),
    publish,
    mustYield: async () => (await edge.events.status()).fill >= YIELD_FILL,
    production: config.ENVIRONMENT === 'production',
    sampling: config.REPLAY_SAMPLING,
    telemetry,
  });
  lifecycle.add('recorder', recorder, (it) => it.close());
  const store = stores.replays;
  const playback = createPlayback({ replays: store, objects, metrics, log });
  return replayRoutes({
    replays: createReplays({ store, playback, upkeep, log }),
    recorder,
    bodyLimitBytes: config.MAX_REPLAY_BODY_BYTES,
  });
}
