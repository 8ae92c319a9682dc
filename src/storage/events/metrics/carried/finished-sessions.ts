/**
 * Keeps a row a session of finished days for big sites whose figures are asked for. They are what the rollup was at a settled moment, so
 * that answers from them are carried on like any others. What arrives later for a finished day makes this day anew; where rows were
 * removed from the rollup, everything is.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { Telemetry } from '../../../../telemetry.js';
import type { ClickhouseReader } from '../../clickhouse-reader.js';
import { changedDaysSql, daysSql, finishDaysSql } from '../clickhouse-finished.js';
import { type FinishedMetrics, finishedMetrics } from './carried-metrics.js';
import { type Finished, FinishedVersions, versionBase } from './finished-versions.js';
import { second } from './sql-values.js';
import type { RollupState } from './stretch.js';

const DAY_SECONDS = 86_400;
/** How long a settled moment serves; half of it passes before days are made anew to be ready. */
const STALE_MS = 3_600_000;
const HALF = 0.5;
/** Before a part of a site's first days is made questions under way are waited for, but not for ever. */
const MAX_WAY_MS = 15_000;
const CALM_MS = 50;
/** After a failure the rollup is read for so long. */
const REST_MS = 600_000;

export interface FinishedOptions {
  readonly telemetry?: Pick<Telemetry, 'registry'>;
  /** Periods with fewer rows of the rollup are read from there; default 200,000. */
  readonly minRows?: number;
  /** How long a settled moment serves; default an hour. */
  readonly staleMs?: number;
  /** Rows of the rollup that one statement turns into sessions, but for a day that has more; default 150,000. */
  readonly batchRows?: number;
  /** Waits until all days are there, instead of making them beside the first questions. */
  readonly isAwaited?: boolean;
  /** How days are kept ready for the first question; absent: who asks waits for what has become old. */
  readonly ready?: ReadyOptions;
}

export interface ReadyOptions {
  /** What a site's settled moment is now. */
  state(siteId: string, signal: AbortSignal): Promise<RollupState>;
  /** Of one core's time, all sites together. */
  readonly share: number;
  /** From one look at all sites to the next; default five minutes. */
  readonly everyMs?: number;
  /** Sites are kept ready for so long after a question; default three days. */
  readonly askedMs?: number;
}

const ASKED_MS = 3 * 86_400_000;
const EVERY_MS = 300_000;

export class FinishedSessions {
  private readonly sites: LRUCache<string, Finished>;
  private readonly busy = new Map<string, Promise<Finished | undefined>>();
  private readonly versions: FinishedVersions;
  private readonly closing = new AbortController();
  private readonly metrics: FinishedMetrics;
  private readonly resting = new LRUCache<string, true>({ max: 1_000, ttl: REST_MS });
  private builds: Promise<unknown> = Promise.resolve();
  private keeping: Promise<void> | undefined;

  constructor(
    private readonly reader: ClickhouseReader,
    private readonly options: FinishedOptions = {},
  ) {
    const ttl = options.ready?.askedMs ?? ASKED_MS;
    this.sites = new LRUCache({ max: 100, ttl, updateAgeOnGet: true });
    this.versions = new FinishedVersions(reader);
    this.metrics = finishedMetrics(options.telemetry, () => this.busy.size);
  }

  /**
   * @param size rows of the rollup in the asked period
   * @returns undefined when the rollup is to be read: for small periods, on clusters, and while all days are being made
   * @throws what the reader throws, the signal's reason
   */
  async of(
    siteId: string,
    size: number,
    state: RollupState,
    signal: AbortSignal,
  ): Promise<Finished | undefined> {
    if (this.reader.cluster !== undefined || size < (this.options.minRows ?? 200_000)) return undefined;
    const known = this.sites.get(siteId);
    const { ready } = this.options;
    if (ready && !this.closing.signal.aborted)
      this.keeping ??= this.keepReady(ready).finally(() => {
        this.keeping = undefined;
      });
    if (known && this.isFresh(known, state)) return known;
    const stored = this.busy.has(siteId) ? known : await this.versions.load(siteId, signal);
    if (stored && this.isFresh(stored, state)) {
      this.sites.set(siteId, stored);
      return stored;
    }
    const isValid = stored?.history === state.history;
    // Rows are being removed: wait until they are.
    if ((!isValid && state.isChanging) || this.resting.has(siteId)) return undefined;
    const work = this.busy.get(siteId) ?? this.start(siteId, isValid ? stored : undefined, state);
    // A few days are quicker than the question from the rollup; all of them are not.
    return isValid || this.options.isAwaited ? work : undefined;
  }

