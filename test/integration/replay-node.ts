/** The product as far as recordings go, over real HTTP, on one of the event stores and one of the object stores. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { inject } from 'vitest';
import { createPartitionWriter } from '../../src/actors/partition-writer.js';
import type { Principal } from '../../src/auth/principal.js';
import { ingestionRoutes } from '../../src/edge/routes/ingestion.js';
import { replayRoutes } from '../../src/edge/routes/replays.js';
import { SITE, startApp } from '../../src/edge/testing.js';
import { AppError } from '../../src/errors.js';
import { createPlayback } from '../../src/replays/playback.js';
import { createRecordingQuota } from '../../src/replays/quota.js';
import { createRecorder } from '../../src/replays/recorder.js';
import { createRecordingPool } from '../../src/replays/recording-pool.js';
import { createRecordingStore } from '../../src/replays/recording-store.js';
import { recordingStoreMetrics } from '../../src/replays/recording-store-metrics.js';
import { createReplayUpkeep } from '../../src/replays/replay-upkeep.js';
import { createReplays } from '../../src/replays/replays.js';
import { openAdvisoryLocks } from '../../src/storage/advisory-lock.js';
import { createMemoryCache } from '../../src/storage/cache/memory-cache.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import type { QuarantinedRow } from '../../src/storage/events/event-store.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { createClickhouseReplays } from '../../src/storage/events/replays/clickhouse-replays.js';
import { createPostgresReplays } from '../../src/storage/events/replays/postgres-replays.js';
import { createFolderStore } from '../../src/storage/objects/folder.js';
import type { ObjectStore } from '../../src/storage/objects/objects.js';
import { createS3Store } from '../../src/storage/objects/s3.js';
import { openLocalLog } from '../../src/storage/stream/local-log.js';
import { createPublisher } from '../../src/storage/stream/publisher.js';
import { silentTelemetry } from '../../src/telemetry.js';
import type { Site } from '../../src/websites/site.js';
import { freshClickhouse, freshName, freshPostgres } from '../support/fresh.js';

export type StoreKind = 'clickhouse' | 'postgres';
export type ObjectKind = 's3' | 'folder';

/** `node` reads and writes, `viewer` reads, `stranger` may do nothing. */
const ACCOUNTS = ['owner', 'viewer', 'stranger'];

export interface ReplayNodeOptions {
  readonly store: StoreKind;
  readonly objects: ObjectKind;
  readonly quotaBytes?: number;
}

