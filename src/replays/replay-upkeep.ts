import type { ObjectStore } from '../storage/objects/objects.js';
import type { Logger } from '../telemetry.js';
import { grouped } from './grouped.js';
import { inParallel } from './in-parallel.js';
import { dayOf, OBJECT_TYPE, objectKeyOf, sitePrefix } from './recording-objects.js';
import { sessionKeyOf } from './recording-row.js';
import type { RecordingStoreMetrics } from './recording-store-metrics.js';
import type { HeldPart, Move, ReplayStore } from './replay-store.js';

export interface ReplayUpkeepOptions {
  readonly replays: ReplayStore;
  readonly objects: ObjectStore;
  /** Runs one piece of work about a site at a time in the whole cluster. */
  readonly withLock: <T>(siteId: string, work: () => Promise<T>) => Promise<T>;
  readonly siteExists: (siteId: string) => Promise<boolean>;
  /** Removes the rows of a deleted site from every table of the event store. */
  readonly removeRows: (siteId: string) => Promise<void>;
  readonly metrics: RecordingStoreMetrics;
  readonly log: Logger;
  /** ms; tests replace it. */
  readonly now?: () => number;
}

/** Removes what is to be forgotten, from the index and out of the objects. */
export interface ReplayUpkeep {
  /** Removes sessions. They are hidden at once; resolves when their bytes are gone, and their late chunks are dropped. */
  deleteSessions(siteId: string, sessionIds: readonly string[]): Promise<void>;
  /** Removes all objects of a site; its rows go with the event store's. @throws Error when any is left */
  deleteSite(siteId: string): Promise<void>;
  /** Removes objects that were written before a time (ms since epoch); how many. */
  deleteOlderThan(siteId: string, before: number): Promise<number>;
  /** Finishes what a crash interrupted, and removes what came for a session in the moment of its deletion. */
  sweep(): Promise<void>;
  /** Removes objects that a crash left without a row in the index, and what came for sites after their deletion. */
  collect(): Promise<void>;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** An object is in the index seconds after it was noted; the note of an attempt that comes again is renewed. */
const ORPHAN_AGE_MS = 10 * MINUTE_MS;
/** Deletions that are looked after: for longer no chunk is on its way past the look-up of the writer. */
const HAUNTED_MS = DAY_MS;
const SESSIONS_A_ROUND = 1_000;
/** Objects that are rewritten in one step, and how many of them at once (16 MiB each at most). */
const OBJECTS_A_STEP = 50;
const REWRITES_AT_ONCE = 4;
const KEYS_A_DELETE = 1_000;
/** Until nothing is found: a block that is being stored meanwhile, on any node, puts another object there. */
const DELETE_ROUNDS = 10;

export function createReplayUpkeep(options: ReplayUpkeepOptions): ReplayUpkeep {
  const { replays, objects, withLock, metrics, log, now = Date.now } = options;

  const removeObjects = async (siteId: string, keys: readonly string[]): Promise<void> => {
    if (keys.length === 0) return;
    // Bytes first: as long as a row or a note is left, the sweep comes back to it.
    await objects.delete(keys);
    await replays.removeObjects(siteId, keys);
  };

  const erase = async (siteId: string, sessionKeys: readonly string[]): Promise<void> => {
    const gone = new Set(sessionKeys);
    const keys = await replays.objectsOf(siteId, sessionKeys);
    for (let at = 0; at < keys.length; at += OBJECTS_A_STEP) {
      const some = keys.slice(at, at + OBJECTS_A_STEP);
      const kept = (await replays.partsIn(siteId, some)).filter((part) => !gone.has(part.sessionKey));
      await replays.move(siteId, await rewrite(options, siteId, some, kept));
      await removeObjects(siteId, some);
    }
  };

  const collectOrphans = async (siteId?: string): Promise<void> => {
    const before = now() - ORPHAN_AGE_MS;
    const since = siteId === undefined ? before - DAY_MS : 0;
    const query = { since, before, limit: KEYS_A_DELETE, ...(siteId === undefined ? {} : { siteId }) };
    const orphans = await replays.orphans(query);
    for (const [site, found] of grouped(orphans, (orphan) => orphan.siteId)) {
      const keys = found.map(({ objectKey }) => objectKey);
      await withLock(site, () => removeObjects(site, keys));
      metrics.orphans.inc(keys.length);
      log.warn(
        { siteId: site, objects: keys.length },
        'objects of recordings that nothing points to were removed',
      );
    }
  };

  const deleteSite = (siteId: string) =>
    withLock(siteId, async () => {
      for (let round = 0; round < DELETE_ROUNDS; round++) {
        let found = false;
        for await (const keys of batches(objects.list(sitePrefix(siteId)))) {
          found = true;
          await objects.delete(keys);
        }
        if (!found) return;
      }
      throw new Error(`objects keep coming for the deleted site ${siteId}`);
    });

  return {
    async deleteSessions(siteId, sessionIds) {
      if (sessionIds.length === 0) return;
      const keys = [...new Set(sessionIds.map((id) => sessionKeyOf(siteId, id)))];
      await replays.bury(siteId, keys, now());
      await withLock(siteId, () => erase(siteId, keys));
    },
    deleteSite,
    deleteOlderThan: (siteId, before) =>
      withLock(siteId, async () => {
        let removed = 0;
        for (;;) {
          const old = await replays.objectsBefore(siteId, before, KEYS_A_DELETE);
          await removeObjects(
            siteId,
            old.map(({ objectKey }) => objectKey),
          );
          removed += old.length;
          if (old.length < KEYS_A_DELETE) return removed;
        }
      }),
    async sweep() {
      const haunting = await replays.haunting(now() - HAUNTED_MS, SESSIONS_A_ROUND);
      for (const [siteId, sessions] of grouped(haunting, (session) => session.siteId)) {
        const keys = sessions.map(({ sessionKey }) => sessionKey);
        await withLock(siteId, () => erase(siteId, keys));
      }
    },
    async collect() {
      await collectOrphans();
      // A rewritten object keeps its age, so these are looked through whatever their age.
      for (const siteId of await replays.sitesWithDeletions(now() - HAUNTED_MS)) await collectOrphans(siteId);
      for (const siteId of await replays.sitesWithObjects(now() - HAUNTED_MS)) {
        if (await options.siteExists(siteId)) continue;
        await deleteSite(siteId);
        await options.removeRows(siteId);
      }
    },
  };
}

/**
 * Writes what is kept of objects into new ones, which hold nothing else. The same parts make the same object again, so this can be
 * repeated.
 * @param kept parts that stay, by object and place
 */
async function rewrite(
  { replays, objects, metrics }: ReplayUpkeepOptions,
  siteId: string,
  objectKeys: readonly string[],
  kept: readonly HeldPart[],
): Promise<Move[]> {
  const byObject = grouped(kept, (part) => part.objectKey);
  const moves: Move[] = [];
  await inParallel(objectKeys, REWRITES_AT_ONCE, async (oldKey) => {
    const parts = byObject.get(oldKey) ?? [];
    const body = parts.length === 0 ? null : await objects.get(oldKey);
    // When the object is gone, so is what it held.
    if (body === null) return;
    const objectKey = objectKeyOf(siteId, dayOf(oldKey), [oldKey, ...parts.map((part) => part.eventId)]);
    // Not younger than what it holds, so that it is not kept longer either.
    const writtenAt = Math.max(...parts.map((part) => part.receivedAt));
    await replays.noteObjects([{ siteId, objectKey, writtenAt }]);
    const slices = parts.map((part) => body.subarray(part.offset, part.offset + part.length));
    await objects.put(objectKey, Buffer.concat(slices), OBJECT_TYPE);
    metrics.rewritten.inc();
    let offset = 0;
    for (const { eventId, length } of parts) {
      moves.push({ eventId, objectKey, offset });
      offset += length;
    }
  });
  return moves;
}

async function* batches(keys: AsyncIterable<string>): AsyncIterable<string[]> {
  let batch: string[] = [];
  for await (const key of keys) {
    batch.push(key);
    if (batch.length < KEYS_A_DELETE) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
