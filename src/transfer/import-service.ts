import { setTimeout as pause } from 'node:timers/promises';
import { AppError } from '../errors.js';
import type { ImportLimits, ImportRecord, ImportStore } from '../storage/metadata/imports.js';
import type { ObjectStore } from '../storage/objects/objects.js';
import { recognise } from './recognise.js';
import { deleteUpload, type StoredUpload, storeUpload } from './upload.js';

export interface ImportServiceOptions {
  readonly imports: ImportStore;
  readonly objects: ObjectStore;
  /** Of a file's text. */
  readonly limitBytes: number;
  /** Imports with work to do that an account may have, of all its websites. */
  readonly maxWaiting: number;
  /** Tells that there is work. */
  readonly wake: () => void;
  /** How long a caller waits for a small import or an undoing, ms. Default 5,000. */
  readonly waitMs?: number;
}

/** Files of events, and reports, that are brought into a site. */
export interface ImportService {
  /** Stores a file while it arrives. @throws AppError as `storeUpload` */
  receive(bytes: AsyncIterable<Uint8Array>): Promise<StoredUpload>;
  discard(upload: StoredUpload): Promise<void>;
  /**
   * Begins an import and waits a few seconds for its end.
   * @returns the import as it is then
   * @throws AppError `invalid_request` when the file is nothing known, `limit_reached`; it is discarded
   */
  begin(
    site: { readonly id: string; readonly siteId: string },
    userId: string,
    upload: StoredUpload & { readonly fileName: string },
    signal: AbortSignal,
  ): Promise<ImportRecord>;
  /** Newest first, a hundred at most, without what reports say. */
  list(websiteId: string): Promise<ImportRecord[]>;
  /** @throws AppError `not_found` */
  get(websiteId: string, id: string): Promise<ImportRecord>;
  /** Begins to remove what an import has added, and waits a few seconds for it. @throws AppError `not_found` */
  undo(websiteId: string, id: string, signal: AbortSignal): Promise<ImportRecord>;
}

const MAX_LISTED = 100;
const LIMITS: Omit<ImportLimits, 'ofOwner'> = { all: 10_000, reports: 100, waiting: 20 };
const POLL_MS = 50;
const MAX_NAME = 255;

export function createImportService(options: ImportServiceOptions): ImportService {
  const { imports, objects, limitBytes, maxWaiting, wake, waitMs = 5_000 } = options;

  const found = (record: ImportRecord | null): ImportRecord => {
    if (record === null) throw new AppError('not_found', 'Import not found');
    return record;
  };

  const settled = async (record: ImportRecord, signal: AbortSignal): Promise<ImportRecord> => {
    const until = Date.now() + waitMs;
    let now = record;
    while (isPending(now) && Date.now() < until && !signal.aborted) {
      await pause(POLL_MS);
      now = found(await imports.find(record.websiteId, record.id));
    }
    return now;
  };

  return {
    receive: (bytes) => storeUpload(objects, bytes, limitBytes),
    discard: ({ id }) => deleteUpload(objects, id),

    async begin(site, userId, upload, signal) {
      const { id, bytes, head } = upload;
      try {
        const file = recognise(head, bytes);
        const isReport = file.format === 'report';
        const item = {
          ...{ id, bytes, userId, websiteId: site.id, siteId: site.siteId, format: file.format },
          fileName: upload.fileName.slice(0, MAX_NAME),
          report: isReport ? file.report : null,
          rows: isReport ? file.figures : 0,
        };
        const record = await imports.create(item, { ...LIMITS, ofOwner: maxWaiting });
        if (record === null) throw tooMany(maxWaiting);
        if (isReport) await deleteUpload(objects, id);
        else wake();
        return await settled(record, signal);
      } catch (error) {
        if (error instanceof AppError && REFUSED.has(error.code)) await deleteUpload(objects, id);
        throw error;
      }
    },

    list: (websiteId) => imports.list(websiteId, MAX_LISTED),

    async get(websiteId, id) {
      return found(await imports.find(websiteId, id));
    },

    async undo(websiteId, id, signal) {
      const record = found(await imports.requestUndo(websiteId, id));
      wake();
      return settled(record, signal);
    },
  };
}

const REFUSED: ReadonlySet<string> = new Set(['invalid_request', 'limit_reached']);

const tooMany = (ofOwner: number): AppError =>
  new AppError(
    'limit_reached',
    `A website has at most ${LIMITS.waiting} imports at work, all of an account together ${ofOwner}; and ${LIMITS.reports} reports and ${LIMITS.all} imports: wait, or undo some`,
  );

/** Whether something is still to be done about it. */
export function isPending({ state }: Pick<ImportRecord, 'state'>): boolean {
  return state === 'queued' || state === 'running' || state === 'undoing';
}
