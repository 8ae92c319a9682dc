/**
 * Answers that are carried on instead of being computed again (docs/decisions/0005-finished-days.md). Of a question about a big stretch
 * the counts at a settled moment are kept. Later answers differ from them only by visitors of whom something has arrived since: the
 * question is asked of these visitors' sessions alone, once as they were at that moment and once as they are now, and the difference
 * is added. That is exact for everything that counts visitors, or things of visitors, by labels.
 */
import { setMaxListeners } from 'node:events';
import { LRUCache } from 'lru-cache';
import { AppError } from '../../../../errors.js';
import { type Scope, SLOT_MS } from '../../../../metrics/metrics-store.js';
import { Turns } from '../../../../metrics/turns.js';
import type { Telemetry } from '../../../../telemetry.js';
import type { ClickhouseReader } from '../../clickhouse-reader.js';
import type { ChangedPart } from '../clickhouse-changed-parts.js';
import type { SomeSessions } from '../clickhouse-conditions.js';
import type { Cut, Sql } from '../clickhouse-rows.js';
import { type ArrivalsOptions, RollupArrivals } from './arrivals.js';
import { type CarriedMetrics, carriedMetrics } from './carried-metrics.js';
import { ChangedSums } from './changed-sums.js';
import { ChangedCounts, type Counts } from './counts.js';
import { type FinishedOptions, FinishedSessions } from './finished-sessions.js';
import { LookAhead, type LookAheadOptions } from './look-ahead.js';
import { type DayTime, NextDay } from './next-day.js';
import {
  answerKey,
  type Base,
  endsBefore,
  NEVER,
  type RollupState,
  slotAfter,
  slotsApart,
} from './stretch.js';

/** One or several questions about one scope that one query answers. */
export interface CarriedQuestion {
  readonly scope: Scope;
  /** What tells each of them from all others about this scope. */
  readonly parts: readonly string[];
  /** A query for some of the parts, by their indices. */
  sql(parts: readonly number[], scope: Scope, cut: Cut): Sql;
  /** @param row of that query @returns index among the asked parts, label, counts */
  read(row: readonly unknown[]): readonly [number, string, readonly number[]];
  /** The same about a period so many milliseconds later. */
  later?(byMs: number): CarriedQuestion;
  /** What the parts are when they are asked of changed sessions, together with others; absent: by queries of their own. */
  readonly changed?: readonly ChangedPart[];
}

export interface CarriedOptions extends ArrivalsOptions {
  readonly telemetry?: Pick<Telemetry, 'registry'>;
  /** Periods with fewer rows of the rollup are computed at once; default 5,000. */
  readonly minRows?: number;
  /** But not those of sites with more rows; default 200,000. */
  readonly minSiteRows?: number;
  /** Labels that are kept, all answers together; default 300,000 (about 60 MB). */
  readonly maxLabels?: number;
  readonly finished?: Omit<FinishedOptions, 'telemetry'>;
  /** Absent: nothing is found out before it is asked for. */
  readonly lookAhead?: Omit<LookAheadOptions, 'telemetry'>;
  /** By which days end; for tests. */
  readonly dayTime?: DayTime;
}

/** Periods with more rows of the rollup are read one after the other. */
const HEAVY_ROWS = 300_000;
/** Of these so many may wait. */
const MAX_WAITING = 256;
/** Where the end of an earlier period is further from that of the kept counts, counting anew is quicker. */
const MAX_SLOTS = 2;
/** An answer with more labels is not kept. */
const MAX_LABELS = 30_000;

const NONE = { list: [] };

interface Kept {
  /** Of all rows that arrived before this (ms since epoch), over the period up to `to`. */
  counts: Counts;
  arrivedBefore: number;
  to: number;
  readonly history: string;
  last?: { readonly answer: ChangedCounts; readonly arrivals: string; readonly to: number };
}

/** A part of the asked question that has kept counts. */
interface Part {
  readonly index: number;
  readonly kept: Kept;
}

