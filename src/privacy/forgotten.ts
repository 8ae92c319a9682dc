/** Which rows are of somebody, or of a site, that was erased. */
import { createHash } from 'node:crypto';
import { AppError } from '../errors.js';
import { decodeRowOf } from '../events/row-decoder.js';
import { receivedAtOf } from '../events/row-head.js';
import type { RowTable } from '../events/tables.js';
import { Turns } from '../turns.js';
import type { KnownErasures } from './known-erasures.js';

/** One byte of length, then the id: none of ours is longer than 127 bytes. */
const SITE_LENGTH = 32;

/** What a writer knows about the erasures of some sites. */
export interface Forgotten {
  /** Must a site's row be dropped that was received then? */
  site(siteId: string, receivedAt: number): boolean;
  /** Whether an import of these sites was undone, lately enough to have sent some of the rows. */
  readonly knowsUndone: boolean;
  /** Imports that were undone and may have sent a site's row that was received then. */
  undone(siteId: string, receivedAt: number): readonly string[];
  /** The session of a row that must be dropped because of its visitor; undefined: it stays. '' when it has none. */
  visitor(siteId: string, table: RowTable, row: Uint8Array): string | undefined;
}

/** Name of a visitor in the notes of erasures, 64 hex characters: says nothing to who does not know the visitor's id. */
export function visitorHashOf(siteId: string, visitorId: string): string {
  return createHash('sha256').update(`${siteId}\u0000${visitorId}`).digest('hex');
}

/**
 * Asks for the erasures that may concern rows of these origins; null when there are none.
 */
export async function forgottenOf(
  erasures: KnownErasures,
  { siteIds, oldest }: Origins,
): Promise<Forgotten | null> {
  const found = siteIds.length === 0 ? [] : await erasures.of(siteIds, oldest);
  if (found.length === 0) return null;
  const sites = new Map<string, number>();
  const visitors = new Map<string, Map<string, number>>();
  /** End of the last erasure of a visitor: what came later need not be read. */
  const ends = new Map<string, number>();
  const imports = new Map<string, { readonly id: string; readonly until: number }[]>();
  for (const { siteId, visitorHash, importId, receivedUntil } of found) {
    if (importId !== undefined) {
      const ofSite = imports.get(siteId) ?? [];
      imports.set(siteId, ofSite);
      ofSite.push({ id: importId, until: receivedUntil });
    } else if (visitorHash === null) sites.set(siteId, Math.max(receivedUntil, sites.get(siteId) ?? 0));
    else {
      visitors.set(siteId, (visitors.get(siteId) ?? new Map()).set(visitorHash, receivedUntil));
      ends.set(siteId, Math.max(receivedUntil, ends.get(siteId) ?? 0));
    }
  }
  return {
    site: (siteId, receivedAt) => receivedAt <= (sites.get(siteId) ?? -1),
    knowsUndone: imports.size > 0,
    undone(siteId, receivedAt) {
      const some = imports.get(siteId);
      return some === undefined ? [] : some.filter(({ until }) => receivedAt <= until).map(({ id }) => id);
    },
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

/** The site of a row of any table; '' where there is none to be read. */
export function siteOf(row: Uint8Array): string {
  // Cut off where the row ends: damaged rows come here, too.
  const id = row.subarray(SITE_LENGTH + 1, SITE_LENGTH + 1 + (row[SITE_LENGTH] ?? 0));
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('latin1');
}

/** Of which sites rows are, each named once, and when the first of them was received (ms since epoch; Infinity for none). */
export interface Origins {
  readonly siteIds: readonly string[];
  readonly oldest: number;
}

/** Rows of a site mostly lie side by side, so few ids are made into texts. */
export async function originsOf(rows: Iterable<Uint8Array>): Promise<Origins> {
  const siteIds = new Set<string>();
  const turns = new Turns();
  let oldest = Number.POSITIVE_INFINITY;
  let last: Uint8Array | undefined;
  for (const row of rows) {
    if (turns.isOver) await turns.next();
    oldest = Math.min(oldest, receivedAtOf(row));
    if (last === undefined || !isOfSameSite(last, row)) siteIds.add(siteOf(row));
    last = row;
  }
  return { siteIds: [...siteIds], oldest };
}

function isOfSameSite(a: Uint8Array, b: Uint8Array): boolean {
  const end = SITE_LENGTH + 1 + (a[SITE_LENGTH] ?? 0);
  for (let at = SITE_LENGTH; at < end; at++) if (a[at] !== b[at]) return false;
  return true;
}