  close(): void {
    this.closing.abort();
  }

  /** Makes anew what is going to be too old, as long as there are sites that somebody asked for. */
  private async keepReady({ state, share, everyMs = EVERY_MS }: ReadyOptions): Promise<void> {
    const { signal } = this.closing;
    const rest = (ms: number) => sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
    do {
      await rest(everyMs);
      this.sites.purgeStale();
      for (const siteId of [...this.sites.keys()]) {
        const known = this.sites.peek(siteId);
        const now = await state(siteId, signal).catch(() => undefined);
        // Where rows were removed everything has to be made: that is left to questions.
        if (known?.history !== now?.history || known === undefined || now === undefined) continue;
        if (this.isFresh(known, now, HALF) || this.busy.has(siteId) || this.resting.has(siteId)) continue;
        const start = performance.now();
        await this.start(siteId, known, now);
        await rest((performance.now() - start) * (1 / share - 1));
      }
    } while (this.sites.size > 0 && !signal.aborted);
  }

  /** @param part of the time for which a moment serves */
  private isFresh({ history, asOf }: Finished, state: RollupState, part = 1): boolean {
    return history === state.history && state.settled - asOf < part * (this.options.staleMs ?? STALE_MS);
  }

  private start(
    siteId: string,
    old: Finished | undefined,
    state: RollupState,
  ): Promise<Finished | undefined> {
    const make = () => this.make(siteId, old, state);
    // Those that take long follow each other.
    const made = old ? make() : this.builds.then(make);
    if (!old) this.builds = made.catch(() => undefined);
    const work = made.then(
      (finished) => {
        this.sites.set(siteId, finished, { noUpdateTTL: true });
        return finished;
      },
      () => {
        this.metrics.failed();
        this.resting.set(siteId, true);
        return undefined;
      },
    );
    const done = work.finally(() => this.busy.delete(siteId));
    this.busy.set(siteId, done);
    return done;
  }

  private async make(siteId: string, old: Finished | undefined, state: RollupState): Promise<Finished> {
    const { signal } = this.closing;
    const asOf = second(state.settled);
    const liveFrom = Math.floor(asOf / DAY_SECONDS) * DAY_SECONDS;
    const all = await this.reader.rows(daysSql(siteId, asOf, liveFrom), signal);
    const sizes = new Map(all.map(([day, rows]) => [Number(day), Number(rows)]));
    const changed = old ? await this.changed(siteId, old, asOf, signal) : sizes.keys();
    const days = [...new Set([...changed, ...[...sizes.keys()].filter((day) => !old?.byDay.has(day))])]
      .filter((day) => day > 0 && day < liveFrom / DAY_SECONDS)
      .sort((a, b) => a - b);
    const base = versionBase(Date.now());
    for (const some of this.batches(days, sizes)) {
      if (!old && !this.options.isAwaited) await this.giveWay(signal);
      signal.throwIfAborted();
      await this.reader.copy(finishDaysSql({ siteId, asOf, days: some, base }), signal);
      this.metrics.made(some.length);
    }
    const byDay = new Map([...(old?.byDay ?? []), ...days.map((day) => [day, base + day] as const)]);
    const finished = {
      asOf: state.settled,
      liveFrom: liveFrom * 1000,
      history: state.history,
      byDay,
      versions: [...byDay.values()],
    };
    await this.versions.save(siteId, finished, signal);
    return finished;
  }

  /** Questions that read the rollup meanwhile would take twice as long. */
  private async giveWay(signal: AbortSignal): Promise<void> {
    const until = performance.now() + MAX_WAY_MS;
    while (this.reader.isBusy && performance.now() < until && !signal.aborted)
      await sleep(CALM_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }

  private async changed(siteId: string, old: Finished, asOf: number, signal: AbortSignal): Promise<number[]> {
    const rows = await this.reader.rows(changedDaysSql(siteId, second(old.asOf), asOf), signal);
    return rows.flatMap((pair) => pair.map(Number));
  }

  private *batches(days: readonly number[], sizes: ReadonlyMap<number, number>): Generator<number[]> {
    let some: number[] = [];
    let rows = 0;
    for (const day of days) {
      const size = sizes.get(day) ?? 0;
      if (some.length > 0 && rows + size > (this.options.batchRows ?? 150_000)) {
        yield some;
        some = [];
        rows = 0;
      }
      some.push(day);
      rows += size;
    }
    if (some.length > 0) yield some;
  }
}
