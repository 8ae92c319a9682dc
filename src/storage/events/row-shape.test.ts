import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeRow, makeRow } from '../../../test/integration/event-rows.js';
import { decodeRow } from '../../events/row-decoder.js';
import { checkRows, isRow } from './row-shape.js';

const row = fc
  .record({
    page: fc.string({ unit: 'binary', maxLength: 300 }),
    title: fc.string({ maxLength: 200 }),
    properties: fc.string({ maxLength: 40_000, minLength: 16_000, size: 'max' }),
    visitor_id: fc.string({ maxLength: 130, minLength: 126 }),
    time_on_page: fc.nat(),
  })
  .map((changes) => encodeRow(makeRow(changes)));

describe('isRow', () => {
  it('knows a row, and agrees with the decoder on what is none', () => {
    fc.assert(
      fc.property(row, fc.nat(), fc.nat(255), (bytes, place, value) => {
        expect(isRow('events', bytes)).toBe(true);
        const changed = Uint8Array.from(bytes);
        changed[place % changed.length] = value;
        expect(isRow('events', changed)).toBe(decodes(changed));
        expect(isRow('events', bytes.subarray(0, place % bytes.length))).toBe(false);
        expect(isRow('events', Buffer.concat([bytes, Uint8Array.of(0)]))).toBe(false);
      }),
      { seed: 1, numRuns: 200 },
    );
  });

  it('names the rows that are none', async () => {
    const good = encodeRow(makeRow());
    const bad = good.subarray(1);
    await expect(checkRows('events', [good, bad, good, good, bad])).rejects.toMatchObject({
      badRows: [1, 4],
    });
    await expect(checkRows('events', new Array(30_000).fill(good))).resolves.toBeUndefined();
  });
});

function decodes(bytes: Uint8Array): boolean {
  try {
    decodeRow(bytes);
    return true;
  } catch {
    return false;
  }
}
