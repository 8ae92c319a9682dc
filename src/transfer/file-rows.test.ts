import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EVENT_COLUMNS } from '../events/columns.js';
import { decodeRow } from '../events/row-decoder.js';
import { checkRow, RowRefused } from './event-check.js';
import { CSV_HEADER, csvLine, ndjsonLine } from './file-format.js';
import { csvRows, type FileRow, headerOf, ndjsonRows } from './file-rows.js';
import type { RawEvent } from './raw-event.js';

const SITE = '65f1a2b3c4d5e6f708192a3b';
const TARGET = {
  siteId: SITE,
  receivedAt: 1_790_000_000_000,
  latest: 4_000_000_000_000,
  keepAddresses: true,
};

/** Everything that a file could trip over. */
const nasty = fc.constantFrom(
  '"',
  "'",
  ',',
  '\r',
  '\n',
  '\r\n',
  '=',
  '+',
  '-',
  '@',
  '\t',
  ' ',
  '\u2028',
  '\ufeff',
  '＝',
  'é',
  '🦊',
);
const texts = fc
  .array(fc.oneof(nasty, fc.string({ unit: 'grapheme', maxLength: 5 })), { maxLength: 12 })
  .map((parts) => parts.join(''));

async function* inPieces(text: string, size: number): AsyncGenerator<Uint8Array, void, void> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all(rows: AsyncIterable<FileRow>): Promise<FileRow[]> {
  const list: FileRow[] = [];
  for await (const row of rows) list.push(row);
  return list;
}

/** An event with any text in any text column. */
const events: fc.Arbitrary<RawEvent> = fc
  .record({
    id: fc.uint8Array({ minLength: 15, maxLength: 15 }),
    timestamp: fc.integer({ min: Date.UTC(2000, 0, 1), max: Date.UTC(2040, 0, 1) }),
    texts: fc.array(texts, { minLength: EVENT_COLUMNS.length, maxLength: EVENT_COLUMNS.length }),
    number: fc.integer({ min: 0, max: 100 }),
    properties: fc.dictionary(texts, fc.oneof(texts, fc.integer(), fc.constant(null)), { maxKeys: 4 }),
    bot: fc.boolean(),
  })
  .map(({ id, timestamp, texts, number, properties, bot }) => {
    const values = EVENT_COLUMNS.map(({ name, type }, index) => {
      if (name === 'event_id') return `01${Buffer.from(id).toString('hex')}`;
      if (name === 'timestamp') return timestamp;
      if (name === 'received_at') return TARGET.receivedAt;
      if (name === 'site_id') return SITE;
      if (name === 'kind') return (number % 3) + 1;
      if (name === 'event_type') return `e${texts[index] ?? ''}`;
      if (name === 'visitor_id' || name === 'session_id') return `v${texts[index] ?? ''}`;
      if (name === 'country_code') return 'DE';
      if (name === 'properties') return JSON.stringify(properties);
      return type === 'string' || type === 'label' ? (texts[index] ?? '') : number;
    });
    return { values, bot };
  })
  .map(({ values, bot }) => {
    // The decoder makes a row of what the encoder's own test has proved.
    const row = Object.fromEntries(EVENT_COLUMNS.map(({ name }, index) => [name, values[index]]));
    if (!isRow(row)) throw new Error('not a row');
    return { ...row, bot };
  });

const isRow = (row: object): row is Omit<RawEvent, 'bot'> => Object.keys(row).length === EVENT_COLUMNS.length;

const rowsOf = (format: 'csv' | 'ndjson', text: string, size: number): AsyncIterable<FileRow> =>
  format === 'csv'
    ? csvRows(inPieces(text, size), headerOf(Buffer.from(CSV_HEADER)))
    : ndjsonRows(inPieces(text, size));

