/**
 * The unit that travels through the stream: a message is a magic byte, a version byte and one or more site frames. All numbers are
 * little-endian.
 *
 *     message    := 0x53 0x01 siteFrame*
 *     siteFrame  := u32 length of what follows
 *                   u8 source  u8 siteIdLength  siteId (ASCII)
 *                   u32 received  u32 rejected  u32 rowCount  row*
 *     row        := u32 length of flags and bytes  u8 flags  bytes (RowBinary; flags and columns: see tables.ts)
 *
 * `received` and `rejected` carry the books (P2): received = rowCount + rejected.
 */
import { AppError } from '../errors.js';
import { hasTable } from './tables.js';

const MAGIC = 0x53;
const VERSION = 0x01;

/** Where an event came in; the books are kept per source. Messages hold the place in this list, so it only grows. `replay` is what came
 * back from the quarantine, `recording` a session's. */
export const SOURCES = ['event', 'batch', 'import', 'replay', 'heatmap', 'funnel', 'recording'] as const;
export type Source = (typeof SOURCES)[number];

/** One site's rows on their way to the stream. */
export interface SiteFrame {
  readonly siteId: string;
  readonly source: Source;
  readonly received: number;
  readonly rejected: number;
  readonly rowCount: number;
  /** Concatenated `row` records (length, flags, bytes), any number of slices. */
  readonly rows: readonly Uint8Array[];
}

/** A row as read back from a message: a view into the message, valid as long as the message is held. */
export interface FrameRow {
  readonly flags: number;
  readonly bytes: Uint8Array;
}

export interface DecodedSiteFrame {
  readonly siteId: string;
  readonly source: Source;
  readonly received: number;
  readonly rejected: number;
  readonly rows: FrameRow[];
}

/** Encodes site frames into one stream message. */
export function encodeMessage(frames: readonly SiteFrame[]): Buffer {
  let size = 2;
  for (const frame of frames) size += frameSize(frame);
  const out = Buffer.allocUnsafe(size);
  out[0] = MAGIC;
  out[1] = VERSION;
  let at = 2;
  for (const frame of frames) at = writeFrame(out, at, frame);
  return out;
}

/** Bytes that a site frame takes inside a message. */
export function frameSize(frame: SiteFrame): number {
  let size = 4 + 2 + frame.siteId.length + 12;
  for (const slice of frame.rows) size += slice.byteLength;
  return size;
}

function writeFrame(out: Buffer, start: number, frame: SiteFrame): number {
  let at = out.writeUInt32LE(frameSize(frame) - 4, start);
  at = out.writeUInt8(SOURCES.indexOf(frame.source), at);
  at = out.writeUInt8(frame.siteId.length, at);
  at += out.write(frame.siteId, at, 'latin1');
  at = out.writeUInt32LE(frame.received, at);
  at = out.writeUInt32LE(frame.rejected, at);
  at = out.writeUInt32LE(frame.rowCount, at);
  for (const slice of frame.rows) {
    out.set(slice, at);
    at += slice.byteLength;
  }
  return at;
}

/**
 * Decodes a stream message. Rows are views, not copies.
 * @throws AppError `internal` when the bytes are not a message of a known version or end too early
 */
export function decodeMessage(data: Uint8Array): DecodedSiteFrame[] {
  const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (buffer.length < 2 || buffer[0] !== MAGIC || buffer[1] !== VERSION)
    throw broken('unknown magic or version');
  const frames: DecodedSiteFrame[] = [];
  let at = 2;
  while (at < buffer.length) {
    if (at + 4 > buffer.length) throw broken('truncated frame length');
    const end = at + 4 + buffer.readUInt32LE(at);
    if (end > buffer.length) throw broken('truncated frame');
    frames.push(readFrame(buffer, at + 4, end));
    at = end;
  }
  return frames;
}

function readFrame(buffer: Buffer, start: number, end: number): DecodedSiteFrame {
  if (start + 14 > end) throw broken('truncated frame header');
  const source = SOURCES[buffer.readUInt8(start)];
  if (source === undefined) throw broken('unknown source');
  const idEnd = start + 2 + buffer.readUInt8(start + 1);
  if (idEnd + 12 > end) throw broken('truncated frame header');
  const siteId = buffer.toString('latin1', start + 2, idEnd);
  const received = buffer.readUInt32LE(idEnd);
  const rejected = buffer.readUInt32LE(idEnd + 4);
  const rowCount = buffer.readUInt32LE(idEnd + 8);
  const rows: FrameRow[] = [];
  let at = idEnd + 12;
  while (at < end) {
    if (at + 5 > end) throw broken('truncated row header');
    const rowEnd = at + 4 + buffer.readUInt32LE(at);
    if (rowEnd > end || rowEnd < at + 5) throw broken('truncated row');
    const flags = buffer.readUInt8(at + 4);
    if (!hasTable(flags)) throw broken('unknown table');
    // Less than half the cost of `subarray`, and there is one for each row.
    rows.push({ flags, bytes: new Uint8Array(buffer.buffer, buffer.byteOffset + at + 5, rowEnd - at - 5) });
    at = rowEnd;
  }
  if (rows.length !== rowCount) throw broken('row count differs');
  return { siteId, source, received, rejected, rows };
}

function broken(reason: string): AppError {
  return new AppError('internal', `stream message is damaged: ${reason}`);
}
