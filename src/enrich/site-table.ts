import { LRUCache } from 'lru-cache';
import type { Site } from '../websites/site.js';
import { encodeStrings } from './byte-writer.js';
import type { EnrichSite } from './protocol.js';

/** A site as the worker uses it. */
export interface ReadySite extends EnrichSite {
  /** site_id column, encoded. */
  readonly encodedId: Uint8Array;
  /** Names the site and its hosts, for caches. */
  readonly key: string;
}

/** Decodes the site texts of tasks once; a changed site has another text. */
export class SiteTable {
  private readonly cache: LRUCache<string, ReadySite>;

  /** @param entries most sites to remember */
  constructor(entries: number) {
    this.cache = new LRUCache({ max: entries });
  }

  /** @param text as made by {@link encodeSite} */
  get(text: string): ReadySite {
    const known = this.cache.get(text);
    if (known !== undefined) return known;
    const site = decodeSite(text);
    this.cache.set(text, site);
    return site;
  }
}

/** A site as text for the task: JSON, since patterns may hold any character. */
export function encodeSite(site: EnrichSite): string {
  return JSON.stringify(site);
}

function decodeSite(text: string): ReadySite {
  // Our own main thread wrote this text with encodeSite.
  const site: EnrichSite = JSON.parse(text);
  return {
    ...site,
    encodedId: encodeStrings([site.siteId]),
    key: [site.siteId, site.host, ...site.allowedHosts].join('\t'),
  };
}

const known = new WeakMap<Site, EnrichSite>();

/** What the worker needs of a site; made once for as long as the directory remembers the site. */
export function enrichSite(site: Site): EnrichSite {
  const made = known.get(site);
  if (made !== undefined) return made;
  const fresh: EnrichSite = {
    id: site.id,
    siteId: site.siteId,
    host: site.host,
    allowedHosts: site.allowedHosts,
    isActive: site.isActive,
    respectDoNotTrack: site.respectDoNotTrack,
    cutAddress: site.cutAddress,
    storeAddress: site.storeAddress,
    heatmapEnabled: site.heatmapEnabled,
    heatmapInclude: site.heatmapIncludePatterns,
    heatmapExclude: site.heatmapExcludePatterns,
    funnelEnabled: site.funnelEnabled,
  };
  known.set(site, fresh);
  return fresh;
}
