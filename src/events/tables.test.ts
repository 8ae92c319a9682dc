import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeValues } from '../../test/integration/event-rows.js';
import type { Column } from './columns.js';
import { decodeMessage, encodeMessage, SOURCES } from './frame.js';
import { decodeRowOf } from './row-decoder.js';
import {
  copyTables,
  flagsOf,
  hasTable,
  ROW_TABLES,
  RowFlag,
  TABLE_COLUMNS,
  tableNamed,
  tableOf,
} from './tables.js';

describe('the tables of the stream', () => {
  it('begin with the same columns, so that nobody needs to know the others to tell rows apart', () => {
    const [events, ...others] = ROW_TABLES.map((table) => TABLE_COLUMNS[table].slice(0, 4));
    expect(events).toEqual([
      { name: 'event_id', type: 'id' },
      { name: 'timestamp', type: 'ms' },
      { name: 'received_at', type: 'ms' },
      { name: 'site_id', type: 'string' },
    ]);
    for (const header of others) expect(header).toEqual(events);
  });

  it('have each a code of their own in the flags, beside the others', () => {
    for (const table of ROW_TABLES) {
      const flags = flagsOf(table);
      expect(hasTable(flags)).toBe(true);
      expect(tableOf(flags)).toBe(table);
      expect(tableOf(flags | RowFlag.lookup)).toBe(table);
      expect(flags & RowFlag.lookup).toBe(0);
      expect(flags).toBeLessThan(256);
      expect(tableNamed(table)).toBe(table);
    }
    expect(tableNamed('system.users')).toBeUndefined();
  });

  it('keep the codes that messages in streams and spools have', () => {
    const codes = { events: 0, bot_events: 1, heat_points: 0x10, funnel_events: 0x20 };
    for (const table of ['events', 'bot_events', 'heat_points', 'funnel_events'] as const)
      expect(flagsOf(table)).toBe(codes[table]);
    expect(SOURCES.slice(0, 7)).toEqual([
      'event',
      'batch',
      'import',
      'replay',
      'heatmap',
      'funnel',
      'recording',
    ]);
  });

  it('hold the copies of a row: of events both, of others their own', () => {
    for (const table of ROW_TABLES) {
      expect(copyTables(table)).toContain(table);
      for (const other of copyTables(table)) expect(copyTables(other)).toEqual(copyTables(table));
    }
    expect(copyTables('bot_events')).toEqual(['events', 'bot_events']);
    expect(copyTables('heat_points')).toEqual(['heat_points']);
  });

  it('are not guessed: a message with the code of a later version is refused as a whole', () => {
    const message = (flags: number) => {
      const row = Buffer.from([6, 0, 0, 0, flags, 1, 2, 3, 4, 5]);
      const frame = {
        siteId: 'a',
        source: 'event',
        received: 1,
        rejected: 0,
        rowCount: 1,
        rows: [row],
      } as const;
      return encodeMessage([frame]);
    };
    for (let code = 0; code < 16; code++) {
      const known = hasTable(code << 4);
      const read = () => decodeMessage(message(code << 4))[0]?.rows[0]?.flags;
      if (known) expect(read()).toBe(code << 4);
      else expect(read).toThrow('unknown table');
    }
    expect(hasTable(0xf0)).toBe(false);
  });
});

function anyOf({ type }: Column): fc.Arbitrary<string | number> {
  switch (type) {
    case 'id':
      return fc
        .uint8Array({ minLength: 16, maxLength: 16 })
        .map((bytes) => Buffer.from(bytes).toString('hex'));
    case 'ms':
      return fc.integer({ min: 0, max: 4_102_444_799_999 });
    case 'u8':
      return fc.integer({ min: 0, max: 0xff });
    case 'u16':
      return fc.integer({ min: 0, max: 0xffff });
    case 'u32':
      return fc.integer({ min: 0, max: 0xffff_ffff });
    case 'i16':
      return fc.integer({ min: -0x8000, max: 0x7fff });
    case 'string':
    case 'label':
      return fc.string({ unit: 'grapheme', maxLength: 300 });
  }
}

describe.each(ROW_TABLES)('rows of %s', (table) => {
  const columns: readonly Column[] = TABLE_COLUMNS[table];
  const values = fc.tuple(...columns.map(anyOf));

  it('come back as they were written, column by column', () => {
    fc.assert(
      fc.property(values, (given) => {
        const row = decodeRowOf(table, encodeValues(columns, given));
        expect(Object.keys(row)).toEqual(columns.map(({ name }) => name));
        expect(Object.values(row)).toEqual(given);
      }),
      { seed: 4, numRuns: 50 },
    );
  });

  it('are refused when they end too early or too late', () => {
    fc.assert(
      fc.property(values, fc.nat(), (given, place) => {
        const bytes = encodeValues(columns, given);
        expect(() => decodeRowOf(table, bytes.subarray(0, place % bytes.length))).toThrow('damaged');
        expect(() => decodeRowOf(table, Buffer.concat([bytes, Buffer.from([0])]))).toThrow('damaged');
      }),
      { seed: 5, numRuns: 50 },
    );
  });
});
