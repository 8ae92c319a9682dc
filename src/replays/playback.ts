import { AppError } from '../errors.js';
import { RowsRefusedError, StoreUnavailableError } from '../storage/events/event-store.js';
import type { ObjectStore } from '../storage/objects/objects.js';
import type { Logger } from '../telemetry.js';
import { inflateEvents } from './compression.js';
import { inOrderAhead } from './in-order-ahead.js';
import { isoOf } from './iso.js';
import { SKEW_LIMIT_MS, sessionKeyOf } from './recording-row.js';
import type { RecordingStoreMetrics } from './recording-store-metrics.js';
import type { ReplayStore, StoredPart } from './replay-store.js';

export interface PlaybackOptions {
  readonly replays: ReplayStore;
  readonly objects: ObjectStore;
  readonly metrics: RecordingStoreMetrics;
  readonly log: Logger;
  /** Parts of a session that are played, the first ones. Default 20,000: two days of a tracker that never stops. */
  readonly mostParts?: number;
}

/** Reads recordings back, a chunk at a time. */
export interface Playback {
  /**
   * The session as JSON text in pieces: `{"chunks":[…],"session_id":…,"missing_chunks":n}`, chunks by their first event, then sequence. A chunk
   * that cannot be had is left out and counted; `"truncated":true` when there are more parts than are played.
   * @throws AppError `storage_unavailable`
   */
  session(siteId: string, sessionId: string): AsyncIterable<Uint8Array>;
  /** The JSON array of the events of the newest chunk with a full snapshot of the page; null: there is none. */
  snapshot(siteId: string, page: string): Promise<Uint8Array | null>;
}

/** A chunk's parts, in order. */
type Chunk = readonly [StoredPart, ...StoredPart[]];

/** Chunks that are read ahead of the one that is being sent, and their bytes as JSON. */
const AHEAD = 6;
const MOST_PARTS = 20_000;
const AHEAD_BYTES = 24 * 1024 * 1024;

export function createPlayback(options: PlaybackOptions): Playback {
  const { replays, mostParts = MOST_PARTS } = options;
  return {
    async *session(siteId, sessionId) {
      const key = sessionKeyOf(siteId, sessionId);
      const read = () => replays.partsOf(siteId, key, mostParts);
      const parts = await reachable(read);
      const chunks = chunksOf(parts);
      const again = relocation(read);
      const bodies = inOrderAhead(chunks, {
        width: AHEAD,
        weight: AHEAD_BYTES,
        weigh: ([first]) => first.rawBytes,
        load: (chunk) => reachable(() => readChunk(options, chunk, again)),
      });
      const shiftMs = shiftOf(chunks);
      let missing = 0;
      let before = '{"chunks":[';
      for await (const { item, loaded } of bodies) {
        if (loaded === null) {
          missing++;
          continue;
        }
        yield Buffer.concat([
          Buffer.from(before + chunkHead(siteId, item, shiftMs)),
          loaded,
          Buffer.from('}'),
        ]);
        before = ',';
      }
      const opening = before === ',' ? '' : before;
      const end = `],"session_id":${JSON.stringify(sessionId)},"missing_chunks":${missing}`;
      yield Buffer.from(`${opening}${end}${parts.length < mostParts ? '' : ',"truncated":true'}}`);
    },
    async snapshot(siteId, page) {
      const find = async () => chunksOf(await replays.newestSnapshot(siteId, page));
      const [chunk] = await reachable(find);
      if (chunk === undefined) return null;
      return reachable(() => readChunk(options, chunk, async () => (await find())[0]));
    },
  };
}

/** Everything but the events, and `"data":` in front of them. */
function chunkHead(siteId: string, [first]: Chunk, shiftMs: number): string {
  const fields = {
    id: first.chunkId.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
    website_id: siteId,
    session_id: first.sessionId,
    sequence: first.sequence,
    timestamp: isoOf(first.firstMs + shiftMs),
    created_at: isoOf(first.receivedAt),
  };
  return `${JSON.stringify(fields).slice(0, -1)},"data":`;
}

/** What a wrong clock is corrected by, for the whole session: a chunk is sent when its last event has just happened. */
function shiftOf(chunks: readonly Chunk[]): number {
  const skew = chunks.reduce((least, [it]) => Math.min(least, it.receivedAt - it.lastMs), Infinity);
  return Number.isFinite(skew) && Math.abs(skew) > SKEW_LIMIT_MS ? skew : 0;
}

/** Parts that stand one behind the other, put together by chunk. */
function chunksOf(parts: readonly StoredPart[]): Chunk[] {
  const chunks: [StoredPart, ...StoredPart[]][] = [];
  for (const part of parts) {
    const last = chunks.at(-1);
    if (last?.[0].chunkId === part.chunkId) last.push(part);
    else chunks.push([part]);
  }
  return chunks;
}

/** Where chunks lie now: asked once a session, when the first of them is not where it was (a deletion has moved it meanwhile). */
function relocation(read: () => Promise<StoredPart[]>) {
  let asked: Promise<Map<string, Chunk>> | undefined;
  const ask = async () => new Map(chunksOf(await read()).map((chunk) => [chunk[0].chunkId, chunk]));
  return async ([first]: Chunk): Promise<Chunk | undefined> => {
    asked ??= ask();
    return (await asked).get(first.chunkId);
  };
}

/** @returns the JSON text of the chunk's events, null when it cannot be had */
async function readChunk(
  { objects, metrics, log }: PlaybackOptions,
  chunk: Chunk,
  again: (chunk: Chunk) => Promise<Chunk | undefined>,
): Promise<Uint8Array | null> {
  const [{ rawBytes, chunkId }] = chunk;
  let data = await fetchChunk(objects, chunk);
  if (data === null) {
    const moved = await again(chunk);
    if (moved !== undefined && moved[0].objectKey !== chunk[0].objectKey)
      data = await fetchChunk(objects, moved);
  }
  try {
    if (data !== null) return await inflateEvents(data, rawBytes);
  } catch (error) {
    log.error({ chunkId, err: error }, 'a chunk of a recording is damaged');
  }
  metrics.missing.inc();
  return null;
}

async function fetchChunk(objects: ObjectStore, parts: Chunk): Promise<Uint8Array | null> {
  if (parts.length !== parts[0].parts) return null;
  const pieces = await Promise.all(
    parts.map(({ objectKey, offset, length }) =>
      objects.get(objectKey, { start: offset, end: offset + length - 1 }),
    ),
  );
  const found = pieces.filter((piece, index) => piece !== null && piece.length === parts[index]?.length);
  return found.length === parts.length ? Buffer.concat(found.filter((piece) => piece !== null)) : null;
}

/** What the stores throw while they are away, as callers of the API know it. */
export async function reachable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof StoreUnavailableError && error.cause instanceof AppError) throw error.cause;
    if (error instanceof AppError || error instanceof RowsRefusedError) throw error;
    throw new AppError('storage_unavailable', 'The recordings are not reachable', {
      cause: error,
      retryAfterSeconds: 5,
    });
  }
}
