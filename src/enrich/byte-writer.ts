/**
 * Writes RowBinary values straight into a growing buffer: little-endian numbers, strings as LEB128 length plus UTF-8. Short ASCII
 * strings, which are nearly all of an event, take a loop without a native call.
 */
export class ByteWriter {
  /** The bytes; replaced by a larger buffer when it grows, so do not hold on to it. */
  buffer: Buffer<ArrayBuffer>;
  /** Where the next byte goes. */
  at = 0;

  /** @param capacity initial size, bytes */
  constructor(capacity: number) {
    this.buffer = unzeroed(capacity);
  }

  /** Makes room for `bytes` more bytes. */
  ensure(bytes: number): void {
    const needed = this.at + bytes;
    if (needed <= this.buffer.length) return;
    const grown = unzeroed(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(grown, 0, 0, this.at);
    this.buffer = grown;
  }

  u8(value: number): void {
    this.ensure(1);
    this.buffer[this.at++] = value;
  }

  u16(value: number): void {
    this.ensure(2);
    this.buffer[this.at++] = value;
    this.buffer[this.at++] = value >>> 8;
  }

  u32(value: number): void {
    this.ensure(4);
    this.setU32(this.at, value);
    this.at += 4;
  }

  /** A whole number within ±2^53 as Int64. */
  i64(value: number): void {
    this.ensure(8);
    this.setU32(this.at, value >>> 0);
    this.setU32(this.at + 4, Math.floor(value / 0x1_0000_0000) >>> 0);
    this.at += 8;
  }

  /** Overwrites four bytes written before. */
  setU32(at: number, value: number): void {
    this.buffer[at] = value;
    this.buffer[at + 1] = value >>> 8;
    this.buffer[at + 2] = value >>> 16;
    this.buffer[at + 3] = value >>> 24;
  }

  bytes(bytes: Uint8Array): void {
    const { length } = bytes;
    this.ensure(length);
    this.buffer.set(bytes, this.at);
    this.at += length;
  }

  /** Length and UTF-8; a lone surrogate becomes U+FFFD. */
  string(text: string): void {
    const { length } = text;
    if (length <= SHORT && this.at + length < this.buffer.length && this.shortAscii(text, length)) return;
    this.ensure(length * 3 + 5);
    this.longString(text, length);
  }

  /** Everything written so far, as a buffer of its own that can be transferred. */
  take(): ArrayBuffer {
    const copy = unzeroed(this.at);
    this.buffer.copy(copy, 0, 0, this.at);
    this.at = 0;
    return copy.buffer;
  }

  /** The whole buffer, without a copy: what was written and room of any content behind it. The writer is empty afterwards. */
  transfer(): ArrayBuffer {
    const whole = this.buffer.buffer;
    this.buffer = unzeroed(0);
    this.at = 0;
    return whole;
  }

  private shortAscii(text: string, length: number): boolean {
    const { buffer } = this;
    let at = this.at + 1;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) return false;
      buffer[at++] = code;
    }
    buffer[this.at] = length;
    this.at = at;
    return true;
  }

  private longString(text: string, length: number): void {
    // The number of bytes is at least the number of UTF-16 units, so the guessed length field can only be too short.
    const start = this.at;
    const guess = lebSize(length);
    const size = this.buffer.write(text, start + guess, 'utf8');
    const field = lebSize(size);
    if (field !== guess) this.buffer.copyWithin(start + field, start + guess, start + guess + size);
    let rest = size;
    for (let i = 0; i < field - 1; i++) {
      this.buffer[start + i] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.buffer[start + field - 1] = rest;
    this.at = start + field + size;
  }
}

/** Memory of its own, in no pool, so that it can be transferred; not zeroed, since all that is read of it was written. */
const unzeroed = (bytes: number) => Buffer.allocUnsafeSlow(bytes);

/** Up to here the loop beats the native call. */
const SHORT = 48;

function lebSize(value: number): number {
  let size = 1;
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) size++;
  return size;
}

const scratch = new ByteWriter(1024);

/** Encodes strings once, for blocks of columns that many rows share. */
export function encodeStrings(texts: readonly string[]): Uint8Array {
  scratch.at = 0;
  for (const text of texts) scratch.string(text);
  return Uint8Array.prototype.slice.call(scratch.buffer, 0, scratch.at);
}
