/** Reports about custom events, campaigns and web vitals (contract 7.4, 7.15, 18.5). */
import { AppError } from '../errors.js';
import { type Asked, scopeOf } from './asked.js';
import { compareBytes, percent } from './figures.js';
import type { SessionAttribute } from './filters.js';
import type { EventTypeRow, MetricsStore } from './metrics-store.js';
import { dayStarts, formatDate } from './period.js';
import { vitalFigures } from './web-vitals.js';

const MAX_EVENT_TYPES = 1000;
const UTM_ROWS = 10;
/** Longest name of an event type and of a property that can be asked for, UTF-16 units. */
const MAX_NAME = 256;

/** Points of heatmaps by their type; instants in ms since epoch, both inclusive. */
export interface HeatPointTotals {
  typeTotals(
    siteId: string,
    range: { readonly from: number; readonly to: number },
    signal: AbortSignal,
  ): Promise<Readonly<Record<(typeof FRUSTRATION)[number], number>>>;
}

/** Clicks of annoyed visitors: the tracker reports them to the heatmaps alone. */
const FRUSTRATION = ['rage_click', 'dead_click'] as const;

export class EventReports {
  constructor(
    private readonly store: MetricsStore,
    private readonly heat: HeatPointTotals,
  ) {}

  async customEvents(asked: Asked) {
    const scope = scopeOf(asked);
    const [types, clicks, days, sources, mediums, campaigns, terms, content] = await Promise.all([
      this.store.eventTypes(scope, MAX_EVENT_TYPES, asked.signal),
      this.frustration(asked),
      this.store.eventTimeline(scope, dayStarts(asked.period), asked.signal),
      this.tagged(asked, 'utm_source', 'source'),
      this.tagged(asked, 'utm_medium', 'medium'),
      this.tagged(asked, 'utm_campaign', 'campaign'),
      this.tagged(asked, 'utm_term', 'term'),
      this.tagged(asked, 'utm_content', 'content'),
    ]);
    return {
      top_events: [...types.map(topEvent), ...clicks].sort(
        (a, b) => b.count - a.count || compareBytes(a.event_type, b.event_type),
      ),
      timeseries: days.map((count, i) => ({ date: formatDate(asked.period.firstDay + i), count })),
      total_events: days.reduce((sum, count) => sum + count, 0),
      unique_events:
        types.length < MAX_EVENT_TYPES ? types.length : await this.store.countEventTypes(scope, asked.signal),
      utm_performance: { sources, mediums, campaigns, terms, content },
    };
  }

  /** UTM values of the sessions that viewed a page; `asked` holds the filter for it. */
  async pageUtm(asked: Asked) {
    const rows = async <K extends string>(attribute: SessionAttribute, key: K, missing: string) => {
      const found = await this.store.breakdown(scopeOf(asked), attribute, missing, asked.limit, asked.signal);
      return found.map(({ value, views, visitors }) => named(key, value, views, visitors));
    };
    const [sources, mediums, campaigns, terms, content] = await Promise.all([
      rows('utm_source', 'source', 'direct'),
      rows('utm_medium', 'medium', 'none'),
      rows('utm_campaign', 'campaign', 'none'),
      rows('utm_term', 'term', 'none'),
      rows('utm_content', 'content', 'none'),
    ]);
    return { sources, mediums, campaigns, terms, content };
  }

  /**
   * Properties of the events of one type, or the values of one of them.
   * @throws AppError `invalid_parameter` when no type is named, or a name is too long to be one
   */
  async eventProperties(asked: Asked, event = '', property = '') {
    if (event === '') throw new AppError('invalid_parameter', 'event query parameter is required');
    if (event.length > MAX_NAME || property.length > MAX_NAME)
      throw new AppError('invalid_parameter', `event and property have at most ${MAX_NAME} characters`);
    const scope = scopeOf(asked);
    const { limit, signal } = asked;
    const [types, properties, values] = await Promise.all([
      this.store.eventTypes(scope, MAX_EVENT_TYPES, signal),
      property === '' ? this.store.properties(scope, event, limit, signal) : [],
      property === '' ? [] : this.store.propertyValues(scope, event, property, limit, signal),
    ]);
    const type =
      types.length < MAX_EVENT_TYPES || types.some((one) => one.type === event)
        ? types.find((one) => one.type === event)
        : await this.store.oneEventType(scope, event, signal);
    const count = type?.count ?? 0;
    return {
      event,
      property,
      count,
      unique_visitors: type?.visitors ?? 0,
      properties: properties.map((row) => ({
        name: row.name,
        count: row.count,
        unique_visitors: row.visitors,
        percentage: percent(row.count, count),
      })),
      values: values.map((row) => ({
        value: row.value,
        type: row.type,
        count: row.count,
        unique_visitors: row.visitors,
        percentage: percent(row.count, count),
      })),
    };
  }

  async webVitals(asked: Asked) {
    return vitalFigures(await this.store.webVitals(scopeOf(asked), asked.signal));
  }

  /** Heat points belong to no session: with filters, none are told. */
  private async frustration({ siteId, period, filters, signal }: Asked): Promise<TopEvent[]> {
    if (filters.length > 0) return [];
    const totals = await this.heat.typeTotals(siteId, { from: period.from, to: period.to - 1 }, signal);
    return FRUSTRATION.filter((type) => totals[type] > 0).map((type) => ({
      event_type: type,
      count: totals[type],
      sample_properties: {},
      sample_event: { event_type: type, properties: {} },
      common_properties: {},
    }));
  }

  private async tagged<K extends string>(asked: Asked, attribute: SessionAttribute, key: K) {
    const rows = await this.store.breakdown(scopeOf(asked), attribute, '', UTM_ROWS + 1, asked.signal);
    return rows
      .filter(({ value }) => value !== '')
      .slice(0, UTM_ROWS)
      .map(({ value, views, visitors, sessions }) => ({
        ...named(key, value, views, visitors),
        pageviews: views,
        sessions,
      }));
  }
}

interface TopEvent {
  readonly event_type: string;
  readonly count: number;
  readonly unique_visitors?: number;
  readonly sample_properties: object;
  readonly sample_event: object;
  readonly common_properties: object;
}

function topEvent({ type, count, visitors, properties }: EventTypeRow): TopEvent {
  const sample = parseObject(properties);
  return {
    event_type: type,
    count,
    unique_visitors: visitors,
    sample_properties: sample,
    sample_event: { event_type: type, properties: sample },
    common_properties: sample,
  };
}

type Named<K extends string> = { [key in K]: string } & { visits: number; unique_visitors: number };

function named<K extends string>(key: K, value: string, visits: number, unique_visitors: number): Named<K>;
function named(key: string, value: string, visits: number, unique_visitors: number): object {
  return { [key]: value, visits, unique_visitors };
}

function parseObject(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
  } catch {
    return {};
  }
}