export class CarriedAnswers {
  private readonly kept: LRUCache<string, Kept>;
  private readonly busy = new Map<string, Promise<unknown>>();
  readonly arrivals: RollupArrivals;
  private readonly sums: ChangedSums;
  private readonly metrics: CarriedMetrics;
  private readonly finished: FinishedSessions;
  private readonly ahead: LookAhead | undefined;
  private readonly nextDay: NextDay<CarriedQuestion> | undefined;
  private readonly closing = new AbortController();
  /** Of those that read a whole big period. */
  private readonly turns = new Turns(1, MAX_WAITING);
  /** Answers with too many labels to be kept. */
  private readonly wide = new LRUCache<string, true>({ max: 1_000, ttl: 3_600_000 });

  constructor(
    private readonly reader: ClickhouseReader,
    private readonly options: CarriedOptions = {},
  ) {
    // Whatever nobody waits for listens to it while it runs: a dozen at once is no leak.
    setMaxListeners(0, this.closing.signal);
    this.ahead = options.lookAhead && this.lookingAhead(options.lookAhead);
    this.arrivals = new RollupArrivals(reader, options, this.ahead);
    this.sums = new ChangedSums(reader);
    this.kept = new LRUCache({
      maxSize: options.maxLabels ?? 300_000,
      sizeCalculation: ({ counts }) => 10 + counts.size,
    });
    const { telemetry, lookAhead } = options;
    const state = (siteId: string, signal: AbortSignal) => this.arrivals.state(siteId, signal);
    this.finished = new FinishedSessions(reader, {
      ...(lookAhead ? { ready: { state, share: lookAhead.share } } : {}),
      ...options.finished,
      ...(telemetry ? { telemetry } : {}),
    });
    this.nextDay =
      lookAhead &&
      new NextDay<CarriedQuestion>(
        (question, byMs, to) => {
          const later = question.later?.(byMs);
          return later && { ...later, scope: { ...later.scope, to } };
        },
        (question) => this.answer(question, this.closing.signal),
        {
          share: lookAhead.share,
          isBusy: () => reader.isBusy,
          ...(options.dayTime ? { time: options.dayTime } : {}),
          ...(telemetry ? { telemetry } : {}),
        },
        this.closing.signal,
      );
    this.metrics = carriedMetrics(
      telemetry,
      () => this.kept.calculatedSize,
      () => this.arrivals.copies.size,
      () => this.turns.waiting,
    );
  }

  /**
   * @returns an answer for each part; undefined when it is not worth carrying, and the question better asked at once
   * @throws what the reader throws, the signal's reason
   */
  async ask(question: CarriedQuestion, signal: AbortSignal): Promise<readonly ChangedCounts[] | undefined> {
    const answers = await this.answer(question, signal);
    if (answers) this.nextDay?.asked(question);
    return answers;
  }

  private async answer(
    question: CarriedQuestion,
    signal: AbortSignal,
  ): Promise<readonly ChangedCounts[] | undefined> {
    const keys = question.parts.map((part) => answerKey(question.scope, part));
    if (keys.some((key) => this.wide.has(key))) return undefined;
    if (!keys.every((key) => this.kept.has(key)) && (await this.isSmall(question.scope, signal)))
      return undefined;
    // One at a time for each answer: who comes meanwhile finds it made.
    for (;;) {
      signal.throwIfAborted();
      const others = keys.flatMap((key) => this.busy.get(key) ?? []);
      if (others.length === 0) break;
      await Promise.allSettled(others);
    }
    const work = this.carry(question, keys, signal);
    for (const key of keys) this.busy.set(key, work);
    try {
      return await work;
    } finally {
      for (const key of keys) this.busy.delete(key);
    }
  }

  close(): void {
    this.closing.abort();
    this.ahead?.close();
    this.finished.close();
  }

  private lookingAhead(options: Omit<LookAheadOptions, 'telemetry'>): LookAhead {
    const { telemetry } = this.options;
    const work = {
      lookAhead: (...asked: Parameters<RollupArrivals['lookAhead']>) => this.arrivals.lookAhead(...asked),
      prepareSlot: (...asked: Parameters<RollupArrivals['prepareSlot']>) =>
        this.arrivals.prepareSlot(...asked),
      isBusy: () => this.reader.isBusy,
    };
    return new LookAhead(work, { ...options, ...(telemetry ? { telemetry } : {}) });
  }

  /** Few rows of a big site cost as much as many: whole sessions are looked for among all of its rows. */
  private async isSmall(scope: Scope, signal: AbortSignal): Promise<boolean> {
    if ((await this.arrivals.size(scope, signal)) >= (this.options.minRows ?? 5_000)) return false;
    const site = { ...scope, from: 0, to: NEVER };
    return (await this.arrivals.size(site, signal)) < (this.options.minSiteRows ?? 200_000);
  }