export async function startReplayNode(options: ReplayNodeOptions) {
  const telemetry = silentTelemetry();
  const postgres = await freshPostgres();
  const stores = await openStores(options.store, postgres.url);
  const objectsOpened = await openObjects(options.objects);
  const { objects } = objectsOpened;
  const directory = await mkdtemp(join(tmpdir(), 'seentics-recordings-'));
  const stream = await openLocalLog({ directory, partitions: 1, limitBytes: 1 << 28, telemetry });
  const publisher = createPublisher({ stream, telemetry });
  const pool = createRecordingPool({ geo: [], telemetry });
  const cache = createMemoryCache({ telemetry });
  const sites = new Map<string, Site>([[SITE.siteId, SITE]]);
  const find = async (id: string) =>
    [...sites.values()].find((site) => site.siteId === id || site.id === id) ?? null;
  const faults = { yielding: false };
  const recorder = createRecorder({
    pool,
    sites: { peek: () => undefined, resolve: find },
    quota: createRecordingQuota(cache, options.quotaBytes ?? 0),
    publish: (frame) => publisher.publish(frame),
    mustYield: async () => faults.yielding,
    production: true,
    sampling: 'server',
    telemetry,
  });
  const metrics = recordingStoreMetrics(telemetry.registry);
  const siteExists = async (siteId: string) => (await find(siteId)) !== null;
  const erasures = { of: async () => [] };
  const store = createRecordingStore({ ...stores, objects, siteExists, erasures, metrics });
  const writer = createPartitionWriter({
    ...{ name: 'recording_writer', store, telemetry, partitions: 1 },
    flushMs: 60_000,
    retryFirstMs: 10,
    retryMaxMs: 50,
  });
  const subscription = await stream.consume(writer);
  const locks = openAdvisoryLocks(postgres.url, telemetry);
  const clock = { ms: 0 };
  const upkeep = createReplayUpkeep({
    ...{ replays: stores.replays, objects, siteExists, metrics, log: telemetry.log },
    withLock: (name, work) => locks.run(name, work),
    removeRows: (siteId) => stores.events.deleteSite(siteId),
    now: () => Date.now() + clock.ms,
  });
  const playback = createPlayback({ replays: stores.replays, objects, metrics, log: telemetry.log });
  const app = await startApp({
    telemetry,
    routes: [
      ...replayRoutes({
        replays: createReplays({ store: stores.replays, playback, upkeep, log: telemetry.log }),
        recorder,
        bodyLimitBytes: 12 << 20,
      }),
      ...ingestionRoutes({
        store: stores.events,
        publish: () => Promise.reject(new Error('there is no stream of events here')),
        publishRecording: (frame) => publisher.publish(frame),
      }),
    ],
    resolveSite: find,
    authenticate,
    authorize: (principal, _site, action) =>
      principal.kind === 'account' &&
      (principal.userId === 'owner' || (principal.userId === 'viewer' && action === 'read')),
  });

  const call = (method: string, path: string, body?: unknown, token = 'owner') =>
    callApi(method, `replays/${path}`, body, token);
  const callApi = async (method: string, path: string, body?: unknown, token = 'owner') => {
    const answer = await fetch(`${app.url}/api/v1/${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, body: JSON.parse(text) };
  };
  return {
    ...{ app, call, callApi, sites, objects, faults, clock, upkeep, store, stream, telemetry },
    replays: stores.replays,
    searchTables: stores.search,
    deleteRows: (siteId: string) => stores.events.deleteSite(siteId),
    quarantine: (entries: readonly QuarantinedRow[]) => stores.events.quarantine(entries, randomUUID()),
    books: (siteId: string) => stores.events.books(siteId, 0, Date.now() + 3_600_000),
    /** As the tracker sends it. */
    async record(upload: unknown, headers: Record<string, string> = {}) {
      const answer = await fetch(`${app.url}/api/v1/replays/record`, {
        method: 'POST',
        headers: { 'user-agent': CHROME, 'content-type': 'text/plain', ...headers },
        body: typeof upload === 'string' ? upload : JSON.stringify(upload),
      });
      return { status: answer.status, body: JSON.parse(await answer.text()) };
    },
    /** Brings what was taken so far into objects and index. */
    async flush() {
      while ((await stream.status()).lagMessages > 0) await writer.flush();
    },
    list: (query = '') => call('GET', `sessions?website_id=${SITE.siteId}${query}`),
    data: (session: string) => call('GET', `data/${encodeURIComponent(session)}?website_id=${SITE.siteId}`),
    async keys() {
      const keys: string[] = [];
      for await (const key of objects.list('replays/')) keys.push(key);
      return keys;
    },
    async stop() {
      await recorder.close();
      await app.app.close();
      await pool.close();
      await publisher.close();
      await subscription.stop();
      await writer.stop(1_000);
      await stream.close();
      await locks.close();
      await cache.close();
      await stores.close();
      await objectsOpened.close();
      await postgres.drop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export type ReplayNode = Awaited<ReturnType<typeof startReplayNode>>;

export const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36';
export const IPHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1';

async function authenticate(header: string): Promise<Principal> {
  const name = header.replace(/^Bearer /, '');
  if (!ACCOUNTS.includes(name)) throw new AppError('invalid_token', 'Invalid or expired token');
  return { kind: 'account', userId: name, email: `${name}@example.com`, role: 'user' };
}

async function openStores(kind: StoreKind, postgresUrl: string) {
  const telemetry = silentTelemetry();
  if (kind === 'postgres') {
    const options = { url: postgresUrl, maxConnections: 6, minConnections: 0, telemetry };
    const events = createPostgresEventStore(options);
    await events.migrate();
    const replays = createPostgresReplays(options);
    return {
      events,
      replays,
      search: (text: string) => searchPostgres(postgresUrl, text),
      close: async () => {
        await replays.close();
        await events.close();
      },
    };
  }
  const { url, database, drop } = await freshClickhouse();
  const events = createClickhouseEventStore({ clickhouse: { url, database }, telemetry });
  await events.migrate();
  const replays = createClickhouseReplays({ url, database });
  return {
    events,
    replays,
    search: (text: string) => searchClickhouse(url, database, text),
    close: async () => {
      await replays.close();
      await events.close();
      await drop();
    },
  };
}

/** Names of the tables in which the text stands. */
async function searchPostgres(url: string, text: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const tables = await client.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
    const found: string[] = [];
    for (const { tablename } of tables.rows) {
      const hits = await client.query(`SELECT 1 FROM "${tablename}" AS t WHERE t::text LIKE $1`, [
        `%${text}%`,
      ]);
      if (hits.rows.length > 0) found.push(String(tablename));
    }
    return found;
  } finally {
    await client.end();
  }
}

async function searchClickhouse(url: string, database: string, text: string): Promise<string[]> {
  const query = async (sql: string) => {
    const answer = await fetch(`${url}/?database=${database}`, { method: 'POST', body: sql });
    return (await answer.text()).split('\n').filter((line) => line !== '');
  };
  const found: string[] = [];
  for (const table of await query(
    "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'",
  )) {
    const hits = await query(
      `SELECT 1 FROM ${table} WHERE position(toString(tuple(*)), '${text}') > 0 LIMIT 1`,
    );
    if (hits.length > 0) found.push(table);
  }
  return found;
}

async function openObjects(kind: ObjectKind): Promise<{ objects: ObjectStore; close(): Promise<void> }> {
  if (kind === 's3') {
    const bucket = freshName('replays').replaceAll('_', '-');
    const objects = await createS3Store(
      { ...inject('servers').s3, region: 'us-east-1', bucket },
      silentTelemetry(),
    );
    return { objects, close: () => objects.close() };
  }
  const folder = await mkdtemp(join(tmpdir(), 'seentics-objects-'));
  const objects = createFolderStore(folder);
  return { objects, close: () => rm(folder, { recursive: true, force: true }) };
}
