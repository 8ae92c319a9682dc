import { setTimeout as pause } from 'node:timers/promises';
import { ERASURES_KNOWN_AFTER_MS } from '../privacy/known-erasures.js';
import type { ErasureStore } from '../storage/metadata/erasures.js';
import type { TakenImport } from '../storage/metadata/imports.js';
import type { FrameStream } from '../storage/stream/stream.js';
import type { ImportedRows } from './imported-rows.js';

export interface UndoOptions {
  readonly erasures: Pick<ErasureStore, 'noteUndone'>;
  /** Of the stream that the rows went into. */
  readonly drain: FrameStream['drain'];
  readonly rows: Pick<ImportedRows, 'undo'>;
  readonly deleteUpload: (importId: string) => Promise<void>;
  /** How long what is in the stream may take to come out of it, ms. Default 60,000. */
  readonly drainMs?: number;
}

const DRAIN_MS = 60_000;

/**
 * Removes what an import has added. Writers leave out from now on what it has sent, wherever that lies: in the spool of a node that is away,
 * or in the stream for a second time. They are given time to know of it, and the stream is drained of what was taken before.
 * May be begun anew after it failed half way.
 * @throws StoreUnavailableError, StreamUnavailableError, AppError `storage_unavailable`, the signal's reason
 */
export async function undoImport(
  options: UndoOptions,
  item: TakenImport,
  signal: AbortSignal,
): Promise<void> {
  const { erasures, drain, rows, deleteUpload, drainMs = DRAIN_MS } = options;
  if (item.format !== 'report') {
    await erasures.noteUndone(item.siteId, item.id, Date.now());
    await pause(ERASURES_KNOWN_AFTER_MS, undefined, { signal });
    await drain(AbortSignal.any([signal, AbortSignal.timeout(drainMs)]));
    await rows.undo(item.siteId, item.id);
  }
  await deleteUpload(item.id);
}
