import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader } from './byte-reader.js';
import { ByteWriter } from './byte-writer.js';

describe('ByteWriter', () => {
  it('writes what ByteReader reads, at every length and growth', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.string({ unit: 'grapheme', minLength: 30, maxLength: 20_000, size: 'max' }),
      fc.nat(20_000).map((length) => 'a'.repeat(length)),
      fc.nat(9000).map((length) => 'ü'.repeat(length)),
    );
    const step = fc.record({
      text,
      u8: fc.integer({ min: 0, max: 255 }),
      u16: fc.integer({ min: 0, max: 0xffff }),
      u32: fc.integer({ min: 0, max: 0xffff_ffff }),
      i64: fc.maxSafeInteger(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 6 }), fc.nat(64), (steps, capacity) => {
        const writer = new ByteWriter(capacity);
        for (const { text, u8, u16, u32, i64 } of steps) {
          writer.string(text);
          writer.u8(u8);
          writer.u16(u16);
          writer.u32(u32);
          writer.i64(i64);
        }
        const reader = new ByteReader(writer.take());
        for (const { text, u8, u16, u32, i64 } of steps) {
          expect(reader.string()).toBe(Buffer.from(text).toString());
          expect([reader.u8(), reader.u16(), reader.u32(), reader.i64()]).toEqual([u8, u16, u32, i64]);
        }
        expect(reader.at).toBe(reader.buffer.length);
      }),
      { seed: 23, numRuns: 300 },
    );
  });

  it('is empty after its buffer was given away', () => {
    const writer = new ByteWriter(4);
    writer.string('abc');
    expect(writer.transfer().byteLength).toBeGreaterThanOrEqual(4);
    writer.u8(7);
    expect([...new Uint8Array(writer.take())]).toEqual([7]);
  });
});
