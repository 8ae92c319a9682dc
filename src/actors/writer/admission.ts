import { createHash } from 'node:crypto';
import { type DecodedSiteFrame, decodeMessage, type FrameRow, type Source } from '../../events/frame.js';
import { hasStorableTimes, hexId, MIN_ROW_BYTES, timestampOf } from '../../events/row-head.js';
import { RowFlag, type RowTable, tableOf } from '../../events/tables.js';
import type { StreamMessage } from '../../storage/stream/stream.js';
import type { DedupeWindow } from '../dedupe-window.js';
import { tableSalt } from '../fingerprint.js';
import type { Block } from './block.js';
import { Tally } from './tally.js';
import type { Tenure } from './tenure.js';

/** Site id of messages that cannot be decoded, in quarantine and books: nobody can tell whose events they were. */
export const NO_SITE_ID = '';

/** What a message is admitted into. */
export interface Admission {
  readonly window: DedupeWindow;
  /** The block that takes the rows. */
  readonly block: Block;
  /** A block that is being stored and not settled yet. */
  readonly earlier: Block | undefined;
}

/**
 * Decodes a message and puts its rows into the block: duplicates are dropped, bots told apart, rows whose copies may be older than the
 * window marked for a look-up. Never throws: what cannot be read goes to the quarantine.
 */
export function admit(into: Admission, tenure: Tenure, message: StreamMessage): void {
  const { block } = into;
  let frames: DecodedSiteFrame[] | undefined;
  let reason = '';
  try {
    frames = decodeMessage(message.data);
  } catch (error) {
    reason = error instanceof Error ? error.message : String(error);
  }
  if (frames === undefined) refuseMessage(into, tenure, message.data, reason);
  else for (const frame of frames) admitFrame(into, tenure, frame);
  block.messages.push({ tenure, message });
  block.bytes += message.data.byteLength;
}

function admitFrame(into: Admission, tenure: Tenure, frame: DecodedSiteFrame): void {
  const tally = new Tally(tenure, frame, Date.now());
  into.block.tallies.push(tally);
  for (const row of frame.rows) {
    if (row.bytes.byteLength < MIN_ROW_BYTES) refuseRow(into, tally, row, 'the row is too short');
    else if (!hasStorableTimes(row.bytes)) refuseRow(into, tally, row, 'the row bears a time that cannot be');
    else admitRow(into, tally, row);
  }
}

function admitRow({ window, block, earlier }: Admission, tally: Tally, { flags, bytes }: FrameRow): void {
  const table = tableOf(flags);
  const salt = tableSalt(tally.salt, table);
  // `knows` leaves the fingerprint read, for the sets of the blocks.
  const { fingerprint } = window;
  if (
    (window.knows(bytes, salt) && !isRemovable(tally)) ||
    earlier?.pending.has(fingerprint) ||
    !block.pending.add(fingerprint)
  ) {
    tally.duplicate++;
    return;
  }
  const isTimeless = (flags & RowFlag.lookup) !== 0;
  const isConclusive =
    !isTimeless && window.judges(tally.tenure.partition, timestampOf(bytes)) && !window.suspects(bytes);
  (isConclusive ? block.rows : block.lookups).push({ bytes, table, salt, tally, isTimeless });
}

/**
 * Events of an import may have been removed since they were stored, when it was undone: for them the window proves nothing, and the store
 * is asked. (They come marked as timeless.)
 */
export function isRemovable({ source }: Tally): boolean {
  return source === 'import';
}

function refuseRow({ block }: Admission, tally: Tally, row: FrameRow, reason: string): void {
  const { siteId, source } = tally;
  const table = tableOf(row.flags);
  const quarantinedAt = Date.now();
  const id = quarantineId(siteId, source, table, row.bytes, quarantinedAt);
  block.refused.push({
    tally,
    entry: { id, siteId, source, table, quarantinedAt, reason, bytes: row.bytes },
  });
}

/** The message counts as one event, of no site. */
function refuseMessage({ block }: Admission, tenure: Tenure, data: Uint8Array, reason: string): void {
  const frame = { siteId: NO_SITE_ID, source: 'event', received: 1, rejected: 0, rows: [] } as const;
  const tally = new Tally(tenure, { ...frame, rows: [] }, Date.now());
  block.tallies.push(tally);
  const quarantinedAt = Date.now();
  const id = quarantineId(NO_SITE_ID, 'event', 'events', data, quarantinedAt);
  block.refused.push({
    tally,
    entry: {
      id,
      siteId: NO_SITE_ID,
      source: 'event',
      table: 'events',
      quarantinedAt,
      reason,
      bytes: data,
    },
  });
}

/**
 * The same bytes of a site have the same id, so that an entry that is made again after a crash is recognised; for a whole row that is
 * its event id, with the table where it is no event. An entry that comes back from a replay is a new one: the old one is about to be removed.
 */
export function quarantineId(
  siteId: string,
  source: Source,
  table: RowTable,
  bytes: Uint8Array,
  now: number,
): string {
  const isReplay = source === 'replay';
  if (isReplay || siteId === NO_SITE_ID || bytes.byteLength < MIN_ROW_BYTES)
    return hashed(`${siteId} ${isReplay ? now : ''} `, bytes);
  const isEvent = table === 'events' || table === 'bot_events';
  return isEvent ? hexId(bytes) : hashed(`${siteId} ${table} `, bytes.subarray(0, 16));
}

function hashed(scope: string, bytes: Uint8Array): string {
  return createHash('sha256').update(scope).update(bytes).digest('hex').slice(0, 32);
}
