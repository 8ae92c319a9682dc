import { LRUCache } from 'lru-cache';
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

/** A site as one line of text for the task: fields by tab (none of them can hold one), allowed hosts last. */
export function encodeSite(site: EnrichSite): string {
  return [site.id, site.siteId, site.isActive ? '1' : '0', site.host, ...site.allowedHosts].join('\t');
}

function decodeSite(text: string): ReadySite {
  const [id = '', siteId = '', active = '', host = '', ...allowedHosts] = text.split('\t');
  return {
    id,
    siteId,
    host,
    allowedHosts,
    isActive: active === '1',
    encodedId: encodeStrings([siteId]),
    key: `${siteId}\t${host}\t${allowedHosts.join('\t')}`,
  };
}
