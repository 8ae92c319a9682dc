import { Gathered } from './gathered.js';
import type { BreakdownRow, MetricsStore, Scope, WantedBreakdown } from './metrics-store.js';

/** A page asks for its lists within this time of each other. More in one pass over the sessions would need too much memory. */
const TOGETHER = { gatherMs: 3, most: 4 };

interface Asked {
  readonly scope: Scope;
  readonly wanted: WantedBreakdown;
}

/** Gathers breakdowns over one scope that are asked for at the same time: the store answers them in one pass. */
export class BreakdownBatches {
  private readonly gathered: Gathered<Asked, BreakdownRow[]>;

  /** @param take waits for a turn at the store */
  constructor(
    store: Pick<MetricsStore, 'breakdowns'>,
    take: <T>(site: string, signal: AbortSignal, work: () => Promise<T>) => Promise<T>,
  ) {
    this.gathered = new Gathered(TOGETHER, async (asked, signal) => {
      const scope = asked[0]?.scope;
      const wanted = asked.map((one) => one.wanted);
      if (scope === undefined) return [];
      return take(scope.siteId, signal, () => store.breakdowns(scope, wanted, signal));
    });
  }

  /** As MetricsStore.breakdown; a pass ends when all who wait for it have left. */
  ask(scope: Scope, wanted: WantedBreakdown, signal: AbortSignal): Promise<BreakdownRow[]> {
    return this.gathered.ask(JSON.stringify(scope), { scope, wanted }, signal);
  }
}