describe.each(['csv', 'ndjson'] as const)('a file of events as %s', (format) => {
  const line = format === 'csv' ? csvLine : ndjsonLine;

  it('says what was written into it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(events, { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 1, max: 300 }),
        async (list, size) => {
          const rows = await all(rowsOf(format, list.map(line).join(''), size));
          expect(rows.map(({ error }) => error)).toEqual(list.map(() => ''));
          const back = rows.map(({ values }) => {
            const { record } = checkRow(values ?? {}, TARGET);
            return { ...decodeRow(record.subarray(5)), bot: ((record[4] ?? 0) & 1) === 1 };
          });
          expect(back).toEqual(list);
        },
      ),
      { seed: 9, numRuns: 120 },
    );
  });

  it('can be read on from the end of any row', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(events, { minLength: 2, maxLength: 6 }), fc.nat(), async (list, place) => {
        const text = Buffer.from(list.map(line).join(''));
        const rows = await all(rowsOf(format, text.toString(), 64));
        const at = place % rows.length;
        const rest = await all(rowsOf(format, text.subarray(rows[at]?.end).toString(), 64));
        expect(rest.map(({ values }) => values)).toEqual(rows.slice(at + 1).map(({ values }) => values));
        expect(rows.at(-1)?.end).toBe(text.length);
      }),
      { seed: 10, numRuns: 60 },
    );
  });
});

describe('rows that are none', () => {
  it('cost no others in NDJSON, whatever stands in them', async () => {
    const long = `"${'x'.repeat(300_000)}"`;
    const rows = await all(ndjsonRows(inPieces(`{"a":1}\n[1]\n{"a":\n\n${long}\n"x"\n{"a":2}`, 1_000)));
    expect(rows.map(({ values, error }) => values ?? error)).toEqual([
      { a: 1 },
      'is not a JSON object',
      'is not a JSON object',
      'is too long',
      'is not a JSON object',
      { a: 2 },
    ]);
  });

  it('are told apart in CSV', async () => {
    const rows = await all(csvRows(inPieces('1,2\r\n1\r\n1,a"b\r\n3,4\n', 3), ['a', 'b']));
    expect(rows.map(({ values, error }) => values ?? error)).toEqual([
      { a: '1', b: '2' },
      'has 1 fields, not 2',
      'is not valid CSV',
      { a: '3', b: '4' },
    ]);
  });

  it.each([
    [{ event_id: 'x' }, 'event_id'],
    [{ event_id: '00000000-0000-0000-0000-000000000000' }, 'event_id'],
    [{ timestamp: '1999-12-31T23:59:59Z' }, 'timestamp'],
    [{ timestamp: '2999-12-31T23:59:59Z' }, 'timestamp'],
    [{ timestamp: 'yesterday' }, 'timestamp'],
    [{ event_type: '' }, 'event_type'],
    [{ visitor_id: '' }, 'visitor_id'],
    [{ session_id: '' }, 'session_id'],
    [{ session_id: undefined }, 'session_id'],
    [{ title: 'a\0b' }, 'NUL'],
    [{ title: 'x'.repeat(5_000) }, 'title'],
    [{ title: 5 }, 'title'],
    [{ country_code: 'de' }, 'country_code'],
    [{ screen_width: '70000' }, 'screen_width'],
    [{ screen_width: -1 }, 'screen_width'],
    [{ scroll_depth: '101' }, 'scroll_depth'],
    [{ properties: '[]' }, 'properties'],
    [{ properties: '{' }, 'properties'],
    [{ properties: { a: 'x'.repeat(40_000) } }, 'properties'],
    [{ bot: 'maybe' }, 'bot'],
  ])('wrong row %# is refused', (wrong, word) => {
    const right = {
      event_id: '01234567-0123-0123-0123-0123456789ab',
      timestamp: '2026-01-31T12:00:00.000Z',
      event_type: 'pageview',
      visitor_id: 'v',
      session_id: 's',
    };
    expect(checkRow(right, TARGET).id).toBe('01234567012301230123' + '0123456789ab');
    expect(() => checkRow({ ...right, ...wrong }, TARGET)).toThrow(RowRefused);
    expect(() => checkRow({ ...right, ...wrong }, TARGET)).toThrow(word);
  });

  it('keep no addresses where a site does not', () => {
    const row = {
      event_id: '01234567-0123-0123-0123-0123456789ab',
      timestamp: '2026-01-31T12:00:00.000Z',
      event_type: 'pageview',
      visitor_id: 'v',
      session_id: 's',
      ip_address: '192.0.2.1',
    };
    const text = (keepAddresses: boolean) =>
      Buffer.from(checkRow(row, { ...TARGET, keepAddresses }).record).toString('latin1');
    expect(text(false)).not.toContain('192.0.2.1');
    expect(text(true)).toContain('192.0.2.1');
  });
});
