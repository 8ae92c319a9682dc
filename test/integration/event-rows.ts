import { EVENT_COLUMNS } from '../../src/events/columns.js';
import type { EventRow } from '../../src/events/row-decoder.js';

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
    ...changes,
  };
}

/** The row bytes of events/columns.ts. Written for clarity, not speed: the product's own encoder is another one. */
export function encodeRow(row: EventRow): Uint8Array {
  return Buffer.concat(
    EVENT_COLUMNS.map(({ name, type }) => {
      const value = row[name];
      switch (type) {
        case 'id':
          return Buffer.from(String(value), 'hex');
        case 'ms':
          return Buffer.from(BigInt64Array.of(BigInt(value)).buffer);
        case 'u8':
          return Buffer.from(Uint8Array.of(Number(value)).buffer);
        case 'u16':
          return Buffer.from(Uint16Array.of(Number(value)).buffer);
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
