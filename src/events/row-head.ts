/** The fixed-width columns at the start of a row of any table (events/columns.ts), read without decoding the rest. */

/** Smallest row in which they can be read. */
export const MIN_ROW_BYTES = 32;

const TIMESTAMP_OFFSET = 16;
const RECEIVED_AT_OFFSET = 24;

/** When the event happened, ms since epoch. */
export function timestampOf(row: Uint8Array): number {
  return int64(row, TIMESTAMP_OFFSET);
}

/** When the edge received it, ms since epoch. */
export function receivedAtOf(row: Uint8Array): number {
  return int64(row, RECEIVED_AT_OFFSET);
}

/** Seconds of the books are unsigned 32-bit numbers: until 2106. */
const END_MS = 2 ** 32 * 1_000;

/**
 * Can both times be stored, in any store? The edge lets no others in: whatever bears them is damaged or none of ours.
 */
export function hasStorableTimes(row: Uint8Array): boolean {
  return isStorable(timestampOf(row)) && isStorable(receivedAtOf(row));
}

const isStorable = (ms: number): boolean => ms >= 0 && ms < END_MS;

/** Id of the row, 32 lower-case hex characters. */
export function hexId(row: Uint8Array): string {
  return Buffer.from(row.buffer, row.byteOffset, 16).toString('hex');
}

/** Little-endian; exact within ±2^53. Without a DataView, which would be an allocation a row. */
function int64(bytes: Uint8Array, at: number): number {
  const byte = (i: number) => bytes[at + i] ?? 0;
  const low = (byte(0) | (byte(1) << 8) | (byte(2) << 16) | (byte(3) << 24)) >>> 0;
  const high = byte(4) | (byte(5) << 8) | (byte(6) << 16) | (byte(7) << 24);
  return high * 0x1_0000_0000 + low;
}
