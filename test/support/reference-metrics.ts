/**
 * The figures, written from metrics.md and docs/metrics-notes.md alone and as plainly as can be: every event in memory, no index, no
 * rollup, nothing shared with the product but the row type. Both event stores must answer what this answers.
 */
import { DateTime } from 'luxon';
import type { EventRow } from '../../src/events/row-decoder.js';
import { byBytes, CAP, groupBy, lastExit, type ReferenceSession, session } from './reference-sessions.js';

export type { ReferenceSession } from './reference-sessions.js';

export interface ReferenceQuestion {
  readonly zone: string;
  /** ms since epoch */
  readonly now: number;
  readonly range: { readonly days: number } | { readonly from: string; readonly to: string };
  readonly limit: number;
  /** What the filters let through. */
  readonly session?: (session: ReferenceSession) => boolean;
  readonly page?: (page: string) => boolean;
}

interface Interval {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

const round = (value: number): number => Math.round(value * 100) / 100;
const percent = (part: number, whole: number): number => (whole === 0 ? 0 : round((part * 100) / whole));
const distinct = <T>(values: Iterable<T>): number => new Set(values).size;
const visitorsOf = (events: readonly EventRow[]): number => distinct(events.map((event) => event.visitor_id));
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

function seconds(values: readonly number[]): number {
  return values.length === 0 ? 0 : round(sum(values) / values.length / 1000);
}

export class ReferenceMetrics {
  private readonly events: readonly EventRow[];
  private readonly sessions: readonly ReferenceSession[];
  private readonly sessionOf: ReadonlyMap<string, ReferenceSession>;
  private readonly firstSeen = new Map<string, number>();

  /** @param events all that are stored for all sites, without bots */
  constructor(events: readonly EventRow[], siteId: string) {
    this.events = events.filter((event) => event.site_id === siteId);
    const groups = groupBy(this.events, (event) => event.session_id);
    this.sessions = [...groups].map(([id, list]) => session(id, list));
    this.sessionOf = new Map(this.sessions.map((one) => [one.id, one]));
    for (const event of this.events) {
      const known = this.firstSeen.get(event.visitor_id) ?? Number.POSITIVE_INFINITY;
      this.firstSeen.set(event.visitor_id, Math.min(known, event.timestamp));
    }
  }

  dashboard(question: ReferenceQuestion) {
    const now = this.figures(question, this.period(question));
    const before = this.figures(question, this.previous(question));
    const fresh = this.newVisitors(question);
    return {
      date_range: this.days(question).length,
      total_visitors: now.sessions,
      unique_visitors: now.unique_visitors,
      page_views: now.page_views,
      session_duration: now.avg_session_time,
      bounce_rate: now.bounce_rate,
      new_visitors: fresh,
      returning_visitors: now.unique_visitors - fresh,
      comparison: {
        current_period: now,
        previous_period: before,
        total_visitor_change: change(now.sessions, before.sessions),
        visitor_change: change(now.unique_visitors, before.unique_visitors),
        pageview_change: change(now.page_views, before.page_views),
        session_change: change(now.sessions, before.sessions),
        bounce_change: change(now.bounce_rate, before.bounce_rate),
        duration_change: change(now.avg_session_time, before.avg_session_time),
      },
      metrics: now,
    };
  }

  dailyStats(question: ReferenceQuestion) {
    const figures = this.buckets(question, (local) => local.toFormat('yyyy-MM-dd'));
    return this.days(question).map((date) => ({ date, ...figures(date) }));
  }

