/**
 * The store as the edge sees it: equal questions asked at the same time are asked once, an answer serves for a moment longer, and
 * only so many questions reach the store at once. A dashboard page asks twenty in one go, and every open one asks again and again.
 */
import { LRUCache } from 'lru-cache';
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Telemetry } from '../telemetry.js';
import { BreakdownBatches } from './breakdown-batches.js';
import { Flight } from './flight.js';
import type { FunnelCounts, TrackedCounts } from './funnel-metrics.js';
import type { GoalCounts } from './goal-metrics.js';
import type {
  BreakdownRow,
  BucketCounts,
  CohortRow,
  EventTypeCounts,
  EventTypeRow,
  MetricsStore,
  PageRow,
  PlaceRow,
  PropertyRow,
  PropertyValueRow,
  Scope,
  Totals,
  VitalRow,
} from './metrics-store.js';
import { settleFilters } from './settled-filters.js';
import { Turns } from './turns.js';

export interface SharedMetricsOptions {
  readonly telemetry: Telemetry;
  /** Questions that the store answers at the same time; default what the store says, or 4. */
  readonly concurrency?: number;
  /** Questions that may wait for their turn before further ones are refused; default 256. */
  readonly queueLimit?: number;
  /** How long an answer serves since it was asked for; default 2,000 ms, live visitors 500 ms. */
  readonly ttlMs?: number;
  readonly liveTtlMs?: number;
  /** Answers that are kept, all together in characters of their JSON; default 16 million. */
  readonly cacheCharacters?: number;
}

/**
 * Wraps a store.
 * @throws (from every method) AppError `overloaded` when too many questions wait, the signal's reason when the caller has left
 */
export function shareMetrics(store: MetricsStore, options: SharedMetricsOptions): MetricsStore {
  const { questionsAtOnce: concurrency = 4 } = store;
  const shared = new SharedState({ concurrency, ...options });
  const { ttlMs = 2_000, liveTtlMs = 500 } = options;
  const totals = new Question<Totals>('totals', shared, ttlMs);
  const returning = new Question<number>('returning_visitors', shared, ttlMs);
  const timeline = new Question<BucketCounts[]>('timeline', shared, ttlMs);
  const batches = new BreakdownBatches(store, (site, signal, work) => shared.turns.take(site, signal, work));
  // A batch takes one turn for all of its members.
  const breakdown = new Question<BreakdownRow[]>('breakdown', shared, ttlMs, (_site, _signal, work) =>
    work(),
  );
  const oneBreakdown: MetricsStore['breakdown'] = (scope, attribute, missing, limit, signal) =>
    breakdown.ask([scope, attribute, missing, limit], signal, (own) =>
      batches.ask(scope, { attribute, missing, limit }, own),
    );
  const pages = new Question<PageRow[]>('pages', shared, ttlMs);
  const eventTypes = new Question<EventTypeRow[]>('event_types', shared, ttlMs);
  const oneEventType = new Question<EventTypeCounts>('event_type', shared, ttlMs);
  const countEventTypes = new Question<number>('count_event_types', shared, ttlMs);
  const eventTimeline = new Question<number[]>('event_timeline', shared, ttlMs);
  const places = new Question<PlaceRow[]>('places', shared, ttlMs);
  const properties = new Question<PropertyRow[]>('properties', shared, ttlMs);
  const propertyValues = new Question<PropertyValueRow[]>('property_values', shared, ttlMs);
  const webVitals = new Question<VitalRow[]>('web_vitals', shared, ttlMs);
  const cohorts = new Question<CohortRow[]>('cohorts', shared, ttlMs);
  const goals = new Question<GoalCounts[]>('goals', shared, ttlMs);
  const funnel = new Question<FunnelCounts[]>('funnel', shared, ttlMs);
  const tracked = new Question<TrackedCounts[]>('tracked_funnels', shared, ttlMs);
  const live = new Question<number>('live', shared, liveTtlMs);
  return settleFilters({
    totals: (scope, signal) => totals.ask([scope], signal, (own) => store.totals(scope, own)),
    returningVisitors: (scope, signal) =>
      returning.ask([scope], signal, (own) => store.returningVisitors(scope, own)),
    timeline: (scope, starts, signal) =>
      timeline.ask([scope, starts], signal, (own) => store.timeline(scope, starts, own)),
    breakdown: oneBreakdown,
    breakdowns: (scope, wanted, signal) =>
      Promise.all(
        wanted.map(({ attribute, missing, limit }) => oneBreakdown(scope, attribute, missing, limit, signal)),
      ),
    pages: (scope, order, limit, signal) =>
      pages.ask([scope, order, limit], signal, (own) => store.pages(scope, order, limit, own)),
    eventTypes: (scope, limit, signal) =>
      eventTypes.ask([scope, limit], signal, (own) => store.eventTypes(scope, limit, own)),
    oneEventType: (scope, type, signal) =>
      oneEventType.ask([scope, type], signal, (own) => store.oneEventType(scope, type, own)),
    countEventTypes: (scope, signal) =>
      countEventTypes.ask([scope], signal, (own) => store.countEventTypes(scope, own)),
    eventTimeline: (scope, starts, signal) =>
      eventTimeline.ask([scope, starts], signal, (own) => store.eventTimeline(scope, starts, own)),
    places: (scope, attribute, missing, limit, signal) =>
      places.ask([scope, attribute, missing, limit], signal, (own) =>
        store.places(scope, attribute, missing, limit, own),
      ),
    properties: (scope, eventType, limit, signal) =>
      properties.ask([scope, eventType, limit], signal, (own) =>
        store.properties(scope, eventType, limit, own),
      ),
    propertyValues: (scope, eventType, property, limit, signal) =>
      propertyValues.ask([scope, eventType, property, limit], signal, (own) =>
        store.propertyValues(scope, eventType, property, limit, own),
      ),
    webVitals: (scope, signal) => webVitals.ask([scope], signal, (own) => store.webVitals(scope, own)),
    cohorts: (siteId, starts, signal) =>
      cohorts.ask([siteId, starts], signal, (own) => store.cohorts(siteId, starts, own)),
    live: (siteId, since, signal) => live.ask([siteId], signal, (own) => store.live(siteId, since, own)),
    goals: (scope, list, signal) => goals.ask([scope, list], signal, (own) => store.goals(scope, list, own)),
    funnel: (scope, question, signal) =>
      funnel.ask([scope, question], signal, (own) => store.funnel(scope, question, own)),
    trackedFunnels: (siteId, ids, from, to, signal) =>
      tracked.ask([siteId, ids, from, to], signal, (own) => store.trackedFunnels(siteId, ids, from, to, own)),
    close: () => store.close(),
  });
}

