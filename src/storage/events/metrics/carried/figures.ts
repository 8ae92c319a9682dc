/** The questions of MetricsStore whose answers are carried on; each answers undefined where asking at once is the better way. */
import { compareBytes } from '../../../../metrics/figures.js';
import type {
  BreakdownRow,
  PageOrder,
  PageRow,
  PlaceRow,
  Scope,
  WantedBreakdown,
} from '../../../../metrics/metrics-store.js';
import type { ClickhouseReader } from '../../clickhouse-reader.js';
import type { ChangedPart } from '../clickhouse-changed-parts.js';
import { eventDaysSql, eventTimelineSql, eventTypesSql } from '../clickhouse-custom-events.js';
import { placesSql } from '../clickhouse-places.js';
import {
  breakdownsSql,
  cohortsSql,
  pagesSql,
  returningSql,
  timelineSql,
  totalsSql,
} from '../clickhouse-queries.js';
import type { Cut, Sql } from '../clickhouse-rows.js';
import { type Numbers, numbers, placeRow, textAndNumbers } from '../result-rows.js';
import { CarriedAnswers, type CarriedOptions, type CarriedQuestion } from './carried-answers.js';
import type { ChangedCounts } from './counts.js';

export class CarriedFigures {
  readonly answers: CarriedAnswers;

  constructor(reader: ClickhouseReader, options: CarriedOptions) {
    this.answers = new CarriedAnswers(reader, options);
  }

  /** views, visitors, sessions, bounces, durationMs, sessionViews */
  async totals(scope: Scope, signal: AbortSignal): Promise<Numbers<6> | undefined> {
    const sql = (cutScope: Scope, cut: Cut) => totalsSql(cutScope, 'rollup', cut);
    const about = () => ({ part: 'totals', changed: { on: 'totals' }, sql }) as const;
    const counts = await this.one(scope, about, readSingle, signal);
    return counts && numbers(counts.get('') ?? NOTHING.slice(0, 6), 6);
  }

  async returning(scope: Scope, signal: AbortSignal): Promise<number | undefined> {
    const sql = (cutScope: Scope, cut: Cut) => returningSql(cutScope, 'rollup', cut);
    const about = () => ({ part: 'returning', changed: { on: 'returning' }, sql }) as const;
    const counts = await this.one(scope, about, readSingle, signal);
    return counts && (counts.get('')?.[0] ?? 0);
  }

  /** Start of the bucket in seconds, views, visitors, sessions, bounces. */
  async timeline(
    scope: Scope,
    starts: readonly number[],
    signal: AbortSignal,
  ): Promise<Numbers<5>[] | undefined> {
    const about = (byMs: number) => {
      const bounds = allLater(starts, byMs);
      return {
        part: `timeline ${bounds.join()}`,
        changed: { on: 'timeline', starts: bounds } as const,
        sql: (cutScope: Scope, cut: Cut) => timelineSql(cutScope, bounds, 'rollup', cut),
      };
    };
    const counts = await this.one(scope, about, readLabelled, signal);
    return counts && [...counts.entries()].map(([bucket, rest]) => numbers([Number(bucket), ...rest], 5));
  }

  /** One list for each wanted breakdown. */
  async breakdowns(
    scope: Scope,
    wanted: readonly WantedBreakdown[],
    signal: AbortSignal,
  ): Promise<BreakdownRow[][] | undefined> {
    const question = (byMs: number): CarriedQuestion => ({
      scope: later(scope, byMs),
      parts: wanted.map(({ attribute, missing }) => `breakdown ${attribute} ${missing}`),
      changed: wanted.map(({ attribute, missing }) => ({ on: 'breakdown', attribute, missing })),
      sql: (parts, cutScope, cut) =>
        breakdownsSql(
          cutScope,
          parts.flatMap((i) => wanted[i] ?? []),
          undefined,
          'rollup',
          cut,
        ),
      read: ([part, ...rest]) => {
        const { text, counts } = textAndNumbers(rest, 4);
        return [Number(part), text, counts];
      },
      later: (more) => question(byMs + more),
    });
    const answers = await this.answers.ask(question(0), signal);
    return answers?.map((counts, i) =>
      top(
        [...counts.entries()].map(([value, row]) => {
          const [views, visitors, sessions, bounces] = numbers(row, 4);
          return { value, views, visitors, sessions, bounces };
        }),
        (row) => (row.views > 0 ? row.visitors : -1),
        (a, b) => b.visitors - a.visitors || b.views - a.views || compareBytes(a.value, b.value),
        wanted[i]?.limit,
      ),
    );
  }

