/**
 * Brings a file's events into the stream, chunk by chunk. A chunk is looked up in the store, what is new of it is noted, then sent, and
 * the next one begins when the store has it. So at any moment a crash leaves at most one chunk whose events were noted and not counted, and
 * whoever goes on sends exactly those again; the writer recognises what was stored.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { AppError } from '../errors.js';
import type { SiteFrame } from '../events/frame.js';
import { StoreUnavailableError } from '../storage/events/event-store.js';
import type { ErasureStore } from '../storage/metadata/erasures.js';
import type { ImportProgress, ImportStore, TakenImport } from '../storage/metadata/imports.js';
import type { ObjectStore } from '../storage/objects/objects.js';
import { StreamUnavailableError } from '../storage/stream/stream.js';
import { type AwaitStoredOptions, awaitStored } from './await-stored.js';
import { type Erased, ErasureUnderWay, erasedOf } from './erased.js';
import { type CheckedRow, checkRow, RowRefused, type RowTarget } from './event-check.js';
import type { FileRow } from './file-rows.js';
import type { ImportedRows } from './imported-rows.js';
import { checkLease, LeaseLost, type LeaseOptions } from './lease.js';
import type { TransferMetrics } from './transfer-metrics.js';
import { rowsOfUpload } from './upload-rows.js';

export interface ImportRunOptions extends AwaitStoredOptions, LeaseOptions {
  readonly imports: Pick<ImportStore, 'progress' | 'claim'>;
  readonly objects: Pick<ObjectStore, 'get'>;
  readonly rows: Pick<ImportedRows, 'noted' | 'note' | 'forget'>;
  readonly erasures: Pick<ErasureStore, 'of'>;
  readonly publish: (frame: SiteFrame) => Promise<void>;
  /** Whether addresses of visitors are kept for a site. */
  readonly keepsAddresses: (siteId: string) => Promise<boolean>;
  readonly metrics: Pick<TransferMetrics, 'importedRows'>;
  /** Rows of a chunk. Default 10,000. */
  readonly chunkRows?: number;
  /** After so long others have their turn: between two chunks, ms. Default 3,000. */
  readonly turnMs?: number;
}

/** Why work on an import ended: its file is done, it is to be undone, or it was the turn of others. */
export type RunEnd = 'done' | 'to be undone' | 'turn over';

/** Bytes of a chunk's rows. */
const CHUNK_BYTES = 8 * 1024 * 1024;
const DAY_MS = 86_400_000;
/**
 * Events of a file are received this long before they come in: so they are not taken for visitors of this moment (those of the last five
 * minutes), and are recent enough for what looks after a crash of the store at what came last. After an erasure it is less: the writers
 * leave out what was received before its end.
 */
const RECEIVED_MS = 6 * 60_000;
const MAX_ERRORS = 20;
/** While the stream does not take more. */
const BUSY_MS = [200, 500, 1_000, 2_000, 5_000];

interface Chunk {
  /** ms since epoch */
  readonly receivedAt: number;
  readonly erased: Erased;
  readonly rows: Map<string, CheckedRow>;
  bytes: number;
  /** Rows of the file, those that are refused or come twice among them. */
  read: number;
  duplicates: number;
  readonly errors: { row: number; error: string }[];
  rejected: number;
  /** Bytes from the beginning of the file. */
  end: number;
}

/**
 * Works on an import until its file is done, or its turn is over.
 * @throws the signal's reason; LeaseLost; ErasureUnderWay, AppError, StoreUnavailableError and StreamUnavailableError when something is away:
 * go on later
 */
export async function runImport(
  options: ImportRunOptions,
  item: TakenImport,
  signal: AbortSignal,
): Promise<RunEnd> {
  const { chunkRows = 10_000, turnMs = 3_000 } = options;
  const turnEnds = Date.now() + turnMs;
  const target: Omit<RowTarget, 'receivedAt'> = {
    siteId: item.siteId,
    // Fixed, so that a row that was refused once is refused again.
    latest: item.createdAt.getTime() + DAY_MS,
    keepAddresses: await options.keepsAddresses(item.siteId),
  };
  let progress: ImportProgress = item;
  let chunk = await openChunk(options, item, item.doneBytes);
  for await (const row of rowsOfUpload(options.objects, item)) {
    signal.throwIfAborted();
    take(chunk, row, progress, { ...target, receivedAt: chunk.receivedAt });
    if (chunk.read < chunkRows && chunk.bytes < CHUNK_BYTES) continue;
    const next = await settle(options, item, chunk, progress, signal);
    if (next === null) return 'to be undone';
    if (Date.now() >= turnEnds) return 'turn over';
    progress = next;
    chunk = await openChunk(options, item, next.doneBytes);
  }
  chunk.end = item.bytes;
  return (await settle(options, item, chunk, progress, signal)) === null ? 'to be undone' : 'done';
}

/**
 * Whoever takes the import away from us to undo it notes that only after he has it, so if it is ours after the time of receipt is
 * fixed, what we send with it is left out once it is undone.
 * @throws ErasureUnderWay, LeaseLost
 */