  /** Hours that the local clock shows, told apart by their offset from UTC. */
  hourlyStats(question: ReferenceQuestion) {
    const { zone } = question;
    const format = 'yyyy-MM-dd HH ZZZ';
    const hours = new Map<string, number>();
    const days = this.days(question);
    const begin = DateTime.fromISO(days[0] ?? '', { zone }).toMillis();
    const end = DateTime.fromISO(days.at(-1) ?? '', { zone })
      .plus({ days: 1 })
      .toMillis();
    for (let at = begin; at < end; at += 15 * 60_000) {
      const hour = DateTime.fromMillis(at, { zone }).toFormat(format);
      if (!hours.has(hour)) hours.set(hour, at);
    }
    const figures = this.buckets(question, (local) => local.toFormat(format));
    return [...hours].map(([hour, at]) => ({
      timestamp: new Date(at).toISOString(),
      hour: DateTime.fromMillis(at, { zone }).toFormat('yyyy-MM-dd HH:00:00'),
      hour_label: DateTime.fromMillis(at, { zone }).toFormat('HH:mm'),
      ...figures(hour),
    }));
  }

  topPages(question: ReferenceQuestion) {
    const period = this.period(question);
    const views = this.views(question, period);
    const rows = [...new Set(views.map((view) => view.page))].map((page) => {
      const ofPage = views.filter((view) => view.page === page);
      const saw = this.started(question, period).filter((one) =>
        one.views.some((view) => view.page === page),
      );
      const times = ofPage.map((view) => this.timeOnPage(view)).filter((time) => time !== undefined);
      return {
        page,
        views: ofPage.length,
        unique: visitorsOf(ofPage),
        visitors: visitorsOf(ofPage),
        bounce_rate: percent(saw.filter((one) => one.bounced).length, saw.length),
        avg_time: seconds(times),
        entry_rate: percent(saw.filter((one) => one.views[0]?.page === page).length, saw.length),
        exit_rate: percent(saw.filter((one) => one.views.at(-1)?.page === page).length, saw.length),
      };
    });
    return rows
      .sort((a, b) => b.visitors - a.visitors || b.views - a.views || byBytes(a.page, b.page))
      .slice(0, question.limit);
  }

  /** Rows of a session attribute under the contract's name for it. */
  breakdown<K extends string>(
    question: ReferenceQuestion,
    key: K,
    label: (session: ReferenceSession) => string,
  ): ({ [key in K]: string } & { views: number; unique: number; visitors: number; bounce_rate: number })[];
  breakdown(
    question: ReferenceQuestion,
    key: string,
    label: (session: ReferenceSession) => string,
  ): object[] {
    const period = this.period(question);
    const views = this.views(question, period);
    const labelOf = (view: EventRow) => label(this.session(view));
    return [...new Set(views.map(labelOf))]
      .map((name) => {
        const ofLabel = views.filter((view) => labelOf(view) === name);
        const sessions = this.started(question, period).filter((one) => label(one) === name);
        const visitors = visitorsOf(ofLabel);
        const bounce_rate = percent(sessions.filter((one) => one.bounced).length, sessions.length);
        return { name, row: { views: ofLabel.length, unique: visitors, visitors, bounce_rate } };
      })
      .sort((a, b) => b.row.visitors - a.row.visitors || b.row.views - a.row.views || byBytes(a.name, b.name))
      .slice(0, question.limit)
      .map(({ name, row }) => ({ [key]: name, ...row }));
  }

  topItems(question: ReferenceQuestion, label: (session: ReferenceSession) => string) {
    const total = visitorsOf(this.views(question, this.period(question)));
    return this.breakdown(question, 'name', label).map(({ name, visitors }) => ({
      name,
      count: visitors,
      percentage: percent(visitors, total),
    }));
  }

