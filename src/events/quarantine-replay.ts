import type { EventStore, StoredQuarantinedRow } from '../storage/events/event-store.js';
import type { SiteFrame } from './frame.js';
import { flagsOf, RowFlag } from './tables.js';

export interface ReplayOptions {
  readonly store: Pick<EventStore, 'quarantined' | 'takeQuarantined'>;
  readonly publish: (frame: SiteFrame) => Promise<void>;
}

/**
 * Sends rows from the quarantine through the stream once more, as source `replay`, and removes them once the stream has them for good. A
 * crash in between leaves them in the quarantine too; sent again, they count once. Rows that are refused again come back as new entries.
 * @returns the ids that were sent
 */
export async function replayQuarantined(
  { store, publish }: ReplayOptions,
  siteId: string,
  ids: readonly string[],
): Promise<string[]> {
  const rows = new Map<string, StoredQuarantinedRow>();
  // Recordings have a stream of their own, whose rows this one would take for events.
  for (const row of await store.quarantined(siteId, ids))
    if (row.source !== 'recording') rows.set(row.id, row);
  if (rows.size === 0) return [];
  await publish(frameOf(siteId, [...rows.values()]));
  const found = [...rows.keys()];
  await store.takeQuarantined(siteId, found);
  return found;
}

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
