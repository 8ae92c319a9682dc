/**
 * A row of a recording on its way through the stream: a part of the compressed events of one chunk, behind what the index needs to know of
 * the chunk. RowBinary as in events/columns.ts, the four columns of every table first. The index table has these columns without `data`
 * and behind them where the data lies (`OBJECT_COLUMNS`), so a row of the index is the beginning of the row and a few bytes.
 */
export const RECORDING_COLUMNS = [
  /** Hash of chunk and part. */
  { name: 'event_id', type: 'id' },
  /** First event of the chunk by the recorder's clock, corrected where that is wrong. */
  { name: 'timestamp', type: 'ms' },
  { name: 'received_at', type: 'ms' },
  { name: 'site_id', type: 'string' },
  /** Hash of site and session: what is looked up, deleted and remembered as deleted. */
  { name: 'session_key', type: 'id' },
  { name: 'session_id', type: 'string' },
  /** Hash of site, session, sequence and content: the same chunk again is the same, another under its number is not. */
  { name: 'chunk_id', type: 'id' },
  { name: 'sequence', type: 'u32' },
  /** From 0. */
  { name: 'part', type: 'u16' },
  { name: 'parts', type: 'u16' },
  /** Normalised path, '' unknown. */
  { name: 'page', type: 'string' },
  /** Earliest and latest event by the recorder's clock, as it was. */
  { name: 'first_ms', type: 'i64' },
  { name: 'last_ms', type: 'i64' },
  { name: 'event_count', type: 'u32' },
  /** Bytes of the chunk's events as JSON text. */
  { name: 'raw_bytes', type: 'u32' },
  { name: 'browser', type: 'label' },
  { name: 'os', type: 'label' },
  { name: 'device', type: 'label' },
  { name: 'country_code', type: 'label' },
  { name: 'has_full_snapshot', type: 'u8' },
  { name: 'clicks', type: 'u32' },
  { name: 'rage_clicks', type: 'u32' },
  { name: 'errors', type: 'u32' },
] as const;

/** What the index knows beside the columns of the row. */
export const OBJECT_COLUMNS = [
  { name: 'object_key', type: 'string' },
  { name: 'object_offset', type: 'u32' },
  { name: 'object_length', type: 'u32' },
  /** Grows when the part moves to another object. */
  { name: 'version', type: 'u32' },
] as const;