async function openChunk(
  options: Pick<ImportRunOptions, 'erasures'> & LeaseOptions,
  item: TakenImport,
  end: number,
): Promise<Chunk> {
  const now = Date.now();
  const erased = await erasedOf(options.erasures, item.siteId, item.createdAt.getTime());
  await checkLease(options, item);
  if (erased.storedFrom > now) throw new ErasureUnderWay('data of the site is being erased');
  return {
    ...{ erased, end, rows: new Map(), errors: [] },
    receivedAt: Math.max(now - RECEIVED_MS, erased.storedFrom),
    ...{ bytes: 0, read: 0, duplicates: 0, rejected: 0 },
  };
}

function take(chunk: Chunk, row: FileRow, { rowsRead }: ImportProgress, target: RowTarget): void {
  chunk.read++;
  chunk.end = row.end;
  try {
    if (row.values === null) throw new RowRefused(row.error);
    const checked = checkRow(row.values, target);
    if (chunk.erased.has(checked.visitorId)) throw new RowRefused(ERASED);
    if (chunk.rows.has(checked.id)) {
      chunk.duplicates++;
      return;
    }
    chunk.rows.set(checked.id, checked);
    chunk.bytes += checked.record.length;
  } catch (error) {
    if (!(error instanceof RowRefused)) throw error;
    chunk.rejected++;
    if (chunk.errors.length < MAX_ERRORS)
      chunk.errors.push({ row: rowsRead + chunk.read, error: error.message });
  }
}

async function settle(
  options: ImportRunOptions,
  item: TakenImport,
  chunk: Chunk,
  before: ImportProgress,
  signal: AbortSignal,
): Promise<ImportProgress | null> {
  const { imports, rows, metrics } = options;
  const noted = await rows.noted(item.siteId, item.id, before.chunk);
  const all = [...chunk.rows.values()];
  // What an earlier attempt has noted is sent as it is. The chunk may have ended elsewhere then, so there may be others.
  const fresh = await missingOf(
    options,
    item.siteId,
    all.filter(({ id }) => !noted.has(id)),
  );
  if (fresh.length > 0) {
    await rows.note(item.siteId, item.id, before.chunk, fresh);
    await checkLease(options, item);
  }
  const added = [...all.filter(({ id }) => noted.has(id)), ...fresh];
  const lost = await send(options, item.siteId, added, chunk.rejected, signal);
  const duplicates = chunk.duplicates + chunk.rows.size - added.length;
  const errors = [...chunk.errors, ...(lost > 0 ? [{ row: before.rowsRead + 1, error: LOST }] : [])];
  const progress: ImportProgress = {
    doneBytes: chunk.end,
    chunk: before.chunk + 1,
    rowsRead: before.rowsRead + chunk.read,
    rowsAdded: before.rowsAdded + added.length - lost,
    rowsDuplicate: before.rowsDuplicate + duplicates,
    rowsRejected: before.rowsRejected + chunk.rejected + lost,
    errors: [...before.errors, ...errors].slice(0, MAX_ERRORS),
  };
  const state = await imports.progress(item.id, item.lease, progress);
  if (state === null) throw new LeaseLost('the import was taken by somebody else');
  metrics.importedRows.inc({ outcome: 'added' }, added.length - lost);
  metrics.importedRows.inc({ outcome: 'duplicate' }, duplicates);
  metrics.importedRows.inc({ outcome: 'rejected' }, chunk.rejected + lost);
  return state === 'running' ? progress : null;
}

const ERASED = 'the visitor was erased after the import began';
const LOST = 'some rows from here on were refused by the event store: see the quarantine';

async function missingOf(
  { events }: Pick<ImportRunOptions, 'events'>,
  siteId: string,
  rows: readonly CheckedRow[],
): Promise<CheckedRow[]> {
  if (rows.length === 0) return [];
  const ids = rows.map(({ id }) => Buffer.from(id, 'hex'));
  const existing = await events.existingIds([{ siteId, table: 'events', ids }]);
  return rows.filter(({ id }) => !existing.has(id));
}

/** @returns how many the store has refused */
async function send(
  options: ImportRunOptions,
  siteId: string,
  rows: readonly CheckedRow[],
  rejected: number,
  signal: AbortSignal,
): Promise<number> {
  if (rows.length === 0) return 0;
  const frame: SiteFrame = {
    ...{ siteId, source: 'import', rejected },
    received: rows.length + rejected,
    rowCount: rows.length,
    rows: rows.map(({ record }) => record),
  };
  const { received } = frame;
  return awaitStored(options, { siteId, rows, received }, () => publish(options, frame, signal), signal);
}

/** Waits while the stream is away or too full: it is for events of visitors first. */
async function publish(
  { publish: send }: ImportRunOptions,
  frame: SiteFrame,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await send(frame);
    } catch (error) {
      if (!isPassing(error)) throw error;
      await pause(BUSY_MS[Math.min(attempt, BUSY_MS.length - 1)], undefined, { signal });
    }
  }
}

/** Whether waiting helps. */
export function isPassing(error: unknown): boolean {
  if (error instanceof StoreUnavailableError || error instanceof StreamUnavailableError) return true;
  return (
    error instanceof AppError &&
    (error.code === 'storage_unavailable' || error.code === 'overloaded' || error.code === 'timeout')
  );
}
