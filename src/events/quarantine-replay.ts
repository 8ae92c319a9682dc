import type { EventStore, StoredQuarantinedRow } from '../storage/events/event-store.js';
import type { SiteFrame } from './frame.js';
import { flagsOf, RowFlag } from './tables.js';

const PAGE_ROWS = 500;
/** Newer rows than those asked for that are looked through at most: 100,000. */
const MAX_PAGES = 200;

export interface ReplayOptions {
  readonly store: Pick<EventStore, 'listQuarantine' | 'takeQuarantined'>;
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
  const rows = await find(store, siteId, new Set(ids));
  if (rows.size === 0) return [];
  await publish(frameOf(siteId, [...rows.values()]));
  const found = [...rows.keys()];
  await store.takeQuarantined(siteId, found);
  return found;
}

/** The list is what a caller took the ids from, so they are near its start as a rule. */
async function find(
  store: ReplayOptions['store'],
  siteId: string,
  ids: ReadonlySet<string>,
): Promise<Map<string, StoredQuarantinedRow>> {
  const found = new Map<string, StoredQuarantinedRow>();
  let before: string | undefined;
  for (let page = 0; page < MAX_PAGES && found.size < ids.size; page++) {
    const rows = await store.listQuarantine(siteId, PAGE_ROWS, before);
    // Recordings have a stream of their own, whose rows this one would take for events.
    for (const row of rows) if (ids.has(row.id) && row.source !== 'recording') found.set(row.id, row);
    before = rows.at(-1)?.id;
    if (rows.length < PAGE_ROWS) break;
  }
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
