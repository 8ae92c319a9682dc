/** Reads the rows of files of events, with the bytes at which each ends, so that reading can go on behind any of them. */

import { Readable } from 'node:stream';
import { type CsvError, type Info, parse } from 'csv-parse';
import { restored } from './file-format.js';

/** Bytes of a row. */
const MAX_ROW_BYTES = 256 * 1024;
const NEWLINE = 0x0a;

/** A row, or why there is none. */
export interface FileRow {
  readonly values: Readonly<Record<string, unknown>> | null;
  readonly error: string;
  /** Where the next row begins, in bytes from where reading began. */
  readonly end: number;
}

/** Columns of a CSV file, from its beginning. */
export function headerOf(head: Uint8Array): string[] {
  const text = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, 16_384)).toString('utf8');
  const [line = ''] = text.replace(/^\ufeff/, '').split(/\r?\n/, 1);
  return line.split(',').map((name) => name.trim().replace(/^"(.*)"$/, '$1'));
}

/**
 * Rows of CSV (RFC 4180) without a header. A row that cannot be read costs those behind it up to the end of its quotes.
 * @param columns names of the columns
 */
export async function* csvRows(
  bytes: AsyncIterable<Uint8Array>,
  columns: readonly string[],
): AsyncGenerator<FileRow, void, void> {
  const bad: FileRow[] = [];
  const parser = parse({
    info: true,
    bom: true,
    record_delimiter: ['\r\n', '\n'],
    relax_column_count: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    max_record_size: MAX_ROW_BYTES,
    on_skip: (error) => void bad.push(badRow(error)),
  });
  const source = Readable.from(bytes, { objectMode: false });
  source.on('error', (error) => parser.destroy(error));
  source.pipe(parser);
  try {
    for await (const item of parser) {
      if (!isRecord(item)) continue;
      const end = item.info.bytes;
      while ((bad[0]?.end ?? Number.POSITIVE_INFINITY) < end) yield* bad.splice(0, 1);
      yield rowOf(item.record, columns, end);
    }
    yield* bad;
  } finally {
    source.destroy();
  }
}

function rowOf(fields: readonly string[], columns: readonly string[], end: number): FileRow {
  if (fields.length !== columns.length) {
    return { values: null, error: `has ${fields.length} fields, not ${columns.length}`, end };
  }
  const values = Object.fromEntries(columns.map((name, index) => [name, restored(fields[index] ?? '')]));
  return { values, error: '', end };
}

function badRow(error: CsvError | undefined): FileRow {
  const bytes: unknown = error?.bytes;
  const reason = error?.code === 'CSV_MAX_RECORD_SIZE' ? 'is too long' : 'is not valid CSV';
  return { values: null, error: reason, end: typeof bytes === 'number' ? bytes : 0 };
}

interface CsvItem {
  readonly record: readonly string[];
  readonly info: Pick<Info, 'bytes'>;
}

/** What the parser answers with `info`. */
function isRecord(item: unknown): item is CsvItem {
  return typeof item === 'object' && item !== null && 'record' in item && Array.isArray(item.record);
}

/** Rows of newline-delimited JSON. Empty lines are no rows. */
export async function* ndjsonRows(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<FileRow, void, void> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  let at = 0;
  for await (const chunk of bytes) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      const length = heldBytes + end - start;
      at += length + 1;
      if (length > MAX_ROW_BYTES) yield { values: null, error: 'is too long', end: at };
      else yield* jsonRow([...held, chunk.subarray(start, end)], at);
      held = [];
      heldBytes = 0;
      start = end + 1;
    }
    heldBytes += chunk.length - start;
    // Of a line that is too long nothing is kept but its length.
    if (heldBytes <= MAX_ROW_BYTES) held.push(chunk.subarray(start));
    else held = [];
  }
  if (heldBytes > MAX_ROW_BYTES) yield { values: null, error: 'is too long', end: at + heldBytes };
  else yield* jsonRow(held, at + heldBytes);
}

function* jsonRow(parts: readonly Uint8Array[], end: number): Generator<FileRow, void, void> {
  const line = Buffer.concat(parts)
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .trim();
  if (line === '') return;
  const values = objectOf(line);
  yield values === null ? { values, error: 'is not a JSON object', end } : { values, error: '', end };
}

/** The object that a JSON text is; null for everything else. */
export function objectOf(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
