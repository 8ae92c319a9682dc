import { join } from 'node:path';
import { type Disk, isUnreadable, readFully } from './disk.js';
import { HEADER_BYTES, isSound, readHeader } from './record.js';

const READ_AHEAD_BYTES = 1024 * 1024;

/** Where a record stands on its way. A hole is a sequence number without a record (damage). */
export const RecordState = { pending: 0, delivered: 1, acked: 2 } as const;

/** A record read back from disk. */
export interface ReadRecord {
  readonly sequence: number;
  readonly payload: Buffer;
}

export function segmentName(base: number): string {
  return `${base.toString(16).padStart(14, '0')}.seg`;
}

/** First sequence number of a segment file; undefined for other files. */
export function segmentBase(name: string): number | undefined {
  return /^[0-9a-f]{14}\.seg$/.test(name) ? Number.parseInt(name.slice(0, 14), 16) : undefined;
}

/** One segment file and the index of its records: 11 bytes of memory a record. Records are numbered from `base` on without gaps. */
export class Segment {
  /** Bytes of the file that hold durable records (or damage between them). */
  bytes = 0;
  /** Records, holes included. */
  count = 0;
  /** Records not yet acknowledged. */
  live = 0;
  sealed = false;
  /** The disk could not read something of it: the file is kept when it is done. */
  isDamaged = false;
  readonly path: string;
  private offsets = new Uint32Array(256);
  private lengths = new Uint32Array(256);
  private partitions = new Uint16Array(256);
  private states = new Uint8Array(256);
  private readonly readings = new Set<Promise<ReadRecord[]>>();
  private readFd: Promise<number> | undefined;

  constructor(
    private readonly disk: Disk,
    directory: string,
    readonly base: number,
  ) {
    this.path = join(directory, segmentName(base));
  }

  /** Adds a record that is durable in the file. Sequence numbers skipped since the last one become holes. */
  add(sequence: number, partition: number, offset: number, length: number): void {
    const index = sequence - this.base;
    while (this.count < index) this.put(this.count, 0, 0, 0, RecordState.acked);
    this.put(index, partition, offset, length, RecordState.pending);
    this.live++;
  }

  private put(index: number, partition: number, offset: number, length: number, state: number): void {
    if (index >= this.offsets.length) this.grow();
    this.offsets[index] = offset;
    this.lengths[index] = length;
    this.partitions[index] = partition;
    this.states[index] = state;
    this.count = index + 1;
  }

  private grow(): void {
    const size = this.offsets.length * 2;
    const { offsets, lengths, partitions, states } = this;
    this.offsets = new Uint32Array(size);
    this.offsets.set(offsets);
    this.lengths = new Uint32Array(size);
    this.lengths.set(lengths);
    this.partitions = new Uint16Array(size);
    this.partitions.set(partitions);
    this.states = new Uint8Array(size);
    this.states.set(states);
  }

  holds(sequence: number): boolean {
    return sequence >= this.base && sequence < this.base + this.count;
  }

  partitionAt(sequence: number): number {
    return this.partitions[sequence - this.base] ?? 0;
  }

  lengthAt(sequence: number): number {
    return this.lengths[sequence - this.base] ?? 0;
  }

  stateAt(sequence: number): number {
    return this.states[sequence - this.base] ?? RecordState.acked;
  }

  setDelivered(sequence: number, delivered: boolean): void {
    if (this.stateAt(sequence) !== RecordState.acked)
      this.states[sequence - this.base] = delivered ? RecordState.delivered : RecordState.pending;
  }

  /** False when it was acknowledged before. */
  ack(sequence: number): boolean {
    if (this.stateAt(sequence) === RecordState.acked) return false;
    this.states[sequence - this.base] = RecordState.acked;
    this.live--;
    return true;
  }

  /** One bit a record, set when acknowledged; undefined when none is. */
  ackedBits(): Buffer | undefined {
    if (this.live === this.count) return undefined;
    const bits = Buffer.alloc(Math.ceil(this.count / 8));
    for (let i = 0; i < this.count; i++) {
      if (this.states[i] === RecordState.acked) bits[i >> 3] = (bits[i >> 3] ?? 0) | (1 << (i & 7));
    }
    return bits;
  }

  applyAckedBits(bits: Buffer): void {
    const known = Math.min(this.count, bits.length * 8);
    for (let i = 0; i < known; i++) {
      if (((bits[i >> 3] ?? 0) >> (i & 7)) & 1) this.ack(this.base + i);
    }
  }

  /**
   * Reads the record back, and with it those that follow within the read-ahead. The asked one is missing when it is damaged on disk.
   * Payloads are views into one chunk.
   */
  async read(sequence: number): Promise<ReadRecord[]> {
    const reading = this.readChunk(sequence);
    this.readings.add(reading);
    try {
      return await reading;
    } finally {
      this.readings.delete(reading);
    }
  }

  private async readChunk(sequence: number): Promise<ReadRecord[]> {
    const start = this.offsets[sequence - this.base] ?? 0;
    const need = HEADER_BYTES + (this.lengths[sequence - this.base] ?? 0);
    const most = Math.max(need, Math.min(READ_AHEAD_BYTES, this.bytes - start));
    const chunk = await this.readFrom(start, most).catch((error: unknown) => {
      if (!isUnreadable(error)) throw error;
      // What cannot be read may lie behind the record.
      return this.readFrom(start, need);
    });
    const records: ReadRecord[] = [];
    for (let next = sequence; this.holds(next); next++) {
      const length = this.lengths[next - this.base] ?? 0;
      const at = (this.offsets[next - this.base] ?? 0) - start;
      if (at < 0) continue; // a hole
      if (at + HEADER_BYTES + length > chunk.length) break;
      const header = readHeader(chunk, at);
      if (header?.length !== length || header.sequence !== next || !isSound(chunk, at, length)) continue;
      const payload = chunk.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length);
      records.push({ sequence: next, payload });
    }
    return records;
  }

  private async readFrom(start: number, bytes: number): Promise<Buffer> {
    const chunk = Buffer.allocUnsafe(bytes);
    return chunk.subarray(0, await readFully(this.disk, await this.descriptor(), chunk, start));
  }

  private async descriptor(): Promise<number> {
    this.readFd ??= this.disk.open(this.path, 'r');
    try {
      return await this.readFd;
    } catch (error) {
      this.readFd = undefined;
      throw error;
    }
  }

  /** Closes the file once the reads under way have ended. */
  async close(): Promise<void> {
    await Promise.allSettled(this.readings);
    const opened = this.readFd;
    this.readFd = undefined;
    if (opened !== undefined) await this.disk.close(await opened);
  }
}