  private async carry(
    question: CarriedQuestion,
    keys: readonly string[],
    signal: AbortSignal,
  ): Promise<readonly ChangedCounts[] | undefined> {
    this.begin(question.scope, keys, signal);
    const state = await this.arrivals.state(question.scope.siteId, signal);
    const parts = await this.parts(question, keys, state, signal);
    const answers = new Map<number, ChangedCounts>();
    for (const group of madeTogether(parts)) {
      const found = await this.advance(question, keys, group, state, signal);
      if (found === undefined) {
        for (const { index } of group) this.kept.delete(keys[index] ?? '');
        return undefined;
      }
      for (const [index, answer] of found) answers.set(index, answer);
    }
    return keys.flatMap((_, i) => answers.get(i) ?? []);
  }

  /** Asks for what has arrived before it is known whether the kept counts hold: they mostly do. */
  private begin(scope: Scope, keys: readonly string[], signal: AbortSignal): void {
    for (const key of keys) {
      const kept = this.kept.peek(key);
      if (kept === undefined) continue;
      this.arrivals.since(scope.siteId, kept, scope.to, signal).catch(() => undefined);
    }
  }

  /** Finds the kept counts of all parts; one query makes those that are missing. */
  private async parts(
    question: CarriedQuestion,
    keys: readonly string[],
    state: RollupState,
    signal: AbortSignal,
  ): Promise<Part[]> {
    const { history } = state;
    const found = keys
      .map((key) => this.kept.get(key))
      .map((kept) =>
        kept?.history === history && slotsApart(kept, question.scope.to) <= MAX_SLOTS ? kept : undefined,
      );
    const missing = keys.flatMap((_, i) => (found[i] ? [] : [i]));
    if (missing.length > 0) {
      const size = await this.arrivals.size(question.scope, signal);
      const finished = await this.finished.of(question.scope.siteId, size, state, signal);
      const arrivedBefore = finished?.asOf ?? state.settled;
      // What lies about the end of an earlier period has to be copied for the next answer, not for this one.
      const isEarlier = endsBefore(arrivedBefore, question.scope.to);
      const to = isEarlier ? question.scope.to : slotAfter(question.scope.to);
      const cut = { arrivedBefore, ...(finished ? { finished } : {}) };
      const tables = await this.whole(question.scope, signal, () =>
        this.counts(question, missing, { ...question.scope, to }, cut, signal),
      );
      this.metrics.add('counted', missing.length);
      missing.forEach((index, i) => {
        const kept = { counts: tables[i] ?? new Map(), arrivedBefore, to, history };
        found[index] = kept;
        this.keep(keys[index] ?? '', kept);
        if (isEarlier && to % SLOT_MS !== 0) this.copyBehind(question.scope, kept, state);
      });
    }
    return found.flatMap((kept, index) => (kept ? [{ index, kept }] : []));
  }

  /** Copies what the next answers need of the slot in which an earlier period ends; nobody waits for it. */
  private copyBehind({ siteId, to }: Scope, base: Base, state: RollupState): void {
    const { signal } = this.closing;
    void this.arrivals
      .since(siteId, base, to + 1, signal)
      .then((arrivals) =>
        arrivals.latest > 0 ? this.arrivals.concerned(siteId, state, arrivals, signal) : undefined,
      )
      .catch(() => undefined);
  }

  /** Stores counts that are new, so that all their labels count. */
  private keep(key: string, kept: Kept): void {
    // An entry that is set to what it was keeps its size.
    this.kept.delete(key);
    if (kept.counts.size <= MAX_LABELS) this.kept.set(key, kept);
    else this.wide.set(key, true);
  }

  /** Does work that reads a whole period: what may need much memory waits for its turn. @throws AppError `overloaded` */
  async whole<T>(scope: Scope, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if ((await this.arrivals.size(scope, signal)) < HEAVY_ROWS) return work();
    return this.turns.take(scope.siteId, signal, work);
  }

