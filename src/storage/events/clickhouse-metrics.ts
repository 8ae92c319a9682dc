import type { SessionAttribute } from '../../metrics/filters.js';
import type { FunnelCounts, FunnelQuestion, TrackedCounts } from '../../metrics/funnel-metrics.js';
import type { GoalCounts, GoalMatch } from '../../metrics/goal-metrics.js';
import {
  type BreakdownRow,
  type BucketCounts,
  type CohortRow,
  type EventTypeCounts,
  type EventTypeRow,
  type MetricsStore,
  MOST_SAMPLES,
  type PageOrder,
  type PageRow,
  type PlaceRow,
  type PropertyRow,
  type PropertyValueRow,
  type Scope,
  type Totals,
  type VitalRow,
  type WantedBreakdown,
} from '../../metrics/metrics-store.js';
import { type Clickhouse, type ClickhouseOptions, openClickhouse } from '../clickhouse.js';
import { ClickhouseConversions } from './clickhouse-conversions.js';
import { ClickhouseReader, type ClickhouseReaderOptions } from './clickhouse-reader.js';
import type { CarriedOptions } from './metrics/carried/carried-answers.js';
import { CarriedFigures } from './metrics/carried/figures.js';
import { LatestCustomEvents, type LatestEvents, latestOf } from './metrics/carried/latest-events.js';
import { ProvedAnswers } from './metrics/carried/proved-answers.js';
import {
  countEventTypesSql,
  eventDaysSql,
  eventTimelineSql,
  eventTypesSql,
  latestPropertiesSql,
  oneEventTypeSql,
} from './metrics/clickhouse-custom-events.js';
import { placesSql } from './metrics/clickhouse-places.js';
import { propertiesSql, propertyValuesSql } from './metrics/clickhouse-properties.js';
import {
  breakdownsSql,
  cohortsSql,
  liveSql,
  pagesSql,
  returningSql,
  timelineSql,
  totalsSql,
} from './metrics/clickhouse-queries.js';
import { onSlots, type RowSource, type Sql } from './metrics/clickhouse-rows.js';
import { webVitalsSql } from './metrics/clickhouse-vitals.js';
import {
  cohortRows,
  fillBuckets,
  fillNumbers,
  numbers,
  placeRow,
  propertyRow,
  propertyValueRow,
  textAndNumbers,
  vitalRow,
} from './metrics/result-rows.js';

export interface ClickhouseMetricsOptions extends ClickhouseReaderOptions {
  /** Reads raw events even where the rollup has the answer: for tests that compare the two. */
  readonly rawOnly?: boolean;
  readonly carried?: CarriedOptions;
}

/** Opens a client of its own for the figures, so that they never wait for the sockets of the inserts. */
export function createClickhouseMetrics(
  clickhouse: ClickhouseOptions,
  options: ClickhouseMetricsOptions = {},
): MetricsStore {
  return new ClickhouseMetrics(openClickhouse({ requestTimeoutMs: 30_000, ...clickhouse }), options);
}

/** On two cores more at the same time answer none of them earlier, and each may need much memory. */
const QUERIES_AT_ONCE = 4;

/** Figures from ClickHouse: from the session rollup where the asked instants allow it, else from raw events; the same answer. */
export class ClickhouseMetrics implements MetricsStore {
  /** A page's. */
  readonly questionsAtOnce = 64;
  private readonly reader: ClickhouseReader;
  private readonly carried: CarriedFigures;
  private readonly proved: ProvedAnswers;
  private readonly latest: LatestCustomEvents;
  private readonly conversions: ClickhouseConversions;

  constructor(
    clickhouse: Clickhouse,
    private readonly options: ClickhouseMetricsOptions = {},
  ) {
    this.reader = new ClickhouseReader(clickhouse, { concurrency: QUERIES_AT_ONCE, ...options });
    this.carried = new CarriedFigures(this.reader, options.carried ?? {});
    this.proved = new ProvedAnswers(this.carried.answers.arrivals);
    this.latest = new LatestCustomEvents(this.reader, this.carried.answers.arrivals);
    this.conversions = new ClickhouseConversions(this.reader, ({ from }) => this.source([from]));
  }

  async totals(scope: Scope, signal: AbortSignal): Promise<Totals> {
    const source = this.source([scope.from]);
    const carried = source === 'rollup' ? await this.carried.totals(scope, signal) : undefined;
    const counts =
      carried ?? numbers((await this.known('totals', scope, totalsSql(scope, source), signal))[0], 6);
    const [views, visitors, sessions, bounces, durationMs, sessionViews] = counts;
    return { views, visitors, sessions, bounces, durationMs, sessionViews };
  }

  async returningVisitors(scope: Scope, signal: AbortSignal): Promise<number> {
    const source = this.source([scope.from]);
    const carried = source === 'rollup' ? await this.carried.returning(scope, signal) : undefined;
    if (carried !== undefined) return carried;
    return numbers((await this.known('returning', scope, returningSql(scope, source), signal))[0], 1)[0];
  }