  visitorInsights(question: ReferenceQuestion) {
    const period = this.period(question);
    const started = this.started(question, period);
    const visitors = visitorsOf(this.views(question, period));
    const fresh = this.newVisitors(question);
    const shown = question.page ?? (() => true);
    const list = (pageOf: (one: ReferenceSession) => string | undefined) =>
      [...new Set(started.map(pageOf))]
        .filter((page) => page !== undefined)
        .filter(shown)
        .map((page) => ({
          page,
          sessions: started.filter((one) => pageOf(one) === page),
          saw: started.filter((one) => one.views.some((view) => view.page === page)).length,
        }))
        .sort((a, b) => b.sessions.length - a.sessions.length || byBytes(a.page, b.page))
        .slice(0, 10);
    return {
      new_visitors: fresh,
      returning_visitors: visitors - fresh,
      avg_session_duration: seconds(started.map((one) => one.durationMs)),
      new_visitor_percentage: percent(fresh, visitors),
      returning_visitor_percentage: percent(visitors - fresh, visitors),
      top_entry_pages: list((one) => one.views[0]?.page).map(({ page, sessions }) => ({
        page,
        sessions: sessions.length,
        bounce_rate: percent(sessions.filter((one) => one.bounced).length, sessions.length),
      })),
      top_exit_pages: list((one) => one.views.at(-1)?.page).map(({ page, sessions, saw }) => ({
        page,
        sessions: sessions.length,
        exit_rate: percent(sessions.length, saw),
      })),
    };
  }

