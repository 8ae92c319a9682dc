import type { Cache } from '../storage/cache/cache.js';

const DAY_MS = 86_400_000;

export interface RecordingQuota {
  /** Has the site used up its day? */
  isUsedUp(siteId: string): Promise<boolean>;
  add(siteId: string, bytes: number): Promise<void>;
}

/**
 * Compressed bytes that a site may record in a UTC day, counted in the cache that all nodes share. The upload that passes the limit is
 * still taken. When the cache does not answer, nothing is refused.
 * @param limitBytes 0: no limit, and nothing is counted
 */
export function createRecordingQuota(
  cache: Pick<Cache, 'get' | 'increment'>,
  limitBytes: number,
  now: () => number = Date.now,
): RecordingQuota {
  const key = (siteId: string) => `recorded:${siteId}:${Math.floor(now() / DAY_MS)}`;
  return {
    async isUsedUp(siteId) {
      if (limitBytes === 0) return false;
      const used = await cache.get(key(siteId)).catch(() => null);
      return used !== null && Number(used) >= limitBytes;
    },
    async add(siteId, bytes) {
      if (limitBytes === 0) return;
      await cache.increment(key(siteId), bytes, 2 * DAY_MS).catch(() => 0);
    },
  };
}
