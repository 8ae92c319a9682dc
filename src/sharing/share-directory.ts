import type { Cache } from '../storage/cache/cache.js';
import { createLookup } from '../storage/cache/lookup.js';
import type { ShareRecord, ShareStore } from '../storage/metadata/shares.js';
import type { Telemetry } from '../telemetry.js';

/** Public links, cached for seconds; unknown ones too, so that guessing costs no query each. */
export interface ShareDirectory {
  /** Null when there is no such link. */
  find(publicId: string): Promise<ShareRecord | null>;
  /** Makes all nodes forget a link: this one before the call returns, the others soon after. Never rejects. */
  changed(publicId: string): Promise<void>;
}

export interface ShareDirectoryOptions {
  readonly shares: Pick<ShareStore, 'find'>;
  readonly cache: Cache;
  readonly telemetry: Telemetry;
  /** How long a link may live on at a node that missed the notice; default 5,000. */
  readonly ttlMs?: number;
}

const CHANNEL = 'shares';
const WELL_FORMED = /^[A-Za-z0-9_-]{32}$/;

export async function createShareDirectory(options: ShareDirectoryOptions): Promise<ShareDirectory> {
  const { shares, cache, telemetry, ttlMs = 5_000 } = options;
  const links = createLookup<ShareRecord | null>({
    name: 'shares',
    maxEntries: 10_000,
    ttlMs,
    load: shares.find,
    telemetry,
  });
  await cache.subscribe(CHANNEL, links.drop);
  return {
    find: async (publicId) => (WELL_FORMED.test(publicId) ? links.get(publicId) : null),
    async changed(publicId) {
      links.drop(publicId);
      await cache.publish(CHANNEL, publicId).catch((err: unknown) => {
        telemetry.log.warn(
          { err },
          'other nodes were not told that a public link changed; they will know in seconds',
        );
      });
    },
  };
}
