/** Opens every store that the configuration names, and its embedded stand-in where none is named. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { DEFAULT_INSERT_MS } from '../actors/partition-writer.js';
import type { Config } from '../config.js';
import type { Cache } from '../storage/cache/cache.js';
import { createMemoryCache } from '../storage/cache/memory-cache.js';
import { createRedisCache } from '../storage/cache/redis-cache.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import { createMetadataStore } from '../storage/metadata/postgres-store.js';
import { createFolderStore } from '../storage/objects/folder.js';
import type { ObjectStore } from '../storage/objects/objects.js';
import { openJetStream } from '../storage/stream/jetstream.js';
import { openLocalLog } from '../storage/stream/local-log.js';
import { spooled } from '../storage/stream/spooled.js';
import type { FrameStream } from '../storage/stream/stream.js';
import type { Telemetry } from '../telemetry.js';
import type { PartChoice } from './engines.js';
import { findFormerStream, findLeftSpools, SPOOL_FOLDER, STREAM_FOLDER, takingLeft } from './left-spools.js';
import type { Lifecycle } from './lifecycle.js';
import type { Place } from './place.js';

const MIB = 1024 * 1024;
const REDIS_PREFIX = 'seentics:';

export interface Opened<T> {
  readonly store: T;
  readonly choice: PartChoice;
}

/** What opening needs: the lifecycle closes what was opened; the signal ends the waiting for servers that are away. */
export interface OpenContext {
  /** Of this process. */
  readonly config: Config;
  readonly place: Place;
  readonly telemetry: Telemetry;
  readonly lifecycle: Lifecycle;
  readonly signal: AbortSignal;
}

/** @param url of the Postgres server, embedded or configured */
export async function openMetadata(
  { config, telemetry, lifecycle, signal }: OpenContext,
  url: string,
): Promise<MetadataStore> {
  const store = await createMetadataStore({
    url,
    maxConnections: config.DB_MAX_CONNS,
    minConnections: config.DB_MIN_CONNS,
    telemetry,
    signal,
  });
  return lifecycle.add('metadata', store, (it) => it.close());
}

export async function openCache({
  config,
  telemetry,
  lifecycle,
  signal,
}: OpenContext): Promise<Opened<Cache>> {
  const close = (cache: Cache) => cache.close();
  if (config.REDIS_URL === undefined) {
    const store = lifecycle.add('cache', createMemoryCache({ telemetry }), close);
    return { store, choice: { part: 'cache', embedded: true, where: 'memory' } };
  }
  const store = await createRedisCache({ url: config.REDIS_URL, prefix: REDIS_PREFIX, telemetry, signal });
  const where = `Redis at ${new URL(config.REDIS_URL).host}`;
  return { store: lifecycle.add('cache', store, close), choice: { part: 'cache', embedded: false, where } };
}

export async function openObjects({
  config,
  telemetry,
  lifecycle,
  signal,
}: OpenContext): Promise<Opened<ObjectStore>> {
  const close = (objects: ObjectStore) => objects.close();
  if (config.S3_ENDPOINT === undefined) {
    const store = createFolderStore(join(config.DATA_DIR, 'objects'));
    await store.ping();
    return {
      store: lifecycle.add('objects', store, close),
      choice: { part: 'objects', embedded: true, where: 'folder' },
    };
  }
  // Loaded only where it is used: the SDK costs a start a third of a second and 40 MB.
  // It would also print six lines about future Node versions at every start; the lock file decides which version runs.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true';
  const { createS3Store } = await import('../storage/objects/s3.js');
  const store = await createS3Store(
    {
      endpoint: config.S3_ENDPOINT,
      region: config.AWS_REGION,
      bucket: config.S3_BUCKET_REPLAYS,
      accessKeyId: config.AWS_ACCESS_KEY_ID,
      secretAccessKey: config.AWS_SECRET_ACCESS_KEY,
    },
    telemetry,
    signal,
  );
  const where = `S3 at ${new URL(config.S3_ENDPOINT).host}`;
  return {
    store: lifecycle.add('objects', store, close),
    choice: { part: 'objects', embedded: false, where },
  };
}

/**
 * The event stream: JetStream with a spool on disk in front of it, or the local log.
 * @param storeOutlivesUs the event store is a server, where an insert may still take effect after this process was killed
 */
export async function openStream(
  context: OpenContext,
  storeOutlivesUs: boolean,
): Promise<Opened<FrameStream>> {
  const { config, place, telemetry, lifecycle, signal } = context;
  const close = (stream: FrameStream) => stream.close();
  const takeoverMs = storeOutlivesUs ? DEFAULT_INSERT_MS : 0;
  const spools = await findLeftSpools(place, config.NATS_URL !== undefined);
  if (config.NATS_URL === undefined) {
    // A spool is of a node with NATS, and gone once it is worked off: said once, as a rule.
    if (spools.length > 0)
      telemetry.log.warn(
        'this node had NATS_URL before: what waits in the streams there is not stored until a node with NATS_URL takes it',
      );
    const log = await openLocalLog({
      directory: join(config.DATA_DIR, STREAM_FOLDER),
      // Its one consumer is in this process, so more partitions would only mean more and smaller messages.
      partitions: 1,
      limitBytes: config.STREAM_LIMIT_MB * MIB,
      takeoverMs,
      telemetry,
    });
    const store = await takingLeft(context, log, { target: log, spools, formerStreams: [], takeoverMs });
    return {
      store: lifecycle.add('stream', store, close),
      choice: { part: 'stream', embedded: true, where: 'local log' },
    };
  }
  const primary = await openJetStream({
    url: config.NATS_URL,
    streamName: config.NATS_STREAM,
    subject: config.NATS_SUBJECT_EVENTS,
    partitions: config.PARTITIONS,
    replicas: config.NATS_REPLICAS,
    limitBytes: config.STREAM_LIMIT_MB * MIB,
    nodeId: config.NODE_ID ?? randomUUID(),
    signal,
    telemetry,
  });
  const spool = await openLocalLog({
    directory: join(config.DATA_DIR, SPOOL_FOLDER),
    partitions: config.PARTITIONS,
    limitBytes: config.SPOOL_LIMIT_MB * MIB,
    name: 'spool',
    telemetry,
  });
  const formerStreams = findFormerStream(place, STREAM_FOLDER);
  const store = await takingLeft(context, await spooled({ primary, spool, telemetry }), {
    ...{ target: primary, spools, formerStreams, takeoverMs },
  });
  const where = `NATS at ${new URL(config.NATS_URL.split(',')[0] ?? config.NATS_URL).host}`;
  return { store: lifecycle.add('stream', store, close), choice: { part: 'stream', embedded: false, where } };
}
