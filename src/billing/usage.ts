import { AppError } from '../errors.js';
import type { HeatStore } from '../heatmaps/heat-store.js';
import type { ReplayStore } from '../replays/replay-store.js';
import { createLookup } from '../storage/cache/lookup.js';
import { type BookTotals, type EventStore, StoreUnavailableError } from '../storage/events/event-store.js';
import type { AccountCountStore } from '../storage/metadata/account-counts.js';
import type { Telemetry } from '../telemetry.js';

/** How much of everything an account has, on the websites that it owns. */
export interface Usage {
  readonly websites: number;
  readonly funnels: number;
  readonly automations: number;
  /** Pages with heat points. */
  readonly heatmaps: number;
  /** Recorded sessions. */
  readonly replays: number;
  /** Events stored since the first of the UTC month, from trackers and imports; bots are not counted. */
  readonly monthlyEvents: number;
}

export interface UsageServiceOptions {
  readonly counts: AccountCountStore;
  readonly events: Pick<EventStore, 'books'>;
  readonly heat: Pick<HeatStore, 'trackedPages'>;
  readonly replays: Pick<ReplayStore, 'countSessions'>;
  readonly telemetry: Telemetry;
  /** How long what the event store said of a website serves; default 10,000 ms. */
  readonly ttlMs?: number;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

export interface UsageService {
  /** @throws AppError as the stores do, and `overloaded` */
  of(userId: string): Promise<Usage>;
}

/** Websites that are asked about at the same time for one account. */
const SITES_AT_ONCE = 4;
/** More pages of a site are counted as this many. */
const MAX_PAGES = 10_000;
const TIMEOUT_MS = 15_000;
/** For all accounts together. */
const MAX_COMPUTING = 80;

export function createUsageService(options: UsageServiceOptions): UsageService {
  const { counts, events, heat, replays, telemetry, ttlMs = 10_000, clock = Date.now } = options;

  const sites = createLookup({
    ...{ name: 'usage', maxEntries: 20_000, maxLoading: MAX_COMPUTING, ttlMs, telemetry },
    async load(siteId: string) {
      const now = clock();
      const [pages, sessions, books] = await Promise.all([
        heat.trackedPages(siteId, MAX_PAGES, AbortSignal.timeout(TIMEOUT_MS)),
        replays.countSessions({ siteId, limit: 1, offset: 0 }),
        events.books(siteId, startOfMonth(now), now + 1),
      ]);
      return { heatmaps: pages.length, replays: sessions, monthlyEvents: eventsIn(books) };
    },
  });

  const compute = async (userId: string): Promise<Usage> => {
    const { siteIds, funnels, automations } = await counts.of(userId);
    let [heatmaps, recorded, monthlyEvents] = [0, 0, 0];
    const waiting = siteIds.values();
    const turn = async () => {
      for (const siteId of waiting) {
        const site = await sites.get(siteId);
        heatmaps += site.heatmaps;
        recorded += site.replays;
        monthlyEvents += site.monthlyEvents;
      }
    };
    await Promise.all(Array.from({ length: SITES_AT_ONCE }, turn));
    return { websites: siteIds.length, funnels, automations, heatmaps, replays: recorded, monthlyEvents };
  };

  return {
    async of(userId) {
      try {
        return await compute(userId);
      } catch (cause) {
        if (!(cause instanceof StoreUnavailableError)) throw cause;
        throw new AppError('storage_unavailable', 'The event store is not reachable', { cause });
      }
    },
  };
}

const EVENT_SOURCES: ReadonlySet<BookTotals['source']> = new Set(['event', 'batch', 'import', 'replay']);

function eventsIn(books: readonly BookTotals[]): number {
  return books.reduce((sum, { source, stored }) => sum + (EVENT_SOURCES.has(source) ? stored : 0), 0);
}

/** First instant of the UTC month, ms since epoch. */
export function startOfMonth(now: number): number {
  const date = new Date(now);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
}
