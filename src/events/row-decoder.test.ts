import { describe, expect, it } from 'vitest';
import { EVENT_COLUMNS } from './columns.js';
import { decodeRow } from './row-decoder.js';

/** Encodes column by column from the table, so that the decoder's own order is checked against it. */
function encode(values: readonly (string | number)[]): Buffer {
  const parts = EVENT_COLUMNS.map((column, index) => {
    const value = values[index] ?? '';
    const number = Number(value);
    switch (column.type) {
      case 'id':
        return Buffer.from(String(value), 'hex');
      case 'ms': {
        const out = Buffer.alloc(8);
        out.writeBigInt64LE(BigInt(number));
        return out;
      }
      case 'u8':
        return Buffer.from([number]);
      case 'u16':
        return Buffer.from([number & 255, number >> 8]);
      case 'u32': {
        const out = Buffer.alloc(4);
        out.writeUInt32LE(number);
        return out;
      }
      default: {
        const text = Buffer.from(String(value));
        const length = text.length < 128 ? [text.length] : [(text.length & 127) | 128, text.length >> 7];
        return Buffer.concat([Buffer.from(length), text]);
      }
    }
  });
  return Buffer.concat(parts);
}

const values = EVENT_COLUMNS.map((column, index) => {
  if (column.type === 'id') return '000102030405060708090a0b0c0d0eff';
  if (column.type === 'string') return `${column.name} ü€😀 ${'x'.repeat(index * 20)}`;
  if (column.type === 'label') return column.name;
  if (column.type === 'ms') return 1_700_000_000_000 + index;
  return index + 1;
});

describe('decodeRow', () => {
  it('reads every column in the order of the column table', () => {
    const row = decodeRow(encode(values));
    expect(Object.keys(row)).toEqual(EVENT_COLUMNS.map((column) => column.name));
    expect(Object.values(row)).toEqual(values);
  });

  it('refuses rows that end too early or too late', () => {
    const bytes = encode(values);
    // Rows of an earlier version end before the last column.
    const withoutLast = bytes.length - Buffer.byteLength(String(values.at(-1))) - 2;
    for (let cut = 0; cut < bytes.length; cut += 7)
      if (cut !== withoutLast) expect(() => decodeRow(bytes.subarray(0, cut))).toThrow('damaged');
    expect(decodeRow(bytes.subarray(0, withoutLast))).toEqual({ ...decodeRow(bytes), ip_address: '' });
    expect(() => decodeRow(Buffer.concat([bytes, Buffer.from([0])]))).toThrow('damaged');
  });
});
