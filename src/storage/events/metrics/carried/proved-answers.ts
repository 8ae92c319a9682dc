import { LRUCache } from 'lru-cache';
import type { Scope } from '../../../../metrics/metrics-store.js';
import type { RollupArrivals } from './arrivals.js';
import { answerKey, type Base, slotAfter } from './stretch.js';

interface Proved {
  readonly rows: unknown[][];
  readonly to: number;
  readonly history: string;
  /** What was there when it was computed, and since when. */
  readonly arrivals: string;
  readonly base: Base;
}

/** What is kept, all answers together, in characters of their texts; a number counts as eight. */
const MAX_CHARACTERS = 16_000_000;

/** Keeps the rows of an answer for as long as the rollup proves that nothing has arrived which could change them. */
export class ProvedAnswers {
  private readonly answers = new LRUCache<string, Proved>({
    maxSize: MAX_CHARACTERS,
    sizeCalculation: ({ rows }, key) => rows.reduce((sum, row) => sum + charactersOf(row), key.length),
  });

  constructor(private readonly arrivals: RollupArrivals) {}

  /**
   * @param part what tells the question from others about the scope
   * @param compute asks the store
   * @throws what the reader throws
   */
  async ask(
    scope: Scope,
    part: string,
    signal: AbortSignal,
    compute: () => Promise<unknown[][]>,
  ): Promise<unknown[][]> {
    const key = answerKey(scope, part);
    const { settled, history } = await this.arrivals.state(scope.siteId, signal);
    const known = this.answers.get(key);
    if (known?.history === history && (await this.holds(known, scope, signal))) return known.rows;
    const base = { arrivedBefore: settled, to: slotAfter(scope.to) };
    // Before the answer: what comes in between makes it count as changed.
    const { state } = await this.arrivals.since(scope.siteId, base, scope.to, signal);
    const rows = await compute();
    this.answers.set(key, { rows, to: scope.to, history, arrivals: state, base });
    return rows;
  }

  private async holds({ base, arrivals, to }: Proved, scope: Scope, signal: AbortSignal): Promise<boolean> {
    const found = await this.arrivals.since(scope.siteId, base, scope.to, signal);
    return found.state === arrivals && (to === scope.to || found.latest < Math.min(to, scope.to));
  }
}

const charactersOf = (row: readonly unknown[]): number =>
  row.reduce(
    (sum: number, value) => sum + (typeof value === 'string' ? value.length : 0),
    8 * (1 + row.length),
  );
