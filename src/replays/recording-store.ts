import { createHash } from 'node:crypto';
import { AppError } from '../errors.js';
import { forgottenOf } from '../privacy/forgotten.js';
import type { KnownErasures } from '../privacy/known-erasures.js';
import { type EventStore, RowsRefusedError, StoreUnavailableError } from '../storage/events/event-store.js';
import type { ObjectStore } from '../storage/objects/objects.js';
import { inParallel } from './in-parallel.js';
import { type BuiltObject, buildObjects, OBJECT_TYPE } from './recording-objects.js';
import { type RecordingPart, readPart } from './recording-row.js';
import type { RecordingStoreMetrics } from './recording-store-metrics.js';
import type { ReplayStore } from './replay-store.js';

export interface RecordingStoreOptions {
  readonly replays: ReplayStore;
  readonly objects: ObjectStore;
  /** Keeps books and quarantine. */
  readonly events: Pick<EventStore, 'addToBooks' | 'quarantine'>;
  /** Whether the site still exists; what comes late for a deleted one is dropped. */
  readonly siteExists: (siteId: string) => Promise<boolean>;
  /** What was erased: older recordings of such a site are dropped. */
  readonly erasures: KnownErasures;
  readonly metrics: RecordingStoreMetrics;
}

/** Objects that are written at once. */
const PUTS_AT_ONCE = 8;

/**
 * What the partition writer of the recordings writes to. A block becomes one object a site, then rows of the index; a crash in between
 * leaves an object that was noted before and that nothing points to (see `replay-upkeep.ts`). Parts of deleted sessions are dropped; the
 * books count them as stored, for that is what they were before they were deleted.
 */
export function createRecordingStore(
  options: RecordingStoreOptions,
): Pick<EventStore, 'insertRows' | 'addToBooks' | 'quarantine' | 'existingIds' | 'recentIds' | 'repair'> {
  const { replays, objects, events, metrics } = options;

  const put = async ({ objectKey, body }: BuiltObject): Promise<void> => {
    const end = metrics.putSeconds.startTimer();
    try {
      await objects.put(objectKey, body, OBJECT_TYPE);
    } catch (error) {
      throw new StoreUnavailableError('the object store does not take a recording', { cause: error });
    }
    end();
    metrics.objects.inc();
    metrics.objectBytes.inc(body.length);
  };

  return {
    async insertRows(_table, rows, token, deadline) {
      const parts = await withoutDeleted(options, readParts(rows));
      if (parts.length === 0) return;
      const built = buildObjects(parts, token);
      const writtenAt = Date.now();
      await replays.noteObjects(built.map(({ siteId, objectKey }) => ({ siteId, objectKey, writtenAt })));
      await inParallel(built, PUTS_AT_ONCE, put);
      const placed = built.flatMap((object) => object.parts);
      await replays.insertParts(placed, insertToken(token, built), deadline);
    },
    addToBooks: (entries, token) => events.addToBooks(entries, token),
    // Those that come from there and are refused again must not be taken for events.
    quarantine: (entries, token) =>
      events.quarantine(
        entries.map((entry) => (entry.source === 'replay' ? { ...entry, source: 'recording' } : entry)),
        token,
      ),
    existingIds: (candidates) => replays.existingIds(candidates),
    recentIds: (partition, partitions, since, limit) =>
      replays.recentIds(partition, partitions, since, limit),
    // The index is one table: a block is in it or not.
    repair: async () => 0,
  };
}

/** Other rows than those of an earlier attempt are another insert: the keys of the objects tell them apart. */
function insertToken(token: string, built: readonly BuiltObject[]): string {
  const hash = createHash('sha256').update(built.map(({ objectKey }) => objectKey).join('\n'));
  return `${token}-${hash.digest('hex').slice(0, 32)}`;
}

/** @throws RowsRefusedError naming those that are no rows of a recording */
function readParts(rows: readonly Uint8Array[]): RecordingPart[] {
  const bad: number[] = [];
  const parts: RecordingPart[] = [];
  for (const [index, row] of rows.entries()) {
    try {
      parts.push(readPart(row));
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      bad.push(index);
    }
  }
  if (bad.length > 0) throw new RowsRefusedError('the row has not the layout of a recording', bad);
  return parts;
}

/** Without what belongs to sessions and sites that are deleted. */
async function withoutDeleted(
  { replays, siteExists, erasures, metrics }: RecordingStoreOptions,
  parts: readonly RecordingPart[],
): Promise<RecordingPart[]> {
  const kept: RecordingPart[] = [];
  const siteIds = [...new Set(parts.map((part) => part.siteId))];
  const oldest = parts.reduce((least, { receivedAt }) => Math.min(least, receivedAt), Date.now());
  const forgotten = await forgottenOf(erasures, { siteIds, oldest });
  for (const siteId of siteIds) {
    const isForgotten = (part: RecordingPart) => forgotten?.site(siteId, part.receivedAt) ?? false;
    const ofSite = parts.filter((part) => part.siteId === siteId && !isForgotten(part));
    if (ofSite.length === 0 || !(await siteExists(siteId))) continue;
    const keys = [...new Set(ofSite.map((part) => part.sessionKey))];
    const buried = await replays.buried(siteId, keys);
    for (const part of ofSite) if (!buried.has(part.sessionKey)) kept.push(part);
  }
  metrics.dropped.inc(parts.length - kept.length);
  return kept;
}
