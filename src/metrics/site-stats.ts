import { LRUCache } from 'lru-cache';
import { Counter, Gauge } from 'prom-client';
import type { Telemetry } from '../telemetry.js';
import { meanSeconds, percent } from './figures.js';
import { periodOf, zoneOf } from './period.js';

/** A site's page views in a period, their visitors, and the sessions that started in it, each seen whole (metrics.md). */
export interface SiteTotals {
  readonly views: number;
  readonly visitors: number;
  readonly sessions: number;
  readonly bounces: number;
  /** Sum over the sessions. */
  readonly durationMs: number;
}

/** Two adapters: ClickHouse and Postgres. */
export interface SiteTotalsStore {
  /**
   * In one go; sites without anything may be absent.
   * @param from ms since epoch, a full quarter of an hour
   * @param to first instant that is no longer part of it, likewise
   * @throws AppError `storage_unavailable`, `timeout`, `query_too_expensive`
   */
  ofSites(
    siteIds: readonly string[],
    from: number,
    to: number,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, SiteTotals>>;
}

/** What the list of websites shows of one (contract 4, 20): of the last 30 days, in UTC. */
export interface SiteStats {
  readonly totalPageviews: number;
  readonly uniqueVisitors: number;
  /** Seconds. */
  readonly averageSessionDuration: number;
  /** Percent. */
  readonly bounceRate: number;
}

export interface SiteStatsOptions {
  readonly store: SiteTotalsStore;
  readonly telemetry: Telemetry;
  /** How long an answer serves before it is made anew; default 20,000 ms. */
  readonly ttlMs?: number;
  /** Who asks waits so long and then gets what is known; default 1,000 ms. */
  readonly waitMs?: number;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

/** Figures of websites beside their settings; never fails and never keeps who asks waiting for long. */
export interface SiteStatsReader {
  /** By site id; a site of which nothing is known in time is absent. */
  of(siteIds: readonly string[]): Promise<ReadonlyMap<string, SiteStats>>;
}

const DAYS = 30;
const SLOT_MS = 900_000;
const SITES_A_QUERY = 200;
const TIMEOUT_MS = 30_000;
/** Older answers are no longer shown where newer ones cannot be had. */
const STALE_MS = 3_600_000;

export function createSiteStats(options: SiteStatsOptions): SiteStatsReader {
  const { store, telemetry, ttlMs = 20_000, waitMs = 1_000, clock = Date.now } = options;
  const registers = [telemetry.registry];
  const known = new LRUCache<string, { readonly stats: SiteStats; readonly at: number }>({
    max: 10_000,
    ttl: STALE_MS,
  });
  const counting = new Map<string, Promise<void>>();
  const queries = new Counter({
    name: 'seentics_site_stats_queries_total',
    help: 'Queries for the figures beside websites, by outcome',
    labelNames: ['outcome'],
    registers,
  });
  new Gauge({
    name: 'seentics_site_stats_sites',
    help: 'Websites whose figures are kept, and those being counted',
    labelNames: ['state'],
    registers,
    collect() {
      this.set({ state: 'kept' }, known.size);
      this.set({ state: 'counting' }, counting.size);
    },
  });

  const count = async (siteIds: readonly string[]): Promise<void> => {
    const at = performance.now();
    const now = clock();
    const { from } = periodOf({ days: DAYS }, zoneOf('UTC'), now);
    const to = Math.ceil((now + 1) / SLOT_MS) * SLOT_MS;
    try {
      const totals = await store.ofSites(siteIds, from, to, AbortSignal.timeout(TIMEOUT_MS));
      for (const id of siteIds) known.set(id, { stats: statsOf(totals.get(id) ?? NOTHING), at });
      queries.inc({ outcome: 'answered' });
    } catch {
      // They are an extra beside websites: readiness and the figures' own endpoints tell that the store is away.
      queries.inc({ outcome: 'failed' });
    } finally {
      for (const id of siteIds) counting.delete(id);
    }
  };
  const start = (siteIds: readonly string[]) => {
    for (let first = 0; first < siteIds.length; first += SITES_A_QUERY) {
      const some = siteIds.slice(first, first + SITES_A_QUERY);
      const work = count(some);
      for (const id of some) counting.set(id, work);
    }
  };
  return {
    async of(siteIds) {
      const isOld = (id: string) => performance.now() - (known.get(id)?.at ?? -Infinity) > ttlMs;
      const old = [...new Set(siteIds)].filter(isOld);
      start(old.filter((id) => !counting.has(id)));
      const work = new Set(old.flatMap((id) => counting.get(id) ?? []));
      if (work.size > 0) await within(waitMs, Promise.all(work));
      return new Map(
        siteIds.flatMap((id) => {
          const stats = known.get(id)?.stats;
          return stats ? [[id, stats] as const] : [];
        }),
      );
    },
  };
}

const NOTHING: SiteTotals = { views: 0, visitors: 0, sessions: 0, bounces: 0, durationMs: 0 };

function statsOf({ views, visitors, sessions, bounces, durationMs }: SiteTotals): SiteStats {
  return {
    totalPageviews: views,
    uniqueVisitors: visitors,
    averageSessionDuration: meanSeconds(durationMs, sessions),
    bounceRate: percent(bounces, sessions),
  };
}

function within(ms: number, work: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    void work.then(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
