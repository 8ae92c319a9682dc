/** The text of an uploaded file, kept in pieces, each compressed by itself, so that reading can begin at any of them. */
import { randomBytes } from 'node:crypto';
import { pipeline, Readable } from 'node:stream';
import { promisify } from 'node:util';
import { createGunzip, gunzip, gzip } from 'node:zlib';
import { AppError } from '../errors.js';
import type { ObjectStore } from '../storage/objects/objects.js';

/** Text of a piece, bytes. */
const PIECE_BYTES = 4 * 1024 * 1024;
const DAY_MS = 86_400_000;
const FOLDER = 'imports/';

const compress = promisify(gzip);
const inflate = promisify(gunzip);

export interface StoredUpload {
  /** UUID of the import to be. */
  readonly id: string;
  /** Of the text. */
  readonly bytes: number;
  /** The beginning of the text: all of a short one. */
  readonly head: Buffer;
}

type Objects = Pick<ObjectStore, 'put' | 'get' | 'delete' | 'list'>;

/**
 * Stores a file while it arrives, inflated when it is gzip.
 * @param limitBytes of the text
 * @throws AppError `body_too_large`, `invalid_request` (damaged gzip), what `bytes` throws; nothing of it is kept then
 */
export async function storeUpload(
  objects: Objects,
  bytes: AsyncIterable<Uint8Array>,
  limitBytes: number,
): Promise<StoredUpload> {
  const id = timeOrderedId(Date.now());
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  let total = 0;
  let pieces = 0;
  let head = Buffer.alloc(0);
  const flush = async (): Promise<void> => {
    const piece = Buffer.concat(waiting);
    const rest = piece.subarray(PIECE_BYTES);
    const full = piece.subarray(0, PIECE_BYTES);
    if (pieces === 0) head = full;
    await objects.put(keyOf(id, pieces++), await compress(full, { level: 1 }), 'application/gzip');
    waiting = [rest];
    waitingBytes = rest.length;
  };
  try {
    for await (const chunk of textOf(bytes)) {
      total += chunk.length;
      if (total > limitBytes) throw tooLarge(limitBytes);
      waiting.push(chunk);
      waitingBytes += chunk.length;
      while (waitingBytes >= PIECE_BYTES) await flush();
    }
    if (waitingBytes > 0) await flush();
  } catch (error) {
    await deleteUpload(objects, id);
    throw error;
  }
  return { id, bytes: total, head };
}

/** The text from a byte on. @throws Error when a piece is gone */
export async function* readUpload(
  objects: Pick<Objects, 'get'>,
  id: string,
  from: number,
  bytes: number,
): AsyncGenerator<Uint8Array, void, void> {
  let skip = from % PIECE_BYTES;
  for (let at = Math.floor(from / PIECE_BYTES); at * PIECE_BYTES < bytes; at++) {
    const piece = await objects.get(keyOf(id, at));
    if (piece === null) throw new Error(`piece ${at} of import ${id} is gone`);
    const text = await inflate(piece);
    yield text.subarray(skip);
    skip = 0;
  }
}

export async function deleteUpload(objects: Pick<Objects, 'delete' | 'list'>, id: string): Promise<void> {
  const keys: string[] = [];
  for await (const key of objects.list(`${FOLDER}${id}/`)) keys.push(key);
  if (keys.length > 0) await objects.delete(keys);
}

/**
 * Removes uploads of a day ago and more that no import needs any more: of websites that were deleted, or left by a crash or a storage that was away.
 * @returns how many
 */
export async function sweepUploads(
  objects: Objects,
  needed: (ids: readonly string[]) => Promise<ReadonlySet<string>>,
  now: number,
): Promise<number> {
  const ids = new Set<string>();
  for await (const key of objects.list(FOLDER)) {
    const id = key.slice(FOLDER.length).split('/')[0] ?? '';
    if (timeOf(id) < now - DAY_MS) ids.add(id);
  }
  if (ids.size === 0) return 0;
  const known = await needed([...ids]);
  const orphans = [...ids].filter((id) => !known.has(id));
  for (const id of orphans) await deleteUpload(objects, id);
  return orphans.length;
}

const keyOf = (id: string, piece: number): string => `${FOLDER}${id}/${String(piece).padStart(6, '0')}.gz`;

/** As it is, or what is in it. */
async function* textOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  const iterator = bytes[Symbol.asyncIterator]();
  // Two bytes tell gzip, and they may come one by one.
  let start = Buffer.alloc(0);
  let isOver = false;
  while (start.length < 2 && !isOver) {
    const next = await iterator.next();
    if (next.done === true) isOver = true;
    else start = Buffer.concat([start, next.value]);
  }
  async function* whole(): AsyncGenerator<Uint8Array, void, void> {
    yield start;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
  }
  if (start[0] !== 0x1f || start[1] !== 0x8b) {
    yield* whole();
    return;
  }
  const inflating = createGunzip();
  pipeline(Readable.from(whole(), { objectMode: false }), inflating, () => {});
  try {
    for await (const chunk of inflating) if (chunk instanceof Uint8Array) yield chunk;
  } catch (error) {
    throw error instanceof AppError
      ? error
      : new AppError('invalid_request', 'The file is damaged gzip data');
  }
}

const tooLarge = (limitBytes: number): AppError =>
  new AppError('body_too_large', `The file's text exceeds ${limitBytes} bytes`, { details: { limitBytes } });

/** UUID version 7 (RFC 9562). */
function timeOrderedId(now: number): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(now, 0, 6);
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** When an id was made; never for what is none of ours. */
function timeOf(id: string): number {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(id)
    ? Number.parseInt(id.replace('-', '').slice(0, 12), 16)
    : Number.POSITIVE_INFINITY;
}
