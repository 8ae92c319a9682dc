/** Which rows are of somebody, or of a site, that was erased. */
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { AppError } from '../errors.js';
import { decodeRowOf } from '../events/row-decoder.js';
import type { RowTable } from '../events/tables.js';
import type { KnownErasures } from './known-erasures.js';

/** Rows after whose site other work gets its turn. */
const ROWS_A_TURN = 10_000;
const RECEIVED_AT = 24;
/** One byte of length, then the id: none of ours is longer than 127 bytes. */
const SITE_LENGTH = 32;

/** What a writer knows about the erasures of some sites. */
export interface Forgotten {
  /** Must a site's row be dropped that was received then? */
  site(siteId: string, receivedAt: number): boolean;
  /** The session of a row that must be dropped because of its visitor; undefined: it stays. '' when it has none. */
  visitor(siteId: string, table: RowTable, row: Uint8Array): string | undefined;
}

/** Name of a visitor in the notes of erasures, 64 hex characters: says nothing to who does not know the visitor's id. */
export function visitorHashOf(siteId: string, visitorId: string): string {
  return createHash('sha256').update(`${siteId}\u0000${visitorId}`).digest('hex');
}

/**
 * Asks for the erasures of sites; null when there are none.
 * @param oldest when the first of the rows in question was received, ms since epoch
 */
export async function forgottenOf(
  erasures: KnownErasures,
  siteIds: readonly string[],
  oldest: number,
): Promise<Forgotten | null> {
  const found = siteIds.length === 0 ? [] : await erasures.of(siteIds, oldest);
  if (found.length === 0) return null;
  const sites = new Map<string, number>();
  const visitors = new Map<string, Map<string, number>>();
  /** End of the last erasure of a visitor: what came later need not be read. */
  const ends = new Map<string, number>();
  for (const { siteId, visitorHash, receivedUntil } of found) {
    if (visitorHash === null) sites.set(siteId, Math.max(receivedUntil, sites.get(siteId) ?? 0));
    else {
      visitors.set(siteId, (visitors.get(siteId) ?? new Map()).set(visitorHash, receivedUntil));
      ends.set(siteId, Math.max(receivedUntil, ends.get(siteId) ?? 0));
    }
  }
  return {
    site: (siteId, receivedAt) => receivedAt <= (sites.get(siteId) ?? -1),
    visitor(siteId, table, row) {
      const until = visitors.get(siteId);
      if (until === undefined || table === 'heat_points') return undefined;
      if (receivedAtOf(row) > (ends.get(siteId) ?? 0)) return undefined;
      const subject = subjectOf(table, row);
      if (subject === undefined) return undefined;
      const forgottenUntil = until.get(visitorHashOf(siteId, subject.visitor_id)) ?? -1;
      return subject.received_at <= forgottenUntil ? subject.session_id : undefined;
    },
  };
}

/** Undefined for a row that cannot be read: the store refuses it. */
function subjectOf(table: Exclude<RowTable, 'heat_points'>, row: Uint8Array) {
  try {
    return decodeRowOf(table, row);
  } catch (error) {
    if (error instanceof AppError) return undefined;
    throw error;
  }
}

/** When the edge received a row, ms since epoch. */
export function receivedAtOf(row: Uint8Array): number {
  return Number(viewOf(row).readBigInt64LE(RECEIVED_AT));
}

/** When the first of some rows was received, ms since epoch; Infinity for none. */
export function oldestOf(rows: Iterable<Uint8Array>): number {
  let oldest = Number.POSITIVE_INFINITY;
  for (const row of rows) oldest = Math.min(oldest, receivedAtOf(row));
  return oldest;
}

/** The site of a row of any table; '' where there is none to be read. */
export function siteOf(row: Uint8Array): string {
  const length = row[SITE_LENGTH] ?? 0;
  return viewOf(row).toString('latin1', SITE_LENGTH + 1, SITE_LENGTH + 1 + length);
}

/** The sites of rows, each once. Rows of a site mostly lie side by side, so few ids are made into texts. */
export async function sitesOf(rows: readonly Uint8Array[]): Promise<string[]> {
  const sites = new Set<string>();
  let last: Buffer | undefined;
  for (const [index, row] of rows.entries()) {
    if (index % ROWS_A_TURN === ROWS_A_TURN - 1) await nextTurn();
    const id = viewOf(row).subarray(SITE_LENGTH, SITE_LENGTH + 1 + (row[SITE_LENGTH] ?? 0));
    if (last?.equals(id)) continue;
    last = id;
    sites.add(siteOf(row));
  }
  return [...sites];
}

const viewOf = (row: Uint8Array) => Buffer.from(row.buffer, row.byteOffset, row.byteLength);
