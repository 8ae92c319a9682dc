import { LRUCache } from 'lru-cache';
import { observe } from '../storage/cache/lookup.js';
import type { Telemetry } from '../telemetry.js';
import type { SiteNotices } from './site-notices.js';

export interface TrackedPagesOptions {
  /** Pages of a site that have heat points; already limited in number. */
  readonly load: (siteId: string) => Promise<readonly string[]>;
  readonly notices: Pick<SiteNotices, 'onChange'>;
  readonly telemetry: Telemetry;
  /** Age from which a list is read again behind, while it serves on; default 60,000 ms. */
  readonly refreshMs?: number;
  /** How long a first caller waits for the list; default 500 ms. */
  readonly waitMs?: number;
}

/** Characters of all lists together. */
const MAX_CHARACTERS = 16_000_000;
/** Of one list: it goes out with every page load, and anybody may send points of long pages that do not exist. */
const MAX_LIST_CHARACTERS = 32_000;
const MAX_LOADING = 8;

interface Entry {
  readonly pages: readonly string[];
  refreshAt: number;
}

/**
 * Pages of sites that have heat points, for the answers to trackers: never a query a page load, and never a tracker that waits for an
 * event store that is slow or away. Without a list the answer is empty.
 */
export function createTrackedPages(
  options: TrackedPagesOptions,
): (siteId: string) => Promise<readonly string[]> {
  const { refreshMs = 60_000, waitMs = 500 } = options;
  const entries = new LRUCache<string, Entry>({
    max: 20_000,
    maxSize: MAX_CHARACTERS,
    sizeCalculation: ({ pages }) => pages.reduce((sum, page) => sum + page.length + 16, 64),
  });
  const loading = new Map<string, Promise<readonly string[]>>();
  const loads = observe(options.telemetry.registry, 'tracked_pages', () => entries.size);

  const keep = (siteId: string, pages: readonly string[]) =>
    entries.set(siteId, { pages, refreshAt: Date.now() + refreshMs });

  /** Never rejects; what was known before serves on when the store does not answer. */
  const load = (siteId: string): Promise<readonly string[]> => {
    const under = loading.get(siteId);
    if (under !== undefined) return under;
    if (loading.size >= MAX_LOADING) return Promise.resolve(NONE);
    loads.inc();
    const promise = options
      .load(siteId)
      .then(fitting)
      .catch(() => entries.peek(siteId)?.pages ?? NONE)
      .then((pages) => {
        if (loading.get(siteId) === promise) {
          loading.delete(siteId);
          keep(siteId, pages);
        }
        return pages;
      });
    loading.set(siteId, promise);
    return promise;
  };

  options.notices.onChange(({ siteId }) => {
    entries.delete(siteId);
    // What is being read may be older than the notice.
    loading.delete(siteId);
  });

  return async (siteId) => {
    const entry = entries.get(siteId);
    if (entry === undefined) return within(waitMs, load(siteId));
    if (Date.now() >= entry.refreshAt) {
      entry.refreshAt = Date.now() + refreshMs;
      void load(siteId);
    }
    return entry.pages;
  };
}

const NONE: readonly string[] = [];

/** The pages that fit, in their order; one that is too long costs those behind it nothing. */
function fitting(pages: readonly string[]): readonly string[] {
  let left = MAX_LIST_CHARACTERS;
  return pages.filter((page) => {
    if (page.length > left) return false;
    left -= page.length;
    return true;
  });
}

async function within(ms: number, answer: Promise<readonly string[]>): Promise<readonly string[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<readonly string[]>((resolve) => {
    timer = setTimeout(resolve, ms, NONE);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