  async pages(
    scope: Scope,
    order: PageOrder,
    limit: number,
    signal: AbortSignal,
  ): Promise<PageRow[] | undefined> {
    const sql = (cutScope: Scope, cut: Cut) => pagesSql(cutScope, order, limit, 'rollup', cut);
    const about = () => ({ part: 'pages', changed: { on: 'pages' }, sql }) as const;
    const counts = await this.one(scope, about, readLabelled, signal);
    if (counts === undefined) return undefined;
    const rows = [...counts.entries()].map(([page, row]) => pageRow(page, row));
    const key = ({ visitors: 'views', entries: 'entries', exits: 'exits' } as const)[order];
    return top(
      rows,
      (row) => (row[key] > 0 ? row[order] : -1),
      (a, b) =>
        b[order] - a[order] || (order === 'visitors' ? b.views - a.views : 0) || compareBytes(a.page, b.page),
      limit,
    );
  }

  async places(
    scope: Scope,
    attribute: 'region' | 'city',
    missing: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<PlaceRow[] | undefined> {
    const sql = (cutScope: Scope, cut: Cut) => placesSql(cutScope, attribute, missing, limit, 'rollup', cut);
    const changed = { on: 'places', attribute, missing } as const;
    const about = () => ({ part: `places ${attribute} ${missing}`, changed, sql });
    const counts = await this.one(scope, about, readNamed, signal);
    return (
      counts &&
      top(
        [...counts.entries()].map(([label, rest]) => placeRow([...label.split(SEPARATOR), ...rest])),
        (row) => (row.views > 0 ? row.visitors : -1),
        (a, b) =>
          b.visitors - a.visitors ||
          b.views - a.views ||
          compareBytes(a.value, b.value) ||
          compareBytes(a.countryCode, b.countryCode),
        limit,
      )
    );
  }

  /** Type, count, visitors. */
  async eventTypes(
    scope: Scope,
    limit: number,
    signal: AbortSignal,
  ): Promise<(readonly [string, number, number])[] | undefined> {
    const sql = (cutScope: Scope, cut: Cut) => eventTypesSql(cutScope, limit, 'rollup', cut);
    const about = () => ({ part: 'event types', changed: { on: 'event types' }, sql }) as const;
    const counts = await this.one(scope, about, readLabelled, signal);
    return (
      counts &&
      top(
        [...counts.entries()].map(([type, rest]) => [type, ...numbers(rest, 2)] as const),
        ([, events]) => (events > 0 ? events : -1),
        (a, b) => b[1] - a[1] || compareBytes(a[0], b[0]),
        limit,
      )
    );
  }

  /** UTC days (days since 1970) and types that have custom events. */
  async eventDays(scope: Scope, signal: AbortSignal): Promise<(readonly [number, string])[] | undefined> {
    const sql = (cutScope: Scope, cut: Cut) => eventDaysSql(cutScope, 'rollup', cut);
    const about = () => ({ part: 'event days', changed: { on: 'event days' }, sql }) as const;
    const counts = await this.one(scope, about, readNamed, signal);
    return (
      counts &&
      [...counts.entries()].map(([label]) => {
        const [day, type = ''] = label.split(SEPARATOR);
        return [Number(day), type] as const;
      })
    );
  }

  /** Start of the bucket in seconds, custom events. */
  async eventTimeline(
    scope: Scope,
    starts: readonly number[],
    signal: AbortSignal,
  ): Promise<Numbers<2>[] | undefined> {
    const about = (byMs: number) => {
      const bounds = allLater(starts, byMs);
      return {
        part: `event timeline ${bounds.join()}`,
        changed: { on: 'event timeline', starts: bounds } as const,
        sql: (cutScope: Scope, cut: Cut) => eventTimelineSql(cutScope, bounds, 'rollup', cut),
      };
    };
    const counts = await this.one(scope, about, readLabelled, signal);
    return counts && [...counts.entries()].map(([bucket, rest]) => numbers([Number(bucket), ...rest], 2));
  }

  /** Start of the cohort's bucket, start of the active bucket (seconds), visitors. */
  async cohorts(
    siteId: string,
    starts: readonly number[],
    signal: AbortSignal,
  ): Promise<Numbers<3>[] | undefined> {
    const [from = 0] = starts;
    const scope = { siteId, from, to: starts.at(-1) ?? from, filters: [] };
    const about = (byMs: number) => {
      const bounds = allLater(starts, byMs);
      return {
        part: `cohorts ${bounds.join()}`,
        sql: (_: Scope, cut: Cut) => cohortsSql(siteId, bounds, 'rollup', cut),
      };
    };
    const counts = await this.one(scope, about, readPair, signal);
    return counts && [...counts.entries()].map(([pair, rest]) => numbers([...pair.split(' '), ...rest], 3));
  }

  /** @param about what is asked of a period so many milliseconds later */
  private async one(
    scope: Scope,
    about: (byMs: number) => About,
    read: (row: readonly unknown[]) => readonly [string, readonly number[]],
    signal: AbortSignal,
  ): Promise<ChangedCounts | undefined> {
    const question = (byMs: number): CarriedQuestion => {
      const { part, changed, sql } = about(byMs);
      return {
        scope: later(scope, byMs),
        parts: [part],
        sql: (_, cutScope, cut) => sql(cutScope, cut),
        ...(changed ? { changed: [changed] } : {}),
        read: (row) => [0, ...read(row)],
        later: (more) => question(byMs + more),
      };
    };
    return (await this.answers.ask(question(0), signal))?.[0];
  }
}

/** One question: what tells it from others about the same scope, what it is of changed sessions, and of whole periods. */
interface About {
  readonly part: string;
  readonly changed?: ChangedPart;
  sql(scope: Scope, cut: Cut): Sql;
}

const later = (scope: Scope, byMs: number): Scope => ({
  ...scope,
  from: scope.from + byMs,
  to: scope.to + byMs,
});
const allLater = (starts: readonly number[], byMs: number): number[] => starts.map((at) => at + byMs);

const NOTHING = [0, 0, 0, 0, 0, 0];

const readSingle = (row: readonly unknown[]) => ['', numbers(row, row.length)] as const;
const readLabelled = ([label, ...rest]: readonly unknown[]) =>
  [String(label), numbers(rest, rest.length)] as const;
/** Stands in no stored text. */
const SEPARATOR = '\0';
const readNamed = ([first, second, ...rest]: readonly unknown[]) =>
  [`${first}${SEPARATOR}${second}`, numbers(rest, rest.length)] as const;
const readPair = ([first, second, ...rest]: readonly unknown[]) =>
  [`${first} ${second}`, numbers(rest, rest.length)] as const;

function pageRow(page: string, row: readonly number[]): PageRow {
  const [views, visitors, sessions, bounces, entries, exits, entryBounces, timeMs, timed] = numbers(row, 9);
  return { page, views, visitors, sessions, bounces, entries, exits, entryBounces, timeMs, timed };
}

/**
 * The first rows in an order, without sorting them all.
 * @param size what the order goes by first, largest first; negative: not in the list
 */
function top<T>(
  rows: readonly T[],
  size: (row: T) => number,
  order: (a: T, b: T) => number,
  limit: number | undefined,
): T[] {
  const sizes = Float64Array.from(rows, size).sort();
  const least = limit === undefined || limit > rows.length ? 0 : Math.max(0, sizes.at(-limit) ?? 0);
  return rows
    .filter((row) => size(row) >= least)
    .sort(order)
    .slice(0, limit);
}
