/** The figures of the naive reference that are about events and campaigns, and who came back. */
import { DateTime } from 'luxon';
import type { EventRow } from '../../src/events/row-decoder.js';
import { percent, type ReferenceData, sum, visitorsOf } from './reference-data.js';
import type { ReferenceMetrics } from './reference-metrics.js';
import { DAY, daysOf, localName, type ReferenceQuestion } from './reference-period.js';
import { byBytes, groupBy, type ReferenceSession } from './reference-sessions.js';

type Utm = keyof ReferenceSession['utm'];

export class ReferenceEvents {
  constructor(
    private readonly data: ReferenceData,
    private readonly metrics: ReferenceMetrics,
  ) {}

  customEvents(question: ReferenceQuestion) {
    const custom = this.data.happened(question, (event) => event.kind === 2);
    const day = (event: EventRow) => localName(question.zone, DAY, event.timestamp);
    const types = [...groupBy(custom, (event) => event.event_type)]
      .map(([event_type, events]) => {
        const latest = [...events].sort(
          (a, b) => b.timestamp - a.timestamp || byBytes(b.properties, a.properties),
        )[0];
        const sample: unknown = JSON.parse(latest?.properties ?? '{}');
        return {
          event_type,
          count: events.length,
          unique_visitors: visitorsOf(events),
          sample_properties: sample,
          sample_event: { event_type, properties: sample },
          common_properties: sample,
        };
      })
      .sort((a, b) => b.count - a.count || byBytes(a.event_type, b.event_type));
    return {
      top_events: types,
      timeseries: daysOf(question).map((date) => ({
        date,
        count: custom.filter((event) => day(event) === date).length,
      })),
      total_events: custom.length,
      unique_events: types.length,
      utm_performance: {
        sources: this.tagged(question, 'source'),
        mediums: this.tagged(question, 'medium'),
        campaigns: this.tagged(question, 'campaign'),
        terms: this.tagged(question, 'term'),
        content: this.tagged(question, 'content'),
      },
    };
  }

  pageUtm(question: ReferenceQuestion) {
    const list = (key: Utm, missing: string) =>
      this.metrics
        .breakdown(question, 'value', (one) => one.utm[key] || missing)
        .map(({ value, views, visitors }) => ({ [key]: value, visits: views, unique_visitors: visitors }));
    return {
      sources: list('source', 'direct'),
      mediums: list('medium', 'none'),
      campaigns: list('campaign', 'none'),
      terms: list('term', 'none'),
      content: list('content', 'none'),
    };
  }

  /** Names of the properties of a type; with `property`, the values of that one. */
  properties(question: ReferenceQuestion, event: string, property: string) {
    const events = this.data.happened(question, (one) => one.kind === 2 && one.event_type === event);
    const found = events.flatMap((one) =>
      Object.entries(readable(one.properties))
        .slice(0, property === '' ? 100 : undefined)
        .filter(
          ([name, value]) =>
            ['string', 'number', 'boolean'].includes(typeof value) &&
            (property === '' ? [...name].length <= 256 : name === property),
        )
        .map(([name, value]) => ({ one, name, value })),
    );
    const rows = <T>(list: typeof found, extra: T) => ({
      ...extra,
      count: list.length,
      unique_visitors: visitorsOf(list.map(({ one }) => one)),
      percentage: percent(list.length, events.length),
    });
    const names = [...groupBy(found, ({ name }) => name)]
      .map(([name, list]) => rows(list, { name }))
      .sort((a, b) => b.count - a.count || byBytes(a.name, b.name));
    const text = (value: unknown) => [...String(value)].slice(0, 256).join('');
    const values = [...groupBy(found, ({ value }) => `${typeof value} ${text(value)}`)]
      .map(([key, list]) => {
        const [type = ''] = key.split(' ', 1);
        return rows(list, { type, value: key.slice(type.length + 1) });
      })
      .sort(
        (a, b) =>
          b.count - a.count ||
          byBytes(a.type, b.type) ||
          (a.type === 'number' ? Number(a.value) - Number(b.value) : byBytes(a.value, b.value)),
      );
    return {
      event,
      property,
      count: events.length,
      unique_visitors: visitorsOf(events),
      properties: property === '' ? names.slice(0, question.limit) : [],
      values: property === '' ? [] : values.slice(0, question.limit),
    };
  }

