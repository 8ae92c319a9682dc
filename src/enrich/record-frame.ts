/** The start and the end of a `row` record (events/frame.ts), which all tables have in common (events/tables.ts). */
import type { ByteWriter } from './byte-writer.js';

/** Bytes of the record before the row: u32 length and u8 flags. */
export const RECORD_HEADER = 5;
const ID_BYTES = 16;

/**
 * Writes length (to come), flags, event id (to come), timestamp, received_at and site_id; the table's own columns are to follow.
 * @param site site_id column, encoded
 * @returns the record, for {@link endRecord}
 */
export function beginRecord(
  out: ByteWriter,
  flags: number,
  timestamp: number,
  receivedAt: number,
  site: Uint8Array,
): number {
  const record = out.at;
  out.ensure(RECORD_HEADER + ID_BYTES);
  out.buffer[record + 4] = flags;
  out.at = record + RECORD_HEADER + ID_BYTES;
  out.i64(timestamp);
  out.i64(receivedAt);
  out.bytes(site);
  return record;
}

/**
 * Puts in length and id.
 * @param id 16 bytes, one character a byte (longer texts are cut)
 */
export function endRecord(out: ByteWriter, record: number, id: string): void {
  out.setU32(record, out.at - record - 4);
  for (let i = 0; i < ID_BYTES; i++) out.buffer[record + RECORD_HEADER + i] = id.charCodeAt(i);
}