  /** Brings parts of equal age up to date. @returns undefined when too much has changed */
  private async advance(
    question: CarriedQuestion,
    keys: readonly string[],
    group: readonly Part[],
    state: RollupState,
    signal: AbortSignal,
  ): Promise<(readonly [number, ChangedCounts])[] | undefined> {
    const { scope } = question;
    const kept = group[0]?.kept;
    if (kept === undefined) return [];
    const { arrivedBefore, to } = kept;
    const next = { arrivedBefore: state.settled, to: slotAfter(scope.to) };
    const arrivals = await this.arrivals.since(scope.siteId, kept, scope.to, signal);
    const holds = ({ kept: { last } }: Part) =>
      last?.arrivals === arrivals.state &&
      (last.to === scope.to || arrivals.latest < Math.min(last.to, scope.to));
    const changed = group.filter((part) => !holds(part));
    this.metrics.add('unchanged', group.length - changed.length);
    this.metrics.add('carried', changed.length);
    // Parts that differ by their limits share their counts, which move once.
    const stale = [...new Map(changed.map((part) => [part.kept, part])).values()];
    if (stale.length > 0) {
      const isEmpty = arrivals.latest === 0;
      const sessions = isEmpty ? NONE : await this.arrivals.concerned(scope.siteId, state, arrivals, signal);
      if (sessions === undefined) return undefined;
      const isOld = next.arrivedBefore > arrivedBefore;
      const moments = [
        { arrivedBefore, to },
        { arrivedBefore: undefined, to: scope.to },
        ...(isOld ? [next] : []),
      ];
      const indices = stale.map(({ index }) => index);
      const tables = isEmpty
        ? moments.map(() => [])
        : await this.atMoments(question, indices, moments, sessions, signal).catch(unlessTooMuch);
      if (tables === undefined) return undefined;
      const [before, after, between] = tables;
      stale.forEach(({ index, kept }, i) => {
        const at = (now: readonly Counts[] | undefined) =>
          new ChangedCounts(kept.counts, before?.[i] ?? new Map(), now?.[i] ?? new Map());
        kept.last = { answer: at(after), arrivals: arrivals.state, to: scope.to };
        if (!isOld) return;
        Object.assign(kept, { counts: at(between).settled(), ...next });
        this.keep(keys[index] ?? '', kept);
      });
    }
    return group.flatMap(({ index, kept }) => (kept.last ? [[index, kept.last.answer] as const] : []));
  }

  /** What some sessions count: for each moment a table for each of the parts. */
  private atMoments(
    question: CarriedQuestion,
    parts: readonly number[],
    moments: readonly { readonly arrivedBefore: number | undefined; readonly to: number }[],
    sessions: SomeSessions,
    signal: AbortSignal,
  ): Promise<Counts[][]> {
    const { scope, changed } = question;
    if (changed === undefined)
      return Promise.all(
        moments.map(({ arrivedBefore, to }) => {
          const cut = { sessions, ...(arrivedBefore === undefined ? {} : { arrivedBefore }) };
          return this.counts(question, parts, { ...scope, to }, cut, signal);
        }),
      );
    const { siteId, from, filters } = scope;
    return this.sums.ask(
      { siteId, sessions, moments: moments.map(({ arrivedBefore }) => arrivedBefore), filters },
      { from, ends: moments.map(({ to }) => to) },
      parts.flatMap((i) => changed[i] ?? []),
      signal,
    );
  }

  private async counts(
    question: CarriedQuestion,
    parts: readonly number[],
    scope: Scope,
    cut: Cut,
    signal: AbortSignal,
  ): Promise<Counts[]> {
    const tables = parts.map(() => new Map<string, readonly number[]>());
    for (const row of await this.reader.rows(question.sql(parts, scope, cut), signal)) {
      const [part, label, counts] = question.read(row);
      tables[part]?.set(label, counts);
    }
    return tables;
  }
}

/** What one query cannot do for many questions together, each may do by itself. */
function unlessTooMuch(error: unknown): undefined {
  if (error instanceof AppError && (error.code === 'query_too_expensive' || error.code === 'timeout')) return;
  throw error;
}

function madeTogether(parts: readonly Part[]): Part[][] {
  const groups = new Map<string, Part[]>();
  for (const part of parts) {
    const key = `${part.kept.arrivedBefore} ${part.kept.to}`;
    const group = groups.get(key);
    if (group) group.push(part);
    else groups.set(key, [part]);
  }
  return [...groups.values()];
}