  async timeline(scope: Scope, starts: readonly number[], signal: AbortSignal): Promise<BucketCounts[]> {
    const source = this.source([scope.from, ...starts]);
    const carried = source === 'rollup' ? await this.carried.timeline(scope, starts, signal) : undefined;
    const direct = async () =>
      (await this.known(`timeline ${starts.join()}`, scope, timelineSql(scope, starts, source), signal)).map(
        (row) => numbers(row, 5),
      );
    return fillBuckets(inSeconds(starts), carried ?? (await direct()));
  }

  async breakdown(
    scope: Scope,
    attribute: SessionAttribute,
    missing: string,
    limit: number | undefined,
    signal: AbortSignal,
  ): Promise<BreakdownRow[]> {
    const [rows = []] = await this.breakdowns(scope, [{ attribute, missing, limit }], signal);
    return rows;
  }

  async breakdowns(
    scope: Scope,
    wanted: readonly WantedBreakdown[],
    signal: AbortSignal,
  ): Promise<BreakdownRow[][]> {
    const source = this.source([scope.from]);
    const carried = source === 'rollup' ? await this.carried.breakdowns(scope, wanted, signal) : undefined;
    if (carried) return carried;
    const limits = wanted.map(({ limit }) => limit ?? Number.POSITIVE_INFINITY);
    const most = Math.max(...limits);
    const sql = breakdownsSql(scope, wanted, Number.isFinite(most) ? most : undefined, source);
    const lists = wanted.map((): BreakdownRow[] => []);
    for (const [index, ...rest] of await this.known(JSON.stringify(wanted), scope, sql, signal)) {
      const { text, counts } = textAndNumbers(rest, 4);
      const [views, visitors, sessions, bounces] = counts;
      lists[Number(index)]?.push({ value: text, views, visitors, sessions, bounces });
    }
    return lists.map((rows, i) => rows.slice(0, limits[i]));
  }

  async pages(scope: Scope, order: PageOrder, limit: number, signal: AbortSignal): Promise<PageRow[]> {
    const source = this.source([scope.from]);
    const carried = source === 'rollup' ? await this.carried.pages(scope, order, limit, signal) : undefined;
    if (carried) return carried;
    const rows = await this.known(
      `pages ${order} ${limit}`,
      scope,
      pagesSql(scope, order, limit, source),
      signal,
    );
    return rows.map((row) => {
      const { text, counts } = textAndNumbers(row, 9);
      const [views, visitors, sessions, bounces, entries, exits, entryBounces, timeMs, timed] = counts;
      return { page: text, views, visitors, sessions, bounces, entries, exits, entryBounces, timeMs, timed };
    });
  }

  async eventTypes(scope: Scope, limit: number, signal: AbortSignal): Promise<EventTypeRow[]> {
    const source = this.source([scope.from]);
    const [carried, days, latest] =
      source === 'rollup'
        ? await Promise.all([
            this.carried.eventTypes(scope, limit, signal),
            this.carried.eventDays(scope, signal),
            this.latest.now(scope, signal),
          ])
        : [];
    const direct = async () =>
      (await this.known(`event types ${limit}`, scope, eventTypesSql(scope, limit, source), signal)).map(
        (row) => textAndNumbers(row, 2),
      );
    const types = carried?.map(([text, ...counts]) => ({ text, counts })) ?? (await direct());
    const names = types.slice(0, MOST_SAMPLES).map(({ text }) => text);
    const properties =
      latest && names.every((name) => latest.has(name))
        ? latest
        : await this.latestEvents(scope, names, days, signal);
    return types.map(({ text, counts: [count, visitors] }) => ({
      type: text,
      properties: properties.get(text)?.properties ?? '',
      count,
      visitors,
    }));
  }

  async oneEventType(scope: Scope, type: string, signal: AbortSignal): Promise<EventTypeCounts> {
    const sql = oneEventTypeSql(scope, type, this.source([scope.from]));
    const [count, visitors] = numbers((await this.known(`event type ${type}`, scope, sql, signal))[0], 2);
    return { count, visitors };
  }

  async countEventTypes(scope: Scope, signal: AbortSignal): Promise<number> {
    const sql = countEventTypesSql(scope, this.source([scope.from]));
    return numbers((await this.known('number of event types', scope, sql, signal))[0], 1)[0];
  }