  customEvents(question: ReferenceQuestion) {
    const period = this.period(question);
    const { session: lets = () => true, page } = question;
    const custom = this.events.filter(
      (event) =>
        event.kind === 2 &&
        inside(period, event.timestamp) &&
        lets(this.session(event)) &&
        (!page || this.session(event).views.some((view) => page(view.page))),
    );
    const day = (event: EventRow) =>
      DateTime.fromMillis(event.timestamp, { zone: question.zone }).toISODate();
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
      timeseries: this.days(question).map((date) => ({
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

  retention({ zone, now }: ReferenceQuestion) {
    const today = DateTime.fromMillis(now, { zone }).startOf('day');
    const dayOf = (at: number) => DateTime.fromMillis(at, { zone }).toISODate() ?? '';
    const active = new Map(
      [...groupBy(this.events, (event) => event.visitor_id)].map(([visitor, events]) => [
        visitor,
        {
          first: dayOf(this.firstSeen.get(visitor) ?? 0),
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
    const weekOf = (date: string) =>
      DateTime.fromISO(date, { zone: 'utc' }).startOf('week').toISODate() ?? '';
    const thisWeek = DateTime.fromISO(weekOf(today.toISODate() ?? ''), { zone: 'utc' });
    const weeks = Array.from({ length: 8 }, (_, i) => thisWeek.minus({ weeks: 7 - i }).toISODate() ?? '');
    return {
      date_range: 30,
      total_visitors: visitorsOf(
        this.views(
          { zone, now, range: { days: 30 }, limit: 0 },
          this.period({ zone, now, range: { days: 30 }, limit: 0 }),
        ),
      ),
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

  private tagged(question: ReferenceQuestion, key: keyof ReferenceSession['utm']) {
    const period = this.period(question);
    const started = this.started(question, period);
    return this.breakdown({ ...question, limit: 1_000 }, 'value', (one) => one.utm[key])
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

  live(now: number): number {
    return visitorsOf(this.events.filter((event) => event.received_at >= now - 5 * 60_000));
  }

  private figures(question: ReferenceQuestion, period: Interval) {
    const views = this.views(question, period);
    const started = this.started(question, period);
    return {
      page_views: views.length,
      total_visitors: started.length,
      unique_visitors: visitorsOf(views),
      sessions: started.length,
      bounce_rate: percent(started.filter((one) => one.bounced).length, started.length),
      avg_session_time: seconds(started.map((one) => one.durationMs)),
      pages_per_session:
        started.length === 0 ? 0 : round(sum(started.map((one) => one.views.length)) / started.length),
    };
  }

  /** Figures of the period by what a local time is called. */
  private buckets(question: ReferenceQuestion, nameOf: (local: DateTime) => string) {
    const period = this.period(question);
    const name = (at: number) => nameOf(DateTime.fromMillis(at, { zone: question.zone }));
    const views = groupBy(this.views(question, period), (view) => name(view.timestamp));
    const started = groupBy(this.started(question, period), (one) => name(one.start));
    return (bucket: string) => {
      const viewed = views.get(bucket) ?? [];
      const sessions = started.get(bucket) ?? [];
      return {
        views: viewed.length,
        unique: visitorsOf(viewed),
        sessions: sessions.length,
        bounce_rate: percent(sessions.filter((one) => one.bounced).length, sessions.length),
      };
    };
  }

  private newVisitors(question: ReferenceQuestion): number {
    const period = this.period(question);
    const views = this.views(question, period);
    return visitorsOf(views.filter((view) => inside(period, this.firstSeen.get(view.visitor_id) ?? 0)));
  }

  /** Page views in the period that the filters let through. */
  private views(question: ReferenceQuestion, period: Interval): EventRow[] {
    const { session: lets = () => true, page = () => true } = question;
    return this.events.filter(
      (event) =>
        event.kind === 1 && inside(period, event.timestamp) && page(event.page) && lets(this.session(event)),
    );
  }

  /** Sessions that started in the period and that the filters let through. */
  private started(question: ReferenceQuestion, period: Interval): ReferenceSession[] {
    const { session: lets = () => true, page } = question;
    return this.sessions.filter(
      (one) => inside(period, one.start) && lets(one) && (!page || one.views.some((view) => page(view.page))),
    );
  }

  private timeOnPage(view: EventRow): number | undefined {
    const one = this.session(view);
    const next = one.views[one.views.indexOf(view) + 1];
    if (next) return Math.min(CAP, next.timestamp - view.timestamp);
    const exit = lastExit(one.events, view.timestamp);
    if (exit && exit.time_on_page > 0) return Math.min(CAP, exit.time_on_page * 1000);
    const last = Math.max(...one.events.map((event) => event.timestamp));
    return last > view.timestamp ? Math.min(CAP, last - view.timestamp) : undefined;
  }

  private session(event: EventRow): ReferenceSession {
    const found = this.sessionOf.get(event.session_id);
    if (!found) throw new Error('an event without session');
    return found;
  }

  private days({ range, zone, now }: ReferenceQuestion): string[] {
    const today = DateTime.fromMillis(now, { zone });
    const first = 'days' in range ? today.minus({ days: range.days - 1 }).toISODate() : range.from;
    const last = 'days' in range ? today.toISODate() : range.to;
    const days: string[] = [];
    for (let day = DateTime.fromISO(first ?? '', { zone: 'utc' }); day.toISODate() !== null; ) {
      const text = day.toISODate() ?? '';
      if (text > (last ?? '')) break;
      days.push(text);
      day = day.plus({ days: 1 });
    }
    return days;
  }

  private period(question: ReferenceQuestion): Interval {
    const days = this.days(question);
    return cut(question, days[0] ?? '', days.length, question.now + 1);
  }

  private previous(question: ReferenceQuestion): Interval {
    const days = this.days(question);
    const first = DateTime.fromISO(days[0] ?? '', { zone: 'utc' }).minus({ days: days.length });
    const sameTime = DateTime.fromMillis(question.now, { zone: question.zone }).minus({ days: days.length });
    return cut(question, first.toISODate() ?? '', days.length, sameTime.toMillis() + 1);
  }
}

function cut({ zone }: ReferenceQuestion, first: string, days: number, end: number): Interval {
  const from = DateTime.fromISO(first, { zone }).startOf('day');
  return {
    from: from.toMillis(),
    to: Math.max(from.toMillis(), Math.min(end, from.plus({ days }).startOf('day').toMillis())),
  };
}

const inside = ({ from, to }: Interval, at: number): boolean => at >= from && at < to;

function change(current: number, previous: number): number | null {
  if (previous <= 0) return null;
  return Math.max(-100, Math.min(1000, round(((current - previous) * 100) / previous)));
}
