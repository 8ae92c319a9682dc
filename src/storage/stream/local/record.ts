/**
 * Records of the local log. All numbers are little-endian.
 *
 *     record := u32 magic  u32 crc  u32 payload length  u16 partition  u16 0  u64 sequence  payload
 *
 * The CRC-32 covers all that follows it. The sequence grows by one a record within a segment file; magic and sequence let recovery
 * find the next sound record behind a damaged one.
 */
import { crc32 } from 'node:zlib';
import { type Disk, readReadable } from './disk.js';

export const HEADER_BYTES = 24;
/** Larger lengths are damage, not messages. */
export const MAX_PAYLOAD_BYTES = 16 * 1024 * 1024;

const MAGIC = Buffer.from([0xd5, 0x4c, 0x6f, 0x67]);
const MAGIC_NUMBER = MAGIC.readUInt32LE(0);
const CHUNK_BYTES = 4 * 1024 * 1024;
const TWO_32 = 0x1_0000_0000;

export interface RecordHeader {
  readonly length: number;
  readonly partition: number;
  readonly sequence: number;
}

/** Writes the header of `payload` at `at` of `out`. */
export function writeHeader(
  out: Buffer,
  at: number,
  partition: number,
  sequence: number,
  payload: Uint8Array,
): void {
  out.writeUInt32LE(MAGIC_NUMBER, at);
  out.writeUInt32LE(payload.byteLength, at + 8);
  out.writeUInt16LE(partition, at + 12);
  out.writeUInt16LE(0, at + 14);
  out.writeUInt32LE(sequence % TWO_32, at + 16);
  out.writeUInt32LE(Math.floor(sequence / TWO_32), at + 20);
  out.writeUInt32LE(crc32(payload, crc32(out.subarray(at + 8, at + HEADER_BYTES))), at + 4);
}

/** The header at `at`, when it can be one at all; the CRC is checked by `isSound`. */
export function readHeader(data: Buffer, at: number): RecordHeader | undefined {
  if (data.readUInt32LE(at) !== MAGIC_NUMBER) return undefined;
  const length = data.readUInt32LE(at + 8);
  if (length > MAX_PAYLOAD_BYTES) return undefined;
  return {
    length,
    partition: data.readUInt16LE(at + 12),
    sequence: data.readUInt32LE(at + 16) + data.readUInt32LE(at + 20) * TWO_32,
  };
}

/** Does the CRC of the whole record at `at` of `data` hold? */
export function isSound(data: Buffer, at: number, length: number): boolean {
  return crc32(data.subarray(at + 8, at + HEADER_BYTES + length)) === data.readUInt32LE(at + 4);
}

export interface ScanResult {
  /** Offset behind the last sound record; what follows is a torn tail. */
  readonly end: number;
  /** Damaged ranges with sound records behind them, as [from, to). */
  readonly damaged: readonly (readonly [number, number])[];
  /** The disk could not read all of the file, or not at once. Where sound records were may then be in neither. */
  readonly isUnreadable: boolean;
}

/** Walks all records of a segment file, skipping damage, in chunks of bounded size. */
export async function scanRecords(
  disk: Disk,
  fd: number,
  size: number,
  visit: (header: RecordHeader, offset: number) => void,
): Promise<ScanResult> {
  const window = new Window(disk, fd, size);
  const damaged: [number, number][] = [];
  let at = 0;
  let end = 0;
  while (at < size) {
    const header = await recordAt(window, at);
    if (header !== undefined) {
      if (at > end) damaged.push([end, at]);
      visit(header, at);
      at += HEADER_BYTES + header.length;
      end = at;
    } else {
      at = await window.find(MAGIC, at + 1);
    }
  }
  return { end, damaged, isUnreadable: window.isUnreadable };
}

async function recordAt(window: Window, at: number): Promise<RecordHeader | undefined> {
  if (at + HEADER_BYTES > window.size) return undefined;
  let from = window.has(at, HEADER_BYTES) ? at - window.start : await window.load(at, HEADER_BYTES);
  const header = readHeader(window.data, from);
  if (header === undefined || at + HEADER_BYTES + header.length > window.size) return undefined;
  const bytes = HEADER_BYTES + header.length;
  if (!window.has(at, bytes)) from = await window.load(at, bytes);
  return isSound(window.data, from, header.length) ? header : undefined;
}

/** A stretch of the file in memory. */
class Window {
  start = 0;
  data: Buffer = Buffer.alloc(0);
  isUnreadable = false;

  constructor(
    private readonly disk: Disk,
    private readonly fd: number,
    readonly size: number,
  ) {}

  has(at: number, length: number): boolean {
    return at >= this.start && at + length <= this.start + this.data.length;
  }

  /** Loads from `at` on, at least `length` bytes; answers where `at` lies in `data`. */
  async load(at: number, length: number): Promise<number> {
    const wanted = Math.min(Math.max(length, CHUNK_BYTES), this.size - at);
    const data = Buffer.allocUnsafe(wanted);
    const got = await readReadable(this.disk, this.fd, data, at, () => {
      this.isUnreadable = true;
    });
    if (got < length) throw new Error('the file became shorter while it was read');
    this.start = at;
    this.data = data.subarray(0, got);
    return 0;
  }

  /** Offset in the file of the next occurrence of `pattern` at or behind `from`; `size` when there is none. */
  async find(pattern: Buffer, from: number): Promise<number> {
    let at = from;
    while (at + pattern.length <= this.size) {
      const start = this.has(at, pattern.length) ? at - this.start : await this.load(at, pattern.length);
      const found = this.data.indexOf(pattern, start);
      if (found >= 0) return this.start + found;
      at = this.start + this.data.length - pattern.length + 1;
    }
    return this.size;
  }
}
