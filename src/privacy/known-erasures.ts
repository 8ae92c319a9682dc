import { LRUCache } from 'lru-cache';
import { observe } from '../storage/cache/lookup.js';
import type { Erasure, ErasureStore } from '../storage/metadata/erasures.js';
import type { Telemetry } from '../telemetry.js';

/** The erasures as the writers of this process know them, mostly without asking the store. */
export interface KnownErasures {
  /**
   * The erasures of sites that may concern rows received at `receivedAt` (ms since epoch) or later: all that were noted
   * `ERASURES_KNOWN_AFTER_MS` before the call, and perhaps younger ones.
   * @throws AppError `storage_unavailable`
   */
  of(siteIds: readonly string[], receivedAt: number): Promise<readonly Erasure[]>;
}

/** How long it is taken for granted that no erasure was noted. */
const FRESH_MS = 500;
/** A writer that starts on a block so long after an erasure was noted, on whatever node, knows of it. */
export const ERASURES_KNOWN_AFTER_MS = FRESH_MS + 50;
/** Less than `ErasureStore.expire` keeps changes: within it no version comes back. */
const KEPT_MS = 10 * 60_000;
/** Rows are asked about in the order of their receipt, more or less. */
const SLACK_MS = 10 * 60_000;
const MOST_SITES = 25_000;
const MOST_ERASURES = 100_000;

interface Entry {
  /** The erasures are at least as new as this version. */
  readonly version: string;
  /** Those that end before are not among them. */
  readonly since: number;
  readonly erasures: readonly Erasure[];
}

interface Check {
  readonly startedAt: number;
  readonly wallTime: number;
  readonly version: Promise<string>;
}

/**
 * Asks for the version of the erasures twice a second at most, and for a site's erasures once a version. An answer is used that was asked
 * for no longer than `FRESH_MS` before, by the beginning of the question: so it shows all that was noted earlier than that.
 */
export function createKnownErasures(
  store: Pick<ErasureStore, 'of' | 'version'>,
  { registry }: Pick<Telemetry, 'registry'>,
): KnownErasures {
  const entries = new LRUCache<string, Entry>({
    max: MOST_SITES,
    ttl: KEPT_MS,
    maxSize: MOST_SITES + MOST_ERASURES,
    sizeCalculation: ({ erasures }) => 1 + erasures.length,
  });
  const loads = observe(registry, 'erasures', () => entries.size);
  let last: Check | undefined;

  const version = (): Promise<string> => {
    if (last !== undefined && isFresh(last)) return last.version;
    const check = { startedAt: performance.now(), wallTime: Date.now(), version: store.version() };
    last = check;
    check.version.catch(() => {
      if (last === check) last = undefined;
    });
    return check.version;
  };

  const load = async (siteIds: readonly string[], label: string, oldest: number): Promise<Erasure[]> => {
    loads.inc(siteIds.length);
    const since = Math.max(0, oldest - SLACK_MS);
    const found = await store.of(siteIds, since);
    const bySite = new Map<string, Erasure[]>(siteIds.map((siteId) => [siteId, []]));
    for (const erasure of found) bySite.get(erasure.siteId)?.push(erasure);
    for (const [siteId, erasures] of bySite) entries.set(siteId, { version: label, since, erasures });
    return found;
  };

  return {
    async of(siteIds, receivedAt) {
      // A row that makes no sense may bear any time.
      const oldest = Math.min(Math.max(0, receivedAt), Date.now());
      const label = await version();
      const found: Erasure[] = [];
      const missing: string[] = [];
      for (const siteId of siteIds) {
        const entry = entries.get(siteId);
        if (entry?.version === label && entry.since <= oldest) found.push(...entry.erasures);
        else missing.push(siteId);
      }
      return missing.length === 0 ? found : found.concat(await load(missing, label, oldest));
    },
  };
}

/** By both clocks: one stands while a machine sleeps, the other may be set back. */
const isFresh = ({ startedAt, wallTime }: Check): boolean =>
  performance.now() - startedAt < FRESH_MS && Math.abs(Date.now() - wallTime) < FRESH_MS;
