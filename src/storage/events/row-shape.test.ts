import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeRow, encodeRowOf, makeHeatPoint, makeRow } from '../../../test/integration/event-rows.js';
import { decodeRow } from '../../events/row-decoder.js';
import { completeRows, isRow } from './row-shape.js';

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
        // The decoder takes what an earlier version made, too; a whole row is none with a byte more.
        expect(isRow('events', changed)).toBe(decodes(changed) && !decodes(longer(changed)));
        expect(isRow('events', bytes.subarray(0, place % bytes.length))).toBe(false);
        expect(isRow('events', longer(bytes))).toBe(false);
      }),
      { seed: 1, numRuns: 200 },
    );
  });

  it('names the rows that are none', async () => {
    const good = encodeRow(makeRow());
    const bad = good.subarray(1);
    await expect(completeRows('events', [good, bad, good, good, bad])).rejects.toMatchObject({
      badRows: [1, 4],
    });
    const many = new Array(30_000).fill(good);
    expect(await completeRows('events', many)).toBe(many);
  });

  it('completes rows of before addresses were a column, of events alone', async () => {
    const good = encodeRow(makeRow());
    const old = good.subarray(0, -1);
    expect(decodeRow(old)).toEqual(decodeRow(good));
    expect(await completeRows('bot_events', [good, old])).toEqual([good, good]);
    const point = encodeRowOf('heat_points', makeHeatPoint()).subarray(0, -1);
    await expect(completeRows('heat_points', [point])).rejects.toMatchObject({ badRows: [0] });
    await expect(completeRows('events', [old.subarray(0, -1)])).rejects.toMatchObject({ badRows: [0] });
  });
});

const longer = (bytes: Uint8Array): Uint8Array => Buffer.concat([bytes, Uint8Array.of(0)]);

function decodes(bytes: Uint8Array): boolean {
  try {
    decodeRow(bytes);
    return true;
  } catch {
    return false;
  }
}
