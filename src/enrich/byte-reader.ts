import { AppError } from '../errors.js';

/** Reads what a ByteWriter wrote. */
export class ByteReader {
  readonly buffer: Buffer;
  at: number;

  constructor(bytes: ArrayBuffer, start = 0) {
    this.buffer = Buffer.from(bytes);
    this.at = start;
  }

  u8(): number {
    return this.buffer.readUInt8(this.skip(1));
  }

  u16(): number {
    return this.buffer.readUInt16LE(this.skip(2));
  }

  u32(): number {
    return this.buffer.readUInt32LE(this.skip(4));
  }

  i64(): number {
    const at = this.skip(8);
    return this.buffer.readInt32LE(at + 4) * 0x1_0000_0000 + this.buffer.readUInt32LE(at);
  }

  string(): string {
    let length = 0;
    let shift = 0;
    let byte = 0x80;
    while (byte >= 0x80) {
      byte = this.u8();
      length |= (byte & 0x7f) << shift;
      shift += 7;
    }
    const start = this.skip(length);
    return this.buffer.toString('utf8', start, start + length);
  }

  /** Moves on by `length` bytes and answers where they start. */
  skip(length: number): number {
    const start = this.at;
    this.at = start + length;
    if (length < 0 || this.at > this.buffer.length)
      throw new AppError('internal', 'enrichment message is damaged');
    return start;
  }
}
