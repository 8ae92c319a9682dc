import type { ImportStore } from '../storage/metadata/imports.js';
import type { ImportedRows } from './imported-rows.js';

/**
 * Tells which rows on their way to the store are those of imports that were undone. What an import that runs now has noted is its own: the
 * file may have come again meanwhile. (One that is done has nothing on its way any more.)
 */
export function createUndoneRows(
  rows: Pick<ImportedRows, 'added'>,
  imports: Pick<ImportStore, 'running'>,
): (siteId: string, undone: readonly string[], ids: readonly string[]) => Promise<ReadonlySet<string>> {
  return async (siteId, undone, ids) => {
    const sent = await rows.added(siteId, undone, ids);
    if (sent.size === 0) return sent;
    const running = await imports.running(siteId);
    if (running.length === 0) return sent;
    const own = await rows.added(siteId, running, [...sent]);
    return new Set([...sent].filter((id) => !own.has(id)));
  };
}
