import type { Column } from '../../src/events/columns.js';
import type { EventRow, FunnelEventRow, HeatPointRow, TableRows } from '../../src/events/row-decoder.js';
import { type RowTable, TABLE_COLUMNS } from '../../src/events/tables.js';

/** Site id of the rows that `makeRow` makes when not told otherwise. */
export const SITE = '65f1a2b3c4d5e6f708192a3b';

/** A complete row object: sensible values, `changes` on top. */
export function makeRow(changes: Partial<EventRow> = {}): EventRow {
  return {
    event_id: '00000000000000000000000000000001',
    timestamp: 1_760_000_000_123,
    received_at: 1_760_000_000_456,
    site_id: SITE,
    kind: 1,
    event_type: 'pageview',
    visitor_id: 'visitor-1',
    session_id: 'session-1',
    page_view_id: 'view-1',
    page: '/pricing',
    hostname: 'example.com',
    title: 'Pricing',
    referrer: 'https://www.google.com/search?q=x',
    referrer_host: 'google.com',
    channel: 'Organic Search',
    utm_source: '',
    utm_medium: '',
    utm_campaign: '',
    utm_term: '',
    utm_content: '',
    click_id_name: '',
    click_id: '',
    country_code: 'DE',
    region: 'Berlin',
    city: 'Berlin',
    continent: 'Europe',
    browser: 'Firefox',
    browser_version: '141',
    os: 'Linux',
    os_version: '',
    device: 'Desktop',
    screen_width: 1920,
    screen_height: 1080,
    viewport_width: 1280,
    viewport_height: 720,
    language: 'de-DE',
    time_on_page: 0,
    scroll_depth: 0,
    properties: '{}',
    ip_address: '',
    ...changes,
  };
}

/** A complete heat point. */
export function makeHeatPoint(changes: Partial<HeatPointRow> = {}): HeatPointRow {
  return {
    event_id: '00000000000000000000000000000001',
    timestamp: 1_760_000_000_123,
    received_at: 1_760_000_000_456,
    site_id: SITE,
    page: '/pricing',
    point_type: 'click',
    device: 'desktop',
    x: 500,
    y: 120,
    selector: 'main > button:nth-of-type(2)',
    count: 1,
    ...changes,
  };
}

/** A complete funnel event. */
export function makeFunnelEvent(changes: Partial<FunnelEventRow> = {}): FunnelEventRow {
  return {
    event_id: '00000000000000000000000000000001',
    timestamp: 1_760_000_000_123,
    received_at: 1_760_000_000_456,
    site_id: SITE,
    funnel_id: '7c1d2e3f-4a5b-4c6d-8e7f-0a1b2c3d4e5f',
    visitor_id: 'visitor-1',
    session_id: 'session-1',
    event_type: 'progress',
    step_name: 'Cart',
    current_step: 2,
    completed_steps: '[1,2]',
    started_at: 1_759_999_990_000,
    converted: 0,
    ...changes,
  };
}

/** The bytes of an event. */
export const encodeRow = (row: EventRow): Uint8Array => encodeRowOf('events', row);

/** Row bytes as events/columns.ts has them. Written for clarity, not speed: the product's own encoders are others. */
export function encodeRowOf<T extends RowTable>(table: T, row: TableRows[T]): Uint8Array {
  const values = new Map<string, string | number>(Object.entries(row));
  return encodeValues(
    TABLE_COLUMNS[table],
    TABLE_COLUMNS[table].map(({ name }) => values.get(name) ?? ''),
  );
}

/** Values in the order of the columns. */
export function encodeValues(columns: readonly Column[], values: readonly (string | number)[]): Uint8Array {
  return Buffer.concat(
    columns.map(({ type }, index) => {
      const value = values[index] ?? '';
      switch (type) {
        case 'id':
          return Buffer.from(String(value), 'hex');
        case 'ms':
          return Buffer.from(BigInt64Array.of(BigInt(value)).buffer);
        case 'u8':
          return Buffer.from(Uint8Array.of(Number(value)).buffer);
        case 'u16':
          return Buffer.from(Uint16Array.of(Number(value)).buffer);
        case 'i16':
          return Buffer.from(Int16Array.of(Number(value)).buffer);
        case 'u32':
          return Buffer.from(Uint32Array.of(Number(value)).buffer);
        default: {
          const text = Buffer.from(String(value), 'utf8');
          return Buffer.concat([leb128(text.length), text]);
        }
      }
    }),
  );
}

function leb128(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest & 127) | 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}
