import type { ImportStore, TakenImport } from '../storage/metadata/imports.js';
import type { ImportedRows } from './imported-rows.js';

/** Somebody else works on the import, or it is gone with its website. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost';
}

export interface LeaseOptions {
  readonly imports: Pick<ImportStore, 'claim'>;
  readonly rows: Pick<ImportedRows, 'forget'>;
  readonly deleteUpload: (importId: string) => Promise<void>;
}

/**
 * Makes sure that the import is still ours. Who removes a website removes its imports before their notes, so whoever finds
 * the import gone after noting rows of it is the one to remove these.
 * @throws LeaseLost
 */
export async function checkLease(options: LeaseOptions, { id, siteId, lease }: TakenImport): Promise<void> {
  const claim = await options.imports.claim(id, lease);
  if (claim === 'held') return;
  if (claim === 'gone') {
    await options.rows.forget(siteId, id);
    await options.deleteUpload(id);
  }
  throw new LeaseLost(`the import is ${claim}`);
}
