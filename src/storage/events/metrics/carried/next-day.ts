/**
 * When the day of a running period is over, the questions of the last days are counted for the next one before somebody asks them
 * (docs/decisions/0017-looking-ahead.md): a period that begins a day later shares nothing with what is kept.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { type Scope, SLOT_MS } from '../../../../metrics/metrics-store.js';
import type { Telemetry } from '../../../../telemetry.js';
import { type NextDayMetrics, nextDayMetrics } from './carried-metrics.js';
import { answerKey } from './stretch.js';

/** A question that can be asked about a later period. */
export interface Recurring {
  readonly scope: Scope;
  readonly parts: readonly string[];
}

export interface NextDayOptions {
  /** Of one core's time. */
  readonly share: number;
  readonly time?: DayTime;
  /** Questions are under way. */
  isBusy?(): boolean;
  readonly telemetry?: Pick<Telemetry, 'registry'>;
}

export interface DayTime {
  /** ms since epoch. */
  now(): number;
  /** Ends early when the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

const REAL_TIME: DayTime = {
  now: () => Date.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal, ref: false }).catch(() => undefined),
};

const DAY_MS = 86_400_000;
/** How long after its last time a question is expected again. */
const EXPECTED_MS = 3 * DAY_MS;
const MAX_QUESTIONS = 500;
const EVERY_MS = 60_000;
const GIVE_WAY_MS = 500;

interface Expected<Q> {
  readonly question: Q;
  /** By so much its period ended before the present; ms. */
  readonly behind: number;
}

export class NextDay<Q extends Recurring> {
  private readonly expected: LRUCache<string, Expected<Q>>;
  private readonly time: DayTime;
  private readonly metrics: NextDayMetrics;
  private running: Promise<void> | undefined;

  /**
   * @param later the question about another period, so many ms later, which ends at an instant
   * @param ask counts it; what fails is left to who asks
   * @param signal ends everything
   */
  constructor(
    private readonly later: (question: Q, byMs: number, to: number) => Q | undefined,
    private readonly ask: (question: Q) => Promise<unknown>,
    private readonly options: NextDayOptions,
    private readonly signal: AbortSignal,
  ) {
    this.time = options.time ?? REAL_TIME;
    this.metrics = nextDayMetrics(options.telemetry, () => this.expected.size);
    this.expected = new LRUCache({ max: MAX_QUESTIONS, ttl: EXPECTED_MS, perf: this.time, ttlResolution: 0 });
  }

  /** Somebody has asked this. */
  asked(question: Q): void {
    const { to } = question.scope;
    // What has ended stays as it is.
    if (to % SLOT_MS === 0 || this.signal.aborted) return;
    this.expected.set(keyOf(question), { question, behind: this.time.now() - to });
    this.running ??= Promise.resolve()
      .then(() => this.run())
      .finally(() => {
        this.running = undefined;
      });
  }

  private async run(): Promise<void> {
    while (!this.signal.aborted && this.expected.size > 0) {
      await this.time.sleep(EVERY_MS, this.signal);
      this.expected.purgeStale();
      for (const [key, { question, behind }] of [...this.expected]) {
        if (this.signal.aborted) return;
        const { from, to } = question.scope;
        const now = this.time.now();
        const end = from + Math.ceil((to - from) / DAY_MS) * DAY_MS;
        const days = Math.floor((now - behind - end) / DAY_MS) + 1;
        if (days <= 0) continue;
        const next = this.later(question, days * DAY_MS, now - behind);
        // The time since somebody has asked goes on.
        const start = now - EXPECTED_MS + this.expected.getRemainingTTL(key);
        this.expected.delete(key);
        if (next === undefined) continue;
        if (!this.expected.has(keyOf(next)))
          this.expected.set(keyOf(next), { question: next, behind }, { start });
        while (this.options.isBusy?.() && !this.signal.aborted)
          await this.time.sleep(GIVE_WAY_MS, this.signal);
        const began = performance.now();
        await this.ask(next).then(
          () => this.metrics.counted('done'),
          () => this.metrics.counted('failed'),
        );
        await this.time.sleep((performance.now() - began) * (1 / this.options.share - 1), this.signal);
      }
    }
  }
}

const keyOf = ({ scope, parts }: Recurring): string => answerKey(scope, parts.join('\n'));
