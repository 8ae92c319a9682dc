import { LRUCache } from 'lru-cache';
import { createBatchLoader } from '../storage/cache/batch-loader.js';
import { observe } from '../storage/cache/lookup.js';
import type { WebsiteStore } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';
import type { Site, SiteDirectory } from './site.js';
import type { SiteNotices } from './site-notices.js';
import { siteFrom } from './website.js';

export interface SiteDirectoryOptions {
  readonly websites: Pick<WebsiteStore, 'findMany'>;
  readonly notices: Pick<SiteNotices, 'onChange'>;
  readonly telemetry: Telemetry;
  /** Longest time that a change may stay unseen when its notice got lost; default 30,000. */
  readonly ttlMs?: number;
  /** How long an unknown id stays unknown; default 10,000. */
  readonly unknownTtlMs?: number;
  /** Known sites kept; default 25,000 (about 30 MB). */
  readonly maxSites?: number;
  /** Milliseconds since epoch; for tests. */
  readonly now?: () => number;
}

/** How long a known site may serve on while the store cannot be reached, so that ingestion outlives it. */
const MAX_STALE_MS = 60 * 60_000;
/** Unknown ids have a room of their own: a flood of them pushes no known site out. */
const MAX_UNKNOWN = 10_000;

interface Entry {
  readonly site: Site;
  readonly loadedAt: number;
  /** From then on it is read again behind, while it serves on. */
  refreshAt: number;
  freshUntil: number;
}

/** The sites of this instance, cached under both id forms. Ids that miss at the same time are asked for in one query. */
export function createSiteDirectory(options: SiteDirectoryOptions): SiteDirectory {
  const { websites, telemetry, ttlMs = 30_000, unknownTtlMs = 10_000, now = Date.now } = options;
  const entries = new LRUCache<string, Entry>({ max: 2 * (options.maxSites ?? 25_000) });
  const unknown = new LRUCache<string, number>({ max: MAX_UNKNOWN });
  const loads = observe(telemetry.registry, 'sites', () => entries.size);
  observe(telemetry.registry, 'unknown_sites', () => unknown.size);
  let changes = 0;

  const loader = createBatchLoader<Site>({
    maxBatch: 500,
    maxQueries: 2,
    maxLoading: 10_000,
    async loadMany(keys) {
      loads.inc(keys.length);
      const sites = (await websites.findMany(keys)).map(siteFrom);
      return new Map(sites.flatMap((site) => [[site.id, site] as const, [site.siteId, site] as const]));
    },
  });

  options.notices.onChange(({ id, siteId }) => {
    changes++;
    for (const key of [id, siteId]) {
      entries.delete(key);
      unknown.delete(key);
      loader.drop(key);
    }
  });

  const keep = (key: string, site: Site | null) => {
    const time = now();
    if (!site) {
      entries.delete(key);
      unknown.set(key, time + unknownTtlMs);
      return;
    }
    const entry = { site, loadedAt: time, refreshAt: time + ttlMs / 2, freshUntil: time + ttlMs };
    entries.set(site.id, entry);
    entries.set(site.siteId, entry);
  };

  const load = async (key: string): Promise<Site | null> => {
    const seen = changes;
    try {
      const site = await loader.load(key);
      // After a notice, what was read may be older than it: answered, but not kept.
      if (seen === changes) keep(key, site);
      return site;
    } catch (error) {
      const entry = entries.get(key);
      const time = now();
      if (!entry || time - entry.loadedAt > MAX_STALE_MS) throw error;
      entry.refreshAt = time + ttlMs / 2;
      entry.freshUntil = time + ttlMs;
      return entry.site;
    }
  };

  const peek = (id: string): Site | null | undefined => {
    const entry = entries.get(id);
    if (entry) {
      const time = now();
      if (time >= entry.freshUntil) return undefined;
      if (time >= entry.refreshAt) {
        entry.refreshAt = entry.freshUntil;
        load(id).catch(() => {});
      }
      return entry.site;
    }
    const key = canonicalId(id);
    if (key === null) return null;
    if (key !== id) return peek(key);
    const unknownUntil = unknown.get(key);
    return unknownUntil !== undefined && now() < unknownUntil ? null : undefined;
  };

  return {
    peek,
    async resolve(id) {
      const known = peek(id);
      return known === undefined ? load(canonicalId(id) ?? id) : known;
    },
  };
}

/** The id as stored, or null when it has the form of neither a UUID nor a public site id. */
export function canonicalId(id: string): string | null {
  if (id.length === 24 && /^[0-9a-f]+$/i.test(id)) return id.toLowerCase();
  if (id.length === 36 && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) return id.toLowerCase();
  return null;
}
