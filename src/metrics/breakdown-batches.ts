import type { BreakdownRow, MetricsStore, Scope, WantedBreakdown } from './metrics-store.js';

/** A page asks for its lists within this time of each other. */
const GATHER_MS = 3;
/** More in one pass over the sessions would need too much memory. */
const MAX_TOGETHER = 4;

interface Member {
  readonly wanted: WantedBreakdown;
  readonly signal: AbortSignal;
  resolve(rows: BreakdownRow[]): void;
  reject(reason: unknown): void;
}

/** Gathers breakdowns over one scope that are asked for at the same time: the store answers them in one pass. */
export class BreakdownBatches {
  private readonly gathering = new Map<string, Member[]>();

  /** @param take waits for a turn at the store */
  constructor(
    private readonly store: Pick<MetricsStore, 'breakdowns'>,
    private readonly take: <T>(signal: AbortSignal, work: () => Promise<T>) => Promise<T>,
  ) {}

  /** As MetricsStore.breakdown; a pass ends when all who wait for it have left. */
  ask(scope: Scope, wanted: WantedBreakdown, signal: AbortSignal): Promise<BreakdownRow[]> {
    return new Promise((resolve, reject) => {
      const member: Member = { wanted, signal, resolve, reject };
      const key = JSON.stringify(scope);
      const open = this.gathering.get(key);
      if (open && open.length < MAX_TOGETHER) {
        open.push(member);
        return;
      }
      const members = [member];
      this.gathering.set(key, members);
      setTimeout(() => {
        if (this.gathering.get(key) === members) this.gathering.delete(key);
        void this.run(scope, members);
      }, GATHER_MS);
    });
  }

  private async run(scope: Scope, gathered: readonly Member[]): Promise<void> {
    const members = gathered.filter(({ signal }) => !signal.aborted);
    for (const { signal, reject } of gathered) if (signal.aborted) reject(signal.reason);
    if (members.length === 0) return;
    const controller = new AbortController();
    let waiting = members.length;
    const leave = (member: Member) => () => {
      member.reject(member.signal.reason);
      if (--waiting === 0) controller.abort(member.signal.reason);
    };
    const leaving = members.map((member) => [member.signal, leave(member)] as const);
    for (const [signal, left] of leaving) signal.addEventListener('abort', left, { once: true });
    try {
      const wanted = members.map((member) => member.wanted);
      const lists = await this.take(controller.signal, () =>
        this.store.breakdowns(scope, wanted, controller.signal),
      );
      members.forEach(({ resolve }, i) => {
        resolve(lists[i] ?? []);
      });
    } catch (error) {
      for (const { reject } of members) reject(error);
    } finally {
      for (const [signal, left] of leaving) signal.removeEventListener('abort', left);
    }
  }
}
