/** What stands between the writers and what they write to, so that nothing that was erased comes back out of a stream or a spool. */
import type { RowObserver } from '../actors/writer/observer.js';
import type { RowTable } from '../events/tables.js';
import { type EventStore, RowsRefusedError } from '../storage/events/event-store.js';
import type { ErasureMetrics } from './erasure-metrics.js';
import { forgottenOf, oldestOf, receivedAtOf, siteOf, sitesOf } from './forgotten.js';
import type { KnownErasures } from './known-erasures.js';

export interface ForgetfulOptions {
  readonly erasures: KnownErasures;
  /** Rows of an erased visitor were dropped: the recordings of their sessions have to go as well. */
  readonly onDropped: (siteId: string, sessionIds: readonly string[]) => Promise<void>;
  readonly metrics: ErasureMetrics;
}

type Written = Pick<EventStore, 'insertRows' | 'addToBooks' | 'quarantine'>;

/**
 * A store that leaves out erased rows. An erasure is noted, and time is left for all writers to know of it, before the stream is drained, and
 * a message is acknowledged after its rows are stored: so once it is drained, no insert that did not know of the erasure is under way. The books count such rows as stored, which is
 * what they would have been before they were erased; of a deleted site there are none any more.
 */
export function forgetfulStore<Store extends Written>(store: Store, options: ForgetfulOptions): Store {
  return {
    ...store,
    insertRows: async (table: RowTable, rows: readonly Uint8Array[], token: string, deadline: number) => {
      const kept = await keptOf(table, rows, options);
      if (kept.length === 0) return;
      try {
        await store.insertRows(table, kept.length === rows.length ? rows : kept, token, deadline);
      } catch (error) {
        throw kept.length === rows.length ? error : renumbered(error, kept, rows);
      }
    },
    addToBooks: async (entries: Parameters<Written['addToBooks']>[0], token: string) => {
      const forgotten = await forgottenOf(options.erasures, unique(entries), Date.now());
      const kept = entries.filter(({ siteId }) => !forgotten?.site(siteId, Number.POSITIVE_INFINITY));
      if (kept.length > 0) await store.addToBooks(kept, token);
    },
    quarantine: async (entries: Parameters<Written['quarantine']>[0], token: string) => {
      const readable = entries.map(({ bytes }) => bytes).filter(({ length }) => length >= HEADER_BYTES);
      const oldest = Math.min(oldestOf(readable), Date.now());
      const forgotten = await forgottenOf(options.erasures, unique(entries), oldest);
      const isKept = ({ siteId, table, bytes }: (typeof entries)[number]) =>
        forgotten === null ||
        bytes.length < HEADER_BYTES ||
        !(
          forgotten.site(siteId, receivedAtOf(bytes)) || forgotten.visitor(siteId, table, bytes) !== undefined
        );
      const kept = entries.filter(isKept);
      options.metrics.dropped.inc(entries.length - kept.length);
      if (kept.length > 0) await store.quarantine(kept, token);
    },
  };
}

/** Rows that end before this have no time of receipt. */
const HEADER_BYTES = 32;

const unique = (entries: readonly { readonly siteId: string }[]): string[] => [
  ...new Set(entries.map(({ siteId }) => siteId)),
];

async function keptOf(
  table: RowTable,
  rows: readonly Uint8Array[],
  { erasures, onDropped, metrics }: ForgetfulOptions,
): Promise<readonly Uint8Array[]> {
  const forgotten = await forgottenOf(erasures, await sitesOf(rows), oldestOf(rows));
  if (forgotten === null) return rows;
  const sessions = new Map<string, Set<string>>();
  const kept = rows.filter((row) => {
    const siteId = siteOf(row);
    if (forgotten.site(siteId, receivedAtOf(row))) return false;
    const session = forgotten.visitor(siteId, table, row);
    if (session === undefined) return true;
    sessions.set(siteId, (sessions.get(siteId) ?? new Set()).add(session));
    return false;
  });
  for (const [siteId, ids] of sessions)
    await onDropped(
      siteId,
      [...ids].filter((id) => id !== ''),
    );
  metrics.dropped.inc(rows.length - kept.length);
  return kept;
}

/** The writer knows the rows by their places in what it sent. */
function renumbered(error: unknown, kept: readonly Uint8Array[], rows: readonly Uint8Array[]): unknown {
  if (!(error instanceof RowsRefusedError) || error.badRows === undefined) return error;
  const places = new Map(rows.map((row, index) => [row, index]));
  const bad = error.badRows.flatMap((index) => {
    const row = kept[index];
    const place = row === undefined ? undefined : places.get(row);
    return place === undefined ? [] : [place];
  });
  return new RowsRefusedError(error.message, bad, { cause: error });
}

/** An observer that is not shown what was erased. */
export function forgetfulObserver(observer: RowObserver, { erasures }: ForgetfulOptions): RowObserver {
  return {
    wants: (siteId) => observer.wants(siteId),
    async observe(rows) {
      const forgotten = await forgottenOf(erasures, unique(rows), oldestOf(rows.map(({ bytes }) => bytes)));
      const isShown = ({ siteId, table, bytes }: (typeof rows)[number]) =>
        forgotten === null ||
        !(
          forgotten.site(siteId, receivedAtOf(bytes)) || forgotten.visitor(siteId, table, bytes) !== undefined
        );
      const shown = rows.filter(isShown);
      if (shown.length > 0) await observer.observe(shown);
    },
  };
}
