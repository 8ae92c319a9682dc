import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../enrich/byte-writer.js';
import { decodeMessage, encodeMessage } from '../events/frame.js';
import { OBJECT_COLUMNS, RECORDING_COLUMNS } from './recording-columns.js';
import {
  chunkIdOf,
  correctedStart,
  PART_BYTES,
  RECORDING_FLAGS,
  type RecordedChunk,
  readPart,
  sessionKeyOf,
  writeParts,
} from './recording-row.js';

const SITE_ID = 'a'.repeat(24);
const text = (maxLength: number) => fc.string({ unit: 'grapheme', maxLength });
const u32 = fc.nat({ max: 2 ** 32 - 1 });
const clock = fc.integer({ min: -(2 ** 52), max: 2 ** 52 });
const chunks: fc.Arbitrary<RecordedChunk> = fc.record({
  siteId: fc.constant(SITE_ID),
  sessionId: text(80),
  receivedAt: fc.integer({ min: 0, max: 2 ** 42 }),
  sequence: fc.nat({ max: 2 ** 31 - 1 }),
  page: text(200),
  firstMs: clock,
  lastMs: clock,
  ...{ count: u32, rawBytes: u32, clicks: u32, rageClicks: u32, errors: u32 },
  ...{ browser: text(20), os: text(20), device: text(20), countryCode: text(2) },
  hasFullSnapshot: fc.boolean(),
});

const rowsOf = (chunk: RecordedChunk, data: Uint8Array) => {
  const out = new ByteWriter(64);
  const id = chunkIdOf(chunk.siteId, chunk.sessionId, chunk.sequence, data);
  const rowCount = writeParts(out, chunk, id, data, RECORDING_FLAGS);
  const books = { siteId: SITE_ID, source: 'recording', received: rowCount, rejected: 0 } as const;
  const message = encodeMessage([{ ...books, rowCount, rows: [new Uint8Array(out.take())] }]);
  return decodeMessage(message).flatMap(({ rows }) => rows.map(({ bytes }) => bytes));
};

describe('rows of a recording', () => {
  it('are read back as they were written, the data in parts', () => {
    const sizes = fc.oneof(
      fc.nat({ max: 300 }),
      fc.constantFrom(PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 5),
    );
    fc.assert(
      fc.property(chunks, sizes, (chunk, size) => {
        const data = Buffer.alloc(size, 7);
        const rows = rowsOf(chunk, data).map(readPart);
        const { count, ...facts } = chunk;
        const sessionKey = sessionKeyOf(SITE_ID, chunk.sessionId);
        const timestamp = correctedStart(chunk);
        for (const [part, row] of rows.entries())
          expect(row).toMatchObject({
            ...facts,
            eventCount: count,
            sessionKey,
            timestamp,
            part,
            parts: rows.length,
          });
        expect(Buffer.concat(rows.map((row) => row.data)).equals(data)).toBe(true);
        expect(new Set(rows.map((row) => row.eventId)).size).toBe(rows.length);
        expect(timestamp).toBeGreaterThanOrEqual(0);
        expect(timestamp).toBeLessThanOrEqual(chunk.receivedAt);
      }),
      { seed: 4, numRuns: 200 },
    );
  });

  it('that are cut or longer are found out, whatever they are', () => {
    const chunk = fc.sample(chunks, { seed: 4, numRuns: 1 })[0];
    if (chunk === undefined) throw new Error('no chunk');
    const [row = new Uint8Array()] = rowsOf(chunk, Buffer.from('data'));
    for (let length = 0; length < row.length; length++)
      expect(() => readPart(row.subarray(0, length))).toThrow();
    expect(() => readPart(Buffer.concat([row, Buffer.from('x')]))).toThrow();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        try {
          readPart(bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: 'internal' });
        }
      }),
      { seed: 4 },
    );
  });

  it.each(['clickhouse', 'postgres/events'])(
    'have the columns of the index in %s, in their order',
    (where) => {
      const sql = readFileSync(
        new URL(`../../migrations/${where}/0004_replays.sql`, import.meta.url),
        'utf8',
      );
      const table = /CREATE TABLE[^;]*?replay_chunks[^(]*\(([\s\S]*?)\n\)/.exec(sql)?.[1] ?? '';
      const names = table.split('\n').flatMap((line) => /^\s+([a-z_]+)\s/.exec(line)?.[1] ?? []);
      const wanted = [...RECORDING_COLUMNS, ...OBJECT_COLUMNS].map(({ name }) => name);
      // Rows of Postgres are updated in place.
      expect(names).toEqual(where === 'clickhouse' ? wanted : wanted.slice(0, -1));
    },
  );
});
