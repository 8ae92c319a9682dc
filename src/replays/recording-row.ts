/** Writes and reads the rows of recording-columns.ts. */
import { createHash } from 'node:crypto';
import type { ByteWriter } from '../enrich/byte-writer.js';
import { AppError } from '../errors.js';

/** A chunk as its rows tell of it. */
export interface RecordedChunk {
  readonly siteId: string;
  readonly sessionId: string;
  /** ms since epoch. */
  readonly receivedAt: number;
  readonly sequence: number;
  readonly page: string;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly count: number;
  readonly rawBytes: number;
  readonly browser: string;
  readonly os: string;
  readonly device: string;
  readonly countryCode: string;
  readonly hasFullSnapshot: boolean;
  readonly clicks: number;
  readonly rageClicks: number;
  readonly errors: number;
}

/** One row as read back. */
export interface RecordingPart extends Omit<RecordedChunk, 'count'> {
  /** 32 hex characters each. */
  readonly eventId: string;
  readonly sessionKey: string;
  readonly chunkId: string;
  readonly timestamp: number;
  readonly eventCount: number;
  readonly part: number;
  readonly parts: number;
  /** The row without its data: the beginning of its row in the index. */
  readonly head: Uint8Array;
  /** This part's bytes of the compressed chunk. */
  readonly data: Uint8Array;
}

/** Row flags without a table code: the stream of recordings carries rows of this one kind. */
export const RECORDING_FLAGS = 0;

/** Two of them fit into a message of the stream (1,000,000 bytes). */
export const PART_BYTES = 448 * 1024;

/** Clocks that differ from ours by no more than this are taken as right: a chunk is sent some seconds after its last event. */
export const SKEW_LIMIT_MS = 60_000;

const ID_BYTES = 16;

/** What the first event of a chunk happened at, when its clock may be wrong: a chunk is sent when its last event has just happened. */
export function correctedStart(chunk: Pick<RecordedChunk, 'firstMs' | 'lastMs' | 'receivedAt'>): number {
  const skew = chunk.receivedAt - chunk.lastMs;
  const start = Math.abs(skew) > SKEW_LIMIT_MS ? chunk.firstMs + skew : chunk.firstMs;
  return Math.max(0, Math.min(start, chunk.receivedAt));
}

/** Name of a session in keys and tombstones, 32 hex characters: says nothing to who does not know the session id. */
export function sessionKeyOf(siteId: string, sessionId: string): string {
  return digest(siteId, sessionId).toString('hex');
}

/** Hash of site, session, sequence and content. */
export function chunkIdOf(siteId: string, sessionId: string, sequence: number, content: Uint8Array): Buffer {
  const hash = createHash('sha256').update(`${siteId}\u0000${sessionId}\u0000${sequence}\u0000`);
  return hash.update(content).digest().subarray(0, ID_BYTES);
}

function digest(...texts: string[]): Buffer {
  return createHash('sha256').update(texts.join('\u0000')).digest().subarray(0, ID_BYTES);
}

/**
 * Writes the `row` records (events/frame.ts) of a chunk.
 * @param data its compressed events
 * @param flags row flags of the table
 * @returns how many records were written
 */
export function writeParts(
  out: ByteWriter,
  chunk: RecordedChunk,
  chunkId: Buffer,
  data: Uint8Array,
  flags: number,
): number {
  const parts = Math.max(1, Math.ceil(data.length / PART_BYTES));
  const sessionKey = digest(chunk.siteId, chunk.sessionId);
  for (let part = 0; part < parts; part++) {
    const start = out.at;
    out.u32(0);
    out.u8(flags);
    const id = createHash('sha256').update(chunkId).update(String(part)).digest();
    out.bytes(id.subarray(0, ID_BYTES));
    out.i64(correctedStart(chunk));
    out.i64(chunk.receivedAt);
    out.string(chunk.siteId);
    out.bytes(sessionKey);
    out.string(chunk.sessionId);
    out.bytes(chunkId);
    out.u32(chunk.sequence);
    out.u16(part);
    out.u16(parts);
    writeFacts(out, chunk);
    writeBytes(out, data.subarray(part * PART_BYTES, (part + 1) * PART_BYTES));
    out.setU32(start, out.at - start - 4);
  }
  return parts;
}

function writeFacts(out: ByteWriter, chunk: RecordedChunk): void {
  out.string(chunk.page);
  out.i64(chunk.firstMs);
  out.i64(chunk.lastMs);
  out.u32(chunk.count);
  out.u32(chunk.rawBytes);
  out.string(chunk.browser);
  out.string(chunk.os);
  out.string(chunk.device);
  out.string(chunk.countryCode);
  out.u8(chunk.hasFullSnapshot ? 1 : 0);
  out.u32(chunk.clicks);
  out.u32(chunk.rageClicks);
  out.u32(chunk.errors);
}

function writeBytes(out: ByteWriter, bytes: Uint8Array): void {
  let rest = bytes.length;
  for (; rest > 0x7f; rest >>>= 7) out.u8((rest & 0x7f) | 0x80);
  out.u8(rest);
  out.bytes(bytes);
}

/**
 * Reads one row. `head` and `data` are views.
 * @throws AppError `internal` when the bytes are no such row
 */
export function readPart(bytes: Uint8Array): RecordingPart {
  const reader = new PartReader(bytes);
  // The order of these lines is the order of RECORDING_COLUMNS.
  const row = {
    eventId: reader.id(),
    timestamp: reader.i64(),
    receivedAt: reader.i64(),
    siteId: reader.text(),
    sessionKey: reader.id(),
    sessionId: reader.text(),
    chunkId: reader.id(),
    sequence: reader.u32(),
    part: reader.u16(),
    parts: reader.u16(),
    page: reader.text(),
    firstMs: reader.i64(),
    lastMs: reader.i64(),
    eventCount: reader.u32(),
    rawBytes: reader.u32(),
    browser: reader.text(),
    os: reader.text(),
    device: reader.text(),
    countryCode: reader.text(),
    hasFullSnapshot: reader.u8() === 1,
    clicks: reader.u32(),
    rageClicks: reader.u32(),
    errors: reader.u32(),
  };
  const head = bytes.subarray(0, reader.at);
  const data = reader.bytes();
  if (reader.at !== bytes.length) throw damaged('bytes after its end');
  return { ...row, head, data };
}

class PartReader {
  at = 0;
  readonly #buffer: Buffer;

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  id(): string {
    const start = this.#take(ID_BYTES);
    return this.#buffer.toString('hex', start, start + ID_BYTES);
  }

  i64(): number {
    return Number(this.#buffer.readBigInt64LE(this.#take(8)));
  }

  u8(): number {
    return this.#buffer.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#buffer.readUInt16LE(this.#take(2));
  }

  u32(): number {
    return this.#buffer.readUInt32LE(this.#take(4));
  }

  text(): string {
    return Buffer.from(this.bytes()).toString('utf8');
  }

  /** LEB128 length, then the bytes. */
  bytes(): Uint8Array {
    let length = 0;
    let byte = 0x80;
    for (let scale = 1; byte >= 0x80; scale *= 0x80) {
      if (scale > 2 ** 28) throw damaged('a length is none');
      byte = this.u8();
      length += (byte & 0x7f) * scale;
    }
    const start = this.#take(length);
    return this.#buffer.subarray(start, start + length);
  }

  #take(length: number): number {
    const start = this.at;
    if (start + length > this.#buffer.length) throw damaged('it ends too early');
    this.at = start + length;
    return start;
  }
}

function damaged(reason: string): AppError {
  return new AppError('internal', `the row of a recording is damaged: ${reason}`);
}
