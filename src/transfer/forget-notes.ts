import type { ImportStore } from '../storage/metadata/imports.js';
import type { ImportedRows } from './imported-rows.js';

const IMPORTS_A_QUESTION = 1_000;

/**
 * Removes notes that nobody needs any more: of imports that were undone so long ago that nothing they have sent can still be under way, and
 * what a node that died has noted of one that was gone.
 */
export async function forgetNotes(
  rows: Pick<ImportedRows, 'imports' | 'forget'>,
  imports: Pick<ImportStore, 'noteworthy'>,
): Promise<void> {
  const all = await rows.imports();
  for (let at = 0; at < all.length; at += IMPORTS_A_QUESTION) {
    const some = all.slice(at, at + IMPORTS_A_QUESTION);
    const needed = await imports.noteworthy(some.map(({ importId }) => importId));
    for (const { siteId, importId } of some) if (!needed.has(importId)) await rows.forget(siteId, importId);
  }
}
