import { LRUCache } from 'lru-cache';
import { Counter, Gauge } from 'prom-client';
import { AppError, type ErrorCode } from '../errors.js';
import type { Telemetry } from '../telemetry.js';
import { meanSeconds, percent } from './figures.js';
import { SLOT_MS } from './metrics-store.js';
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
  /** A website whose figures could not be had is left alone at least so long; default 60,000 ms. */
  readonly restMs?: number;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

/** Figures of websites beside their settings; never fails and never keeps who asks waiting for long. */
export interface SiteStatsReader {
  /** By site id; a site of which nothing is known in time is absent. */
  of(siteIds: readonly string[]): Promise<ReadonlyMap<string, SiteStats>>;
}

const DAYS = 30;
const SITES_A_QUERY = 200;
/** Longest time of a query for many websites; one alone may take longer. */
const TIMEOUT_MS = 5_000;
const ALONE_TIMEOUT_MS = 30_000;
/** What took longer is asked for in smaller parts from then on. */
const SLOW_MS = 2_000;
/** Parts of a query that was too much are asked for until then. */
const PARTS_MS = 120_000;
/** What is slow or fails rests so many times as long as it took: no website fills more than a twentieth of a connection's time. */
const REST_FACTOR = 20;
const MAX_COUNTING = 10_000;
/** Failures that fewer websites in a query may avoid. */
const TOO_MUCH: ReadonlySet<ErrorCode> = new Set(['query_too_expensive', 'timeout']);
/** Older answers are no longer shown where newer ones cannot be had. */
const STALE_MS = 3_600_000;

export function createSiteStats(options: SiteStatsOptions): SiteStatsReader {
  const { store, telemetry, ttlMs = 20_000, waitMs = 1_000, restMs = 60_000, clock = Date.now } = options;
  const registers = [telemetry.registry];
  const known = new LRUCache<string, { readonly stats: SiteStats; readonly at: number }>({
    max: 10_000,
    ttl: STALE_MS,
  });
  const heavy = new LRUCache<string, Weight>({ max: 10_000, ttl: STALE_MS });
  const counting = new Map<string, Promise<void>>();
  /** One query at a time in each, so that none spends its time waiting for another. */
  const lanes = { together: Promise.resolve(), alone: Promise.resolve() };
  const queries = new Counter({
    name: 'seentics_site_stats_queries_total',
    help: 'Queries for the figures beside websites, by outcome',
    labelNames: ['outcome'],
    registers,
  });
  new Gauge({
    name: 'seentics_site_stats_sites',
    help: 'Websites whose figures are kept, those being counted, and those of which it was slow or failed within an hour',
    labelNames: ['state'],
    registers,
    collect() {
      this.set({ state: 'kept' }, known.size);
      this.set({ state: 'counting' }, counting.size);
      this.set({ state: 'heavy' }, heavy.size);
    },
  });

  const mostOf = (id: string) => heavy.get(id)?.most ?? SITES_A_QUERY;
  const rest = (siteIds: readonly string[], ms: number) => {
    const until = performance.now() + ms;
    for (const id of siteIds) heavy.set(id, { most: mostOf(id), until });
  };
  /** Of what was asked for alone: with how many of its kind it may be together again. */
  const weigh = (siteIds: readonly string[], ms: number) => {
    const most = Math.min(SITES_A_QUERY, Math.max(1, Math.floor(SLOW_MS / Math.max(ms, 1))));
    for (const id of siteIds) heavy.set(id, { most, until: 0 });
    if (most === 1) rest(siteIds, REST_FACTOR * ms);
  };
  const part = (siteIds: readonly string[]): string[][] => {
    const most = Math.ceil(siteIds.length / 2);
    for (const id of siteIds) heavy.set(id, { most, until: 0 });
    return [siteIds.slice(0, most), siteIds.slice(most)].filter((ids) => ids.length > 0);
  };
  /** @returns what is still to be asked for */
  const count = async (
    siteIds: readonly string[],
    isAlone: boolean,
    giveUpAt: number,
  ): Promise<string[][]> => {
    const at = performance.now();
    if (at >= giveUpAt) {
      rest(siteIds, restMs);
      return [];
    }
    const signal = AbortSignal.timeout(isAlone ? ALONE_TIMEOUT_MS : TIMEOUT_MS);
    try {
      const totals = await store.ofSites(siteIds, ...rangeAt(clock()), signal);
      for (const id of siteIds) known.set(id, { stats: statsOf(totals.get(id) ?? NOTHING), at });
      queries.inc({ outcome: 'answered' });
      const ms = performance.now() - at;
      if (isAlone) weigh(siteIds, ms);
      else if (ms > SLOW_MS) part(siteIds);
      return [];
    } catch (error) {
      // They are an extra beside websites: readiness and the figures' own endpoints tell that the store is away.
      queries.inc({ outcome: 'failed' });
      const isTooMuch = signal.aborted || (error instanceof AppError && TOO_MUCH.has(error.code));
      // One large website must not take the figures from all others.
      if (isTooMuch && !isAlone) return part(siteIds);
      rest(siteIds, Math.max(restMs, REST_FACTOR * (performance.now() - at)));
      return [];
    }
  };
  /** Parts come after what waits already. */
  const ask = async (siteIds: readonly string[], giveUpAt: number): Promise<void> => {
    const lane = siteIds.every((id) => mostOf(id) === 1) ? 'alone' : 'together';
    const asked = lanes[lane].then(() => count(siteIds, lane === 'alone', giveUpAt));
    lanes[lane] = asked.then(() => {});
    const parts = await asked;
    await Promise.all(parts.map((ids) => ask(ids, giveUpAt)));
  };
  const start = (siteIds: readonly string[]) => {
    const some = siteIds.slice(0, Math.max(0, MAX_COUNTING - counting.size));
    for (const group of groupsOf(some, mostOf)) {
      const work = ask(group, performance.now() + PARTS_MS).finally(() => {
        for (const id of group) counting.delete(id);
      });
      for (const id of group) counting.set(id, work);
    }
  };
  return {
    async of(siteIds) {
      const isOld = (id: string) => performance.now() - (known.get(id)?.at ?? -Infinity) > ttlMs;
      const old = [...new Set(siteIds)].filter(isOld);
      const mayBeAsked = (id: string) => performance.now() >= (heavy.get(id)?.until ?? 0);
      start(old.filter((id) => !counting.has(id) && mayBeAsked(id)));
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

/** What is known of a website whose figures are slow or could not be had. */
interface Weight {
  /** A query with more websites than so many was too much. */
  readonly most: number;
  /** It is not asked for before, on the clock of `performance`. */
  readonly until: number;
}

/** Websites that are asked for together: large groups first, each of those that may be together with so many. */
function groupsOf(siteIds: readonly string[], mostOf: (id: string) => number): string[][] {
  const bySize = new Map<number, string[]>();
  for (const id of siteIds) {
    const most = mostOf(id);
    const ids = bySize.get(most) ?? [];
    bySize.set(most, ids);
    ids.push(id);
  }
  return [...bySize]
    .sort(([a], [b]) => b - a)
    .flatMap(([size, ids]) =>
      Array.from({ length: Math.ceil(ids.length / size) }, (_, i) => ids.slice(i * size, (i + 1) * size)),
    );
}

/** The last 30 days, in UTC. */
function rangeAt(now: number): [from: number, to: number] {
  const { from } = periodOf({ days: DAYS }, zoneOf('UTC'), now);
  return [from, Math.ceil((now + 1) / SLOT_MS) * SLOT_MS];
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