/** What all questions of a store have in common. */
class SharedState {
  readonly turns: Turns;
  readonly asked: Counter<'question' | 'outcome'>;
  readonly seconds: Histogram<'question'>;
  /** Of each of the questions. */
  readonly cacheCharacters: number;

  constructor({
    telemetry,
    concurrency = 4,
    queueLimit = 256,
    cacheCharacters = 16_000_000,
  }: SharedMetricsOptions) {
    const registers = [telemetry.registry];
    this.cacheCharacters = Math.ceil(cacheCharacters / 16);
    this.turns = new Turns(concurrency, queueLimit);
    this.asked = new Counter({
      name: 'seentics_metrics_questions_total',
      help: 'Questions for figures by what came of them: cached, shared with an equal one under way, or queried',
      labelNames: ['question', 'outcome'],
      registers,
    });
    this.seconds = new Histogram({
      name: 'seentics_metrics_query_seconds',
      help: 'Time of a query for figures, its wait for a turn included',
      labelNames: ['question'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15],
      registers,
    });
    const { turns } = this;
    new Gauge({
      name: 'seentics_metrics_queries',
      help: 'Queries for figures that run or wait for a turn',
      labelNames: ['state'],
      registers,
      collect() {
        this.set({ state: 'running' }, turns.running);
        this.set({ state: 'waiting' }, turns.waiting);
      },
    });
  }
}

const siteOf = (about: Pick<Scope, 'siteId'> | string): string =>
  typeof about === 'string' ? about : about.siteId;

class Question<T> {
  private readonly flights = new Map<string, Flight<T>>();
  private readonly answers: LRUCache<string, { readonly value: T }>;

  constructor(
    private readonly name: string,
    private readonly shared: SharedState,
    ttlMs: number,
    private readonly take: Turns['take'] = (site, signal, work) => shared.turns.take(site, signal, work),
  ) {
    this.answers = new LRUCache({
      max: 2_000,
      maxSize: shared.cacheCharacters,
      ttl: Math.max(1, ttlMs),
      sizeCalculation: (answer, key) => key.length + JSON.stringify(answer.value).length,
    });
  }

  async ask(
    args: readonly [about: Pick<Scope, 'siteId'> | string, ...rest: unknown[]],
    signal: AbortSignal,
    query: (own: AbortSignal) => Promise<T>,
  ): Promise<T> {
    signal.throwIfAborted();
    const key = JSON.stringify(args);
    const known = this.answers.get(key);
    const flight = this.flights.get(key);
    this.shared.asked.inc({
      question: this.name,
      outcome: known ? 'cached' : flight ? 'shared' : 'queried',
    });
    return known ? known.value : (flight ?? this.start(key, siteOf(args[0]), query)).join(signal);
  }

  private start(key: string, site: string, query: (own: AbortSignal) => Promise<T>): Flight<T> {
    const flight: Flight<T> = new Flight(async (own) => {
      // What is stored meanwhile is not in it.
      const start = performance.now();
      const stop = this.shared.seconds.startTimer({ question: this.name });
      try {
        const value = await this.take(site, own, () => query(own));
        this.answers.set(key, { value }, { start });
        return value;
      } finally {
        stop();
        if (this.flights.get(key) === flight) this.flights.delete(key);
      }
    });
    this.flights.set(key, flight);
    flight.signal.addEventListener('abort', () => {
      // A newcomer must not join a question that is being ended.
      if (this.flights.get(key) === flight) this.flights.delete(key);
    });
    return flight;
  }
}