  /** The latest custom event of each of some types. @param days on which there are events of which types, when it is known */
  private async latestEvents(
    scope: Scope,
    types: readonly string[],
    days: readonly (readonly [number, string])[] | undefined,
    signal: AbortSignal,
  ): Promise<LatestEvents> {
    const source = this.source([scope.from]);
    const direct = async () =>
      (await this.known('event days', scope, eventDaysSql(scope, source), signal)).map(
        ([day, type]) => [Number(day), String(type)] as const,
      );
    const wanted = new Set(types);
    const latest = new Map<string, number>();
    for (const [day, type] of types.length === 0 ? [] : (days ?? (await direct())))
      if (wanted.has(type)) latest.set(type, Math.max(day, latest.get(type) ?? 0));
    if (latest.size === 0) return new Map();
    const key = `latest properties ${JSON.stringify([...latest])}`;
    const ask = () => this.known(key, scope, latestPropertiesSql(scope, latest, source), signal);
    return days === undefined ? latestOf(await ask()) : this.latest.anew(scope, signal, ask);
  }

  async eventTimeline(scope: Scope, starts: readonly number[], signal: AbortSignal): Promise<number[]> {
    const source = this.source([scope.from, ...starts]);
    const carried = source === 'rollup' ? await this.carried.eventTimeline(scope, starts, signal) : undefined;
    const direct = async () =>
      (
        await this.known(
          `event timeline ${starts.join()}`,
          scope,
          eventTimelineSql(scope, starts, source),
          signal,
        )
      ).map((row) => numbers(row, 2));
    return fillNumbers(inSeconds(starts), carried ?? (await direct()));
  }

  async places(
    scope: Scope,
    attribute: 'region' | 'city',
    missing: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<PlaceRow[]> {
    const source = this.source([scope.from]);
    const carried =
      source === 'rollup' ? await this.carried.places(scope, attribute, missing, limit, signal) : undefined;
    if (carried) return carried;
    const sql = placesSql(scope, attribute, missing, limit, source);
    return (await this.known(`places ${attribute} ${missing} ${limit}`, scope, sql, signal)).map(placeRow);
  }

  async properties(
    scope: Scope,
    eventType: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<PropertyRow[]> {
    const sql = propertiesSql(scope, eventType, limit, this.source([scope.from]));
    return (await this.rows(sql, signal)).map(propertyRow);
  }

  async propertyValues(
    scope: Scope,
    eventType: string,
    property: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<PropertyValueRow[]> {
    const sql = propertyValuesSql(scope, eventType, property, limit, this.source([scope.from]));
    return (await this.rows(sql, signal)).map(propertyValueRow);
  }

  async webVitals(scope: Scope, signal: AbortSignal): Promise<VitalRow[]> {
    return (await this.rows(webVitalsSql(scope, this.source([scope.from])), signal)).map(vitalRow);
  }

  async cohorts(siteId: string, starts: readonly number[], signal: AbortSignal): Promise<CohortRow[]> {
    const source = this.source(starts);
    const [from = 0] = starts;
    const scope = { siteId, from, to: starts.at(-1) ?? from, filters: [] };
    const carried = source === 'rollup' ? await this.carried.cohorts(siteId, starts, signal) : undefined;
    const direct = async () =>
      (await this.known(`cohorts ${starts.join()}`, scope, cohortsSql(siteId, starts, source), signal)).map(
        (row) => numbers(row, 3),
      );
    return cohortRows(inSeconds(starts), carried ?? (await direct()));
  }

  async live(siteId: string, since: number, signal: AbortSignal): Promise<number> {
    const [row] = await this.rows(liveSql(siteId, since), signal);
    return numbers(row, 1)[0];
  }

  goals(scope: Scope, goals: readonly GoalMatch[], signal: AbortSignal): Promise<GoalCounts[]> {
    return this.conversions.goals(scope, goals, signal);
  }

  funnel(scope: Scope, question: FunnelQuestion, signal: AbortSignal): Promise<FunnelCounts[]> {
    return this.conversions.funnel(scope, question, signal);
  }

  trackedFunnels(
    siteId: string,
    ids: readonly string[],
    from: number,
    to: number,
    signal: AbortSignal,
  ): Promise<TrackedCounts[]> {
    return this.conversions.trackedFunnels(siteId, ids, from, to, signal);
  }

  close(): Promise<void> {
    this.carried.answers.close();
    return this.reader.close();
  }

  private source(instants: readonly number[]): RowSource {
    return this.options.rawOnly || !onSlots(instants) ? 'raw' : 'rollup';
  }

  /** Rows of an answer that serves until something has arrived. @param part tells the question from others about the scope */
  private known(part: string, scope: Scope, sql: Sql, signal: AbortSignal): Promise<unknown[][]> {
    if (this.options.rawOnly) return this.rows(sql, signal);
    const { answers } = this.carried;
    return this.proved.ask(scope, part, signal, () =>
      answers.whole(scope, signal, () => this.rows(sql, signal)),
    );
  }

  private rows(sql: Sql, signal: AbortSignal): Promise<unknown[][]> {
    return this.reader.rows(sql, signal);
  }
}

const inSeconds = (instants: readonly number[]): number[] => instants.map((at) => Math.floor(at / 1000));
