import type { EventStore, StoredQuarantinedRow } from '../storage/events/event-store.js';
import type { SiteFrame } from './frame.js';
import { flagsOf, RowFlag } from './tables.js';

export interface ReplayOptions {
  readonly store: Pick<EventStore, 'quarantined' | 'takeQuarantined'>;
  readonly publish: (frame: SiteFrame) => Promise<void>;
  /** Into the stream of the recordings, which would take the rows of the other one for theirs. */
  readonly publishRecording: (frame: SiteFrame) => Promise<void>;
}

/** Half a megabyte each, when they are recordings. */
const ROWS_AT_ONCE = 50;

/**
 * Sends rows from the quarantine through their stream once more, as source `replay`, and removes them once the stream has them for good. A
 * crash in between leaves them in the quarantine too; sent again, they count once. Rows that are refused again come back as new entries.
 * @returns the ids that were sent; when it fails some may have been
 */
export async function replayQuarantined(
  options: ReplayOptions,
  siteId: string,
  ids: readonly string[],
): Promise<string[]> {
  const sent: string[] = [];
  for (let at = 0; at < ids.length; at += ROWS_AT_ONCE)
    sent.push(...(await replaySome(options, siteId, ids.slice(at, at + ROWS_AT_ONCE))));
  return sent;
}

async function replaySome(
  { store, publish, publishRecording }: ReplayOptions,
  siteId: string,
  ids: readonly string[],
): Promise<string[]> {
  const rows = new Map((await store.quarantined(siteId, ids)).map((row) => [row.id, row]));
  const recordings = [...rows.values()].filter(({ source }) => source === 'recording');
  const others = [...rows.values()].filter(({ source }) => source !== 'recording');
  if (others.length > 0) await publish(frameOf(siteId, others));
  if (recordings.length > 0) await publishRecording(frameOf(siteId, recordings));
  const found = [...rows.keys()];
  if (found.length > 0) await store.takeQuarantined(siteId, found);
  return found;
}

/** Recordings have no table: what is noted of them, `events`, has the flags of theirs. */
function frameOf(siteId: string, rows: readonly StoredQuarantinedRow[]): SiteFrame {
  const records = rows.map(({ table, bytes }) => {
    const record = Buffer.allocUnsafe(5 + bytes.byteLength);
    record.writeUInt32LE(1 + bytes.byteLength);
    // Its copies may have come at any time since.
    record[4] = RowFlag.lookup | flagsOf(table);
    record.set(bytes, 5);
    return record;
  });
  return {
    siteId,
    source: 'replay',
    received: rows.length,
    rejected: 0,
    rowCount: rows.length,
    rows: records,
  };
}
