import { Histogram } from 'prom-client';
import type { Telemetry } from '../telemetry.js';
import type { SiteTotalsStore } from './site-stats.js';

/** Figures over all websites of the instance. Bots are not counted. */
export interface InstanceTotals {
  readonly events: number;
  readonly pageViews: number;
  /** Events that happened on the present UTC day. */
  readonly eventsToday: number;
  /** Visitors of the present UTC day; who visits two websites counts twice, since nobody is followed over websites. */
  readonly visitorsToday: number;
}

/** Two adapters: ClickHouse and Postgres. */
export interface InstanceStatsStore extends SiteTotalsStore {
  /**
   * @param today first instant of the day, ms since epoch
   * @throws AppError `storage_unavailable`, `timeout`, `query_too_expensive`
   */
  totals(today: number, signal: AbortSignal): Promise<InstanceTotals>;
  close(): Promise<void>;
}

export interface InstanceStatsOptions {
  readonly store: Pick<InstanceStatsStore, 'totals'>;
  readonly telemetry: Telemetry;
  /** Shortest time that an answer serves; default 5,000 ms. */
  readonly ttlMs?: number;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

export interface InstanceStats {
  /** @throws AppError as the store */
  totals(): Promise<InstanceTotals>;
}

const DAY_MS = 86_400_000;
/** An answer serves for so many times as long as it took, so that counting never takes more than a twentieth of a connection's time. */
const TTL_FACTOR = 20;
const TIMEOUT_MS = 60_000;

/** Counts once for all who ask at the same time, and no more often than the counting can bear. */
export function createInstanceStats(options: InstanceStatsOptions): InstanceStats {
  const { store, telemetry, ttlMs = 5_000, clock = Date.now } = options;
  const seconds = new Histogram({
    name: 'seentics_instance_stats_seconds',
    help: 'Time of counting over all websites of the instance.',
    buckets: [0.01, 0.05, 0.25, 1, 5, 30],
    registers: [telemetry.registry],
  });
  let known: { readonly totals: InstanceTotals; readonly until: number; readonly day: number } | undefined;
  let counting: Promise<InstanceTotals> | undefined;

  const count = async (): Promise<InstanceTotals> => {
    const stop = seconds.startTimer();
    const day = Math.floor(clock() / DAY_MS);
    try {
      const totals = await store.totals(day * DAY_MS, AbortSignal.timeout(TIMEOUT_MS));
      const tookMs = stop() * 1_000;
      known = { totals, day, until: performance.now() + Math.max(ttlMs, TTL_FACTOR * tookMs) };
      return totals;
    } finally {
      counting = undefined;
    }
  };
  return {
    async totals() {
      const isFresh =
        known !== undefined && performance.now() < known.until && known.day === Math.floor(clock() / DAY_MS);
      if (known !== undefined && isFresh) return known.totals;
      counting ??= count();
      return counting;
    },
  };
}
