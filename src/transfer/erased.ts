import { visitorHashOf } from '../privacy/forgotten.js';
import type { ErasureStore } from '../storage/metadata/erasures.js';

/** What the writers leave out of a site, as far as an import has to know. */
export interface Erased {
  /** Rows that are received from then on are stored, ms since epoch: later than now while an erasure is under way. */
  readonly storedFrom: number;
  /** Was the visitor erased after the import was asked for? (A file that is brought in afterwards is meant to bring everybody back.) */
  has(visitorId: string): boolean;
}

/** An erasure of the site's data is under way: go on when it is over. */
export class ErasureUnderWay extends Error {
  override readonly name = 'ErasureUnderWay';
}

/** @param since when the import was asked for, ms since epoch */
export async function erasedOf(
  erasures: Pick<ErasureStore, 'of'>,
  siteId: string,
  since: number,
): Promise<Erased> {
  let until = 0;
  const visitors = new Set<string>();
  for (const { visitorHash, importId, receivedUntil } of await erasures.of([siteId])) {
    if (importId !== undefined) continue;
    if (visitorHash !== null && receivedUntil > since) visitors.add(visitorHash);
    else until = Math.max(until, receivedUntil);
  }
  return {
    storedFrom: Math.floor(until) + 1,
    has: (visitorId) => visitors.size > 0 && visitors.has(visitorHashOf(siteId, visitorId)),
  };
}
