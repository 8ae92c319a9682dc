import type { Cache } from '../storage/cache/cache.js';
import type { Logger } from '../telemetry.js';

export interface SiteIds {
  readonly id: string;
  readonly siteId: string;
}

/** Tells every node that something about a site changed, so that caches forget it. */
export interface SiteNotices {
  /** Listeners forget the site at once; they must bound what they keep by time as well, since a notice may get lost. */
  onChange(listener: (site: SiteIds) => void): void;
  /** This node has forgotten when the call returns, the others soon after. Never rejects. */
  changed(site: SiteIds): Promise<void>;
}

const CHANNEL = 'sites';

export async function createSiteNotices(cache: Cache, log: Logger): Promise<SiteNotices> {
  const listeners: ((site: SiteIds) => void)[] = [];
  const tell = (site: SiteIds) => {
    for (const listener of listeners) listener(site);
  };
  await cache.subscribe(CHANNEL, (message) => {
    const [siteId, id] = message.split(' ');
    if (siteId !== undefined && id !== undefined) tell({ siteId, id });
  });
  return {
    onChange: (listener) => void listeners.push(listener),
    async changed(site) {
      tell(site);
      await cache.publish(CHANNEL, `${site.siteId} ${site.id}`).catch((error: unknown) => {
        log.warn({ err: error }, 'other nodes were not told that a site changed; they will know within 30 s');
      });
    },
  };
}