  webVitals(question: ReferenceQuestion) {
    const { page = () => true } = question;
    const events = this.data.happened(
      question,
      (event) => ['web_vitals', '$web_vitals'].includes(event.event_type) && page(event.page),
    );
    const measures = events.flatMap((event): [string, unknown][] => {
      const properties = readable(event.properties);
      return typeof properties.name === 'string'
        ? [[properties.name.toLowerCase(), properties.value]]
        : Object.entries(properties)
            .slice(0, 100)
            .map(([name, value]) => [name.toLowerCase(), value]);
    });
    return Object.entries(LIMITS).flatMap(([name, [good, poor]]) => {
      const values = measures
        .filter(
          ([metric, value]) =>
            metric === name && typeof value === 'number' && value >= 0 && value <= 3_600_000,
        )
        .map(([, value]) => Math.floor(Number(value) * 1000 + 0.5) / 1000)
        .sort((a, b) => a - b);
      const count = values.length;
      if (count === 0) return [];
      /** Nearest rank: the least value that is not below so many percent of them. */
      const rank = (percentage: number) => values.find((_, i) => (i + 1) * 100 >= percentage * count);
      return [
        {
          name,
          avg: Math.round(sum(values.map((value) => Math.round(value * 1000))) / count) / 1000,
          count,
          p75: rank(75),
          p90: rank(90),
          p99: rank(99),
          good: values.filter((value) => value <= good).length,
          needs_improvement: values.filter((value) => value > good && value <= poor).length,
          poor: values.filter((value) => value > poor).length,
        },
      ];
    });
  }

  retention({ zone, now }: ReferenceQuestion) {
    const today = DateTime.fromMillis(now, { zone }).startOf('day');
    const dayOf = (at: number) => localName(zone, DAY, at);
    const active = new Map(
      [...groupBy(this.data.events, (event) => event.visitor_id)].map(([visitor, events]) => [
        visitor,
        {
          first: dayOf(this.data.firstSeen.get(visitor) ?? 0),
          days: new Set(events.map((event) => dayOf(event.timestamp))),
        },
      ]),
    );
    const visitors = [...active.values()];
    const dayN = (n: number) => {
      const oldest = today.minus({ days: 30 + n - 1 }).toISODate() ?? '';
      const youngest = today.minus({ days: n }).toISODate() ?? '';
      const cohort = visitors.filter(({ first }) => first >= oldest && first <= youngest);
      const back = cohort.filter(({ first, days }) =>
        days.has(DateTime.fromISO(first, { zone: 'utc' }).plus({ days: n }).toISODate() ?? ''),
      );
      return percent(back.length, cohort.length);
    };
    const thisWeek = DateTime.fromISO(weekOf(today.toISODate() ?? ''), { zone: 'utc' });
    const weeks = Array.from({ length: 8 }, (_, i) => thisWeek.minus({ weeks: 7 - i }).toISODate() ?? '');
    return {
      date_range: 30,
      total_visitors: visitorsOf(this.data.views({ zone, now, range: { days: 30 }, limit: 0 })),
      day_1: dayN(1),
      day_7: dayN(7),
      day_30: dayN(30),
      cohorts: weeks.map((week, i) => {
        const cohort = visitors.filter(({ first }) => weekOf(first) === week);
        return {
          week,
          size: cohort.length,
          retention: weeks
            .slice(i + 1)
            .map((later) =>
              percent(
                cohort.filter(({ days }) => [...days].some((day) => weekOf(day) === later)).length,
                cohort.length,
              ),
            ),
        };
      }),
    };
  }

  private tagged(question: ReferenceQuestion, key: Utm) {
    const started = this.data.started(question);
    return this.metrics
      .breakdown({ ...question, limit: 1_000 }, 'value', (one) => one.utm[key])
      .filter(({ value }) => value !== '')
      .slice(0, 10)
      .map(({ value, views, visitors }) => ({
        [key]: value,
        visits: views,
        unique_visitors: visitors,
        pageviews: views,
        sessions: started.filter((one) => one.utm[key] === value).length,
      }));
  }
}

const weekStarts = new Map<string, string>();

/** First day of a date's week; remembered, for cohorts ask it of every visitor's every day. */
function weekOf(date: string): string {
  const known =
    weekStarts.get(date) ?? DateTime.fromISO(date, { zone: 'utc' }).startOf('week').toISODate() ?? '';
  weekStarts.set(date, known);
  return known;
}

/** good up to the first, poor above the second (https://web.dev/articles/vitals); in the order of answers. */
const LIMITS: Readonly<Record<string, readonly [number, number]>> = {
  lcp: [2500, 4000],
  inp: [200, 500],
  cls: [0.1, 0.25],
  fid: [100, 300],
  fcp: [1800, 3000],
  ttfb: [800, 1800],
};

/** Properties, unless a whole number in them is beyond 64 bits. */
function readable(text: string): Record<string, unknown> {
  if (/[:,[](-\d{19}|\d{20})/.test(text)) return {};
  const value: unknown = JSON.parse(text);
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}
