/** Reads row bytes (columns.ts, tables.ts) back into objects: for the Postgres event store, automations and tests. */
import { AppError } from '../errors.js';
import type { Column, ColumnType } from './columns.js';
import type { RowTable, TABLE_COLUMNS } from './tables.js';

/** `id` → 32 lower-case hex characters, `ms` → number (ms since epoch), texts → string, integers → number. */
type ColumnValue<T extends ColumnType> = T extends 'id' | 'string' | 'label' ? string : number;

type RowOf<Columns extends readonly Column[]> = {
  readonly [C in Columns[number] as C['name']]: ColumnValue<C['type']>;
};

/** A stored row of each table, one property a column, in column order. */
export type TableRows = { readonly [T in RowTable]: RowOf<(typeof TABLE_COLUMNS)[T]> };

export type EventRow = TableRows['events'];
export type HeatPointRow = TableRows['heat_points'];
export type FunnelEventRow = TableRows['funnel_events'];

/**
 * Decodes one row of a table (without the frame's length and flags).
 * @throws AppError `internal` when the bytes end too early or go on after the last column
 */
export function decodeRowOf<T extends RowTable>(table: T, bytes: Uint8Array): TableRows[T] {
  const reader = new RowReader(bytes);
  const row = DECODERS[table](reader);
  reader.end();
  return row;
}

/** Decodes one event; see {@link decodeRowOf}. */
export function decodeRow(bytes: Uint8Array): EventRow {
  return decodeRowOf('events', bytes);
}

/** The order of the lines is the order of TABLE_COLUMNS; a test compares the two. */
const DECODERS: { readonly [T in RowTable]: (reader: RowReader) => TableRows[T] } = {
  events: readEvent,
  bot_events: readEvent,
  heat_points: (reader) => ({
    event_id: reader.id(),
    timestamp: reader.ms(),
    received_at: reader.ms(),
    site_id: reader.text(),
    page: reader.text(),
    point_type: reader.text(),
    device: reader.text(),
    x: reader.i16(),
    y: reader.i16(),
    selector: reader.text(),
    count: reader.u32(),
  }),
  funnel_events: (reader) => ({
    event_id: reader.id(),
    timestamp: reader.ms(),
    received_at: reader.ms(),
    site_id: reader.text(),
    funnel_id: reader.text(),
    visitor_id: reader.text(),
    session_id: reader.text(),
    event_type: reader.text(),
    step_name: reader.text(),
    current_step: reader.u16(),
    completed_steps: reader.text(),
    started_at: reader.ms(),
    converted: reader.u8(),
  }),
};

function readEvent(reader: RowReader): EventRow {
  return {
    event_id: reader.id(),
    timestamp: reader.ms(),
    received_at: reader.ms(),
    site_id: reader.text(),
    kind: reader.u8(),
    event_type: reader.text(),
    visitor_id: reader.text(),
    session_id: reader.text(),
    page_view_id: reader.text(),
    page: reader.text(),
    hostname: reader.text(),
    title: reader.text(),
    referrer: reader.text(),
    referrer_host: reader.text(),
    channel: reader.text(),
    utm_source: reader.text(),
    utm_medium: reader.text(),
    utm_campaign: reader.text(),
    utm_term: reader.text(),
    utm_content: reader.text(),
    click_id_name: reader.text(),
    click_id: reader.text(),
    country_code: reader.text(),
    region: reader.text(),
    city: reader.text(),
    continent: reader.text(),
    browser: reader.text(),
    browser_version: reader.text(),
    os: reader.text(),
    os_version: reader.text(),
    device: reader.text(),
    screen_width: reader.u16(),
    screen_height: reader.u16(),
    viewport_width: reader.u16(),
    viewport_height: reader.u16(),
    language: reader.text(),
    time_on_page: reader.u32(),
    scroll_depth: reader.u8(),
    properties: reader.text(),
    ip_address: reader.lastText(),
  };
}

class RowReader {
  private readonly buffer: Buffer;
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  id(): string {
    const start = this.take(16);
    return this.buffer.toString('hex', start, start + 16);
  }

  ms(): number {
    return Number(this.buffer.readBigInt64LE(this.take(8)));
  }

  u8(): number {
    return this.buffer.readUInt8(this.take(1));
  }

  u16(): number {
    return this.buffer.readUInt16LE(this.take(2));
  }

  i16(): number {
    return this.buffer.readInt16LE(this.take(2));
  }

  u32(): number {
    return this.buffer.readUInt32LE(this.take(4));
  }

  /** LEB128 length, then UTF-8. */
  text(): string {
    let length = 0;
    let shift = 0;
    let byte = 0x80;
    while (byte >= 0x80) {
      if (shift > 28) throw damaged('string length is not LEB128');
      byte = this.u8();
      length += (byte & 0x7f) * 2 ** shift;
      shift += 7;
    }
    const start = this.take(length);
    return this.buffer.toString('utf8', start, start + length);
  }

  /** Of a column that rows have not had from the beginning: '' where they end before it. */
  lastText(): string {
    return this.at === this.buffer.length ? '' : this.text();
  }

  end(): void {
    if (this.at !== this.buffer.length) throw damaged('bytes after the last column');
  }

  private take(length: number): number {
    const start = this.at;
    if (start + length > this.buffer.length) throw damaged('row ends too early');
    this.at = start + length;
    return start;
  }
}

function damaged(reason: string): AppError {
  return new AppError('internal', `event row is damaged: ${reason}`);
}
