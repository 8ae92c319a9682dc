/** What stands between the writers and what they write to, so that nothing that was erased comes back out of a stream or a spool. */
import type { RowObserver } from '../actors/writer/observer.js';
import { hexId, MIN_ROW_BYTES, receivedAtOf } from '../events/row-head.js';
import type { RowTable } from '../events/tables.js';
import { type EventStore, RowsRefusedError } from '../storage/events/event-store.js';
import { Turns } from '../turns.js';
import type { ErasureMetrics } from './erasure-metrics.js';
import { type Forgotten, forgottenOf, originsOf, siteOf } from './forgotten.js';
import type { KnownErasures } from './known-erasures.js';

export interface ForgetfulOptions {
  readonly erasures: KnownErasures;
  /** Rows of an erased visitor were dropped: the recordings of their sessions have to go as well. */
  readonly onDropped: (siteId: string, sessionIds: readonly string[]) => Promise<void>;
  /** Which of these events of a site, ids as 32 lower-case hex characters, are on their way from one of these imports that were undone. */
  readonly undoneOf: (
    siteId: string,
    importIds: readonly string[],
    ids: readonly string[],
  ) => Promise<ReadonlySet<string>>;
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
      const forgotten = await forgottenOf(options.erasures, { siteIds: unique(entries), oldest: Date.now() });
      const kept = entries.filter(({ siteId }) => !forgotten?.site(siteId, Number.POSITIVE_INFINITY));
      if (kept.length > 0) await store.addToBooks(kept, token);
    },
    quarantine: async (entries: Parameters<Written['quarantine']>[0], token: string) => {
      const readable = entries.map(({ bytes }) => bytes).filter(({ length }) => length >= MIN_ROW_BYTES);
      const oldest = Math.min((await originsOf(readable)).oldest, Date.now());
      const forgotten = await forgottenOf(options.erasures, { siteIds: unique(entries), oldest });
      const isKept = ({ siteId, table, bytes }: (typeof entries)[number]) =>
        forgotten === null ||
        bytes.length < MIN_ROW_BYTES ||
        !(
          forgotten.site(siteId, receivedAtOf(bytes)) || forgotten.visitor(siteId, table, bytes) !== undefined
        );
      const kept = entries.filter(isKept);
      options.metrics.dropped.inc(entries.length - kept.length);
      if (kept.length > 0) await store.quarantine(kept, token);
    },
  };
}

const unique = (entries: readonly { readonly siteId: string }[]): string[] => [
  ...new Set(entries.map(({ siteId }) => siteId)),
];

async function keptOf(
  table: RowTable,
  rows: readonly Uint8Array[],
  { erasures, onDropped, undoneOf, metrics }: ForgetfulOptions,
): Promise<readonly Uint8Array[]> {
  const forgotten = await forgottenOf(erasures, await originsOf(rows));
  if (forgotten === null) return rows;
  const sessions = new Map<string, Set<string>>();
  const remembered = rows.filter((row) => {
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
  const mayBeUndone = forgotten.knowsUndone && (table === 'events' || table === 'bot_events');
  const kept = mayBeUndone ? await withoutUndone(remembered, forgotten, undoneOf) : remembered;
  metrics.dropped.inc(rows.length - kept.length);
  return kept;
}

/** Without what imports have sent that were undone since. Asks for rows that were received before one was undone: few, for a moment. */
async function withoutUndone(
  rows: readonly Uint8Array[],
  forgotten: Forgotten,
  undoneOf: ForgetfulOptions['undoneOf'],
): Promise<readonly Uint8Array[]> {
  const asked = new Map<string, { readonly imports: Set<string>; readonly ids: Set<string> }>();
  const turns = new Turns();
  for (const row of rows) {
    if (turns.isOver) await turns.next();
    const siteId = siteOf(row);
    const imports = forgotten.undone(siteId, receivedAtOf(row));
    if (imports.length === 0) continue;
    const ofSite = asked.get(siteId) ?? { imports: new Set(), ids: new Set() };
    asked.set(siteId, ofSite);
    for (const id of imports) ofSite.imports.add(id);
    ofSite.ids.add(hexId(row));
  }
  const undone = new Map<string, ReadonlySet<string>>();
  for (const [siteId, { imports, ids }] of asked)
    undone.set(siteId, await undoneOf(siteId, [...imports], [...ids]));
  if (![...undone.values()].some(({ size }) => size > 0)) return rows;
  return rows.filter((row) => {
    const siteId = siteOf(row);
    const isAsked = forgotten.undone(siteId, receivedAtOf(row)).length > 0;
    return !(isAsked && undone.get(siteId)?.has(hexId(row)));
  });
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
      const forgotten = await forgottenOf(erasures, await originsOf(rows.map(({ bytes }) => bytes)));
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
