/**
 * The columns of a stored event, in the order of the row bytes. The enrichment worker writes a row once, in ClickHouse's RowBinary
 * layout (little-endian numbers; strings as LEB128 length plus UTF-8), and nobody re-encodes it on the way to ClickHouse; the Postgres
 * store decodes it with the same table. The two tables `events` and `bot_events` have exactly these columns in this order.
 */
export const EVENT_COLUMNS = [
  /** 128-bit event id, raw bytes. Always first: writers read it at offset 0 without parsing the row. */
  { name: 'event_id', type: 'id' },
  /** When it happened (client clock, clamped), ms since epoch. Offset 16. */
  { name: 'timestamp', type: 'ms' },
  /** When the edge received it, ms since epoch. Offset 24. */
  { name: 'received_at', type: 'ms' },
  /** Canonical 24-hex site id. Offset 32. */
  { name: 'site_id', type: 'string' },
  /** 1 page view, 2 custom event, 3 the tracker's own bookkeeping (metrics.md "Events, visitors, sessions"). */
  { name: 'kind', type: 'u8' },
  { name: 'event_type', type: 'label' },
  { name: 'visitor_id', type: 'string' },
  { name: 'session_id', type: 'string' },
  { name: 'page_view_id', type: 'string' },
  /** Normalised path. */
  { name: 'page', type: 'string' },
  { name: 'hostname', type: 'label' },
  { name: 'title', type: 'string' },
  /** Full referrer URL without its fragment; '' when direct or the site's own. */
  { name: 'referrer', type: 'string' },
  /** Folded referrer host (`google.com`); '' = Direct. */
  { name: 'referrer_host', type: 'label' },
  { name: 'channel', type: 'label' },
  { name: 'utm_source', type: 'label' },
  { name: 'utm_medium', type: 'label' },
  { name: 'utm_campaign', type: 'label' },
  { name: 'utm_term', type: 'label' },
  { name: 'utm_content', type: 'label' },
  /** Parameter name of the click id (`gclid`), '' when none. */
  { name: 'click_id_name', type: 'label' },
  { name: 'click_id', type: 'string' },
  /** ISO 3166-1 alpha-2, upper case; '' unknown. English names are derived when answering. */
  { name: 'country_code', type: 'label' },
  { name: 'region', type: 'label' },
  { name: 'city', type: 'label' },
  /** English continent name; '' unknown. */
  { name: 'continent', type: 'label' },
  { name: 'browser', type: 'label' },
  { name: 'browser_version', type: 'label' },
  { name: 'os', type: 'label' },
  { name: 'os_version', type: 'label' },
  /** `Desktop`, `Mobile`, `Tablet`, `TV`, `Console`, `Watch`; '' unknown. */
  { name: 'device', type: 'label' },
  { name: 'screen_width', type: 'u16' },
  { name: 'screen_height', type: 'u16' },
  { name: 'viewport_width', type: 'u16' },
  { name: 'viewport_height', type: 'u16' },
  { name: 'language', type: 'label' },
  /** Seconds; from `page_exit`, else 0. */
  { name: 'time_on_page', type: 'u32' },
  /** Percent 0 to 100; from `page_exit` and `scroll_depth`, else 0. */
  { name: 'scroll_depth', type: 'u8' },
  /** JSON object text, `{}` when there is none. */
  { name: 'properties', type: 'string' },
  /** The visitor's address, whole or cut, where the site's settings ask for it; else ''. */
  { name: 'ip_address', type: 'string' },
] as const satisfies readonly Column[];

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
}

/**
 * `id` FixedString(16) · `ms` DateTime64(3,'UTC') as Int64 · `string` String · `label` LowCardinality(String) (same bytes as String) ·
 * `u8`/`u16`/`u32` unsigned integers · `i16` signed.
 */
export type ColumnType = 'id' | 'ms' | 'string' | 'label' | 'u8' | 'u16' | 'u32' | 'i16';

export type EventColumn = (typeof EVENT_COLUMNS)[number]['name'];

/** `kind` column values. */
export const EventKind = { pageview: 1, custom: 2, bookkeeping: 3 } as const;
