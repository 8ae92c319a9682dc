/**
 * The figures, written from metrics.md and docs/metrics-notes.md alone and as plainly as can be: every event in memory, no index, no
 * rollup, nothing shared with the product but the row type. Both event stores must answer what this answers.
 */
import { percent, type ReferenceData, round, seconds, sum, visitorsOf } from './reference-data.js';
import {
  DAY,
  daysOf,
  HOUR,
  hoursOf,
  type Interval,
  localName,
  periodOf,
  previousOf,
  type ReferenceQuestion,
} from './reference-period.js';
import { byBytes, groupBy, type ReferenceSession } from './reference-sessions.js';

export class ReferenceMetrics {
  constructor(private readonly data: ReferenceData) {}

  dashboard(question: ReferenceQuestion) {
    const now = this.figures(question, periodOf(question));
    const before = this.figures(question, previousOf(question));
    const fresh = this.data.newVisitors(question);
    return {
      date_range: daysOf(question).length,
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
    const figures = this.buckets(question, DAY);
    return daysOf(question).map((date) => ({ date, ...figures(date) }));
  }

  /** Of today, or of the dates asked for. */
  hourlyStats(question: ReferenceQuestion) {
    const { zone } = question;
    const asked = 'days' in question.range ? { ...question, range: { days: 1 } } : question;
    const figures = this.buckets(asked, HOUR);
    return [...hoursOf(question, daysOf(asked))].map(([hour, at]) => ({
      timestamp: new Date(at).toISOString(),
      hour: localName(zone, 'yyyy-MM-dd HH:00:00', at),
      hour_label: localName(zone, 'HH:mm', at),
      ...figures(hour),
    }));
  }

  /** The hours that began in the last 24 hours. */
  activityTrends(question: ReferenceQuestion) {
    const { zone, now } = question;
    // A day of 22 hours is over before the last 24 are.
    const lately = { ...question, range: { days: 3 } };
    const figures = this.buckets(lately, HOUR);
    const custom = this.data.happened(lately, (event) => event.kind === 2);
    return [...hoursOf(question, daysOf({ ...question, range: { days: 3 } }))]
      .filter(([, at]) => at > now - 86_400_000 && at <= now)
      .map(([hour, at]) => {
        const { views, unique, sessions } = figures(hour);
        const timestamp = new Date(at).toISOString();
        const label = localName(zone, 'HH:mm', at);
        return {
          timestamp,
          visitors: unique,
          page_views: views,
          events: custom.filter((event) => localName(zone, HOUR, event.timestamp) === hour).length,
          sessions,
          engagement: sessions === 0 ? 0 : round(views / sessions),
          label,
          hour: label,
          time: timestamp,
          users: unique,
          pageViews: views,
        };
      });
  }

  trafficSummary(question: ReferenceQuestion) {
    const now = this.figures(question, periodOf(question));
    const before = this.figures(question, previousOf(question));
    const fresh = this.data.newVisitors(question);
    const back = now.unique_visitors - fresh;
    return {
      total_page_views: now.page_views,
      total_visitors: now.sessions,
      unique_visitors: now.unique_visitors,
      total_sessions: now.sessions,
      bounce_rate: now.bounce_rate,
      avg_session_time: now.avg_session_time,
      pages_per_session: now.pages_per_session,
      growth_rate: change(now.page_views, before.page_views) ?? 0,
      visitors_growth_rate: change(now.unique_visitors, before.unique_visitors) ?? 0,
      sessions_growth_rate: change(now.sessions, before.sessions) ?? 0,
      new_visitors: fresh,
      returning_visitors: back,
      engagement_score: percent(
        this.data.started(question).filter((one) => !one.bounced).length,
        now.sessions,
      ),
      retention_rate: percent(back, now.unique_visitors),
    };
  }

  topPages(question: ReferenceQuestion) {
    const period = periodOf(question);
    const views = this.data.views(question, period);
    const rows = [...new Set(views.map((view) => view.page))].map((page) => {
      const ofPage = views.filter((view) => view.page === page);
      const saw = this.data
        .started(question, period)
        .filter((one) => one.views.some((view) => view.page === page));
      const times = ofPage.map((view) => this.data.timeOnPage(view)).filter((time) => time !== undefined);
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
    const views = groupBy(this.data.views(question), (view) => label(this.data.session(view)));
    const started = groupBy(this.data.started(question), label);
    return [...views]
      .map(([name, ofLabel]) => {
        const sessions = started.get(name) ?? [];
        const visitors = visitorsOf(ofLabel);
        const bounce_rate = percent(sessions.filter((one) => one.bounced).length, sessions.length);
        return { name, row: { views: ofLabel.length, unique: visitors, visitors, bounce_rate } };
      })
      .sort((a, b) => b.row.visitors - a.row.visitors || b.row.views - a.row.views || byBytes(a.name, b.name))
      .slice(0, question.limit)
      .map(({ name, row }) => ({ [key]: name, ...row }));
  }

  topItems(question: ReferenceQuestion, label: (session: ReferenceSession) => string) {
    const total = visitorsOf(this.data.views(question, periodOf(question)));
    return this.breakdown(question, 'name', label).map(({ name, visitors }) => ({
      name,
      count: visitors,
      percentage: percent(visitors, total),
    }));
  }

  /** Regions or cities, those of one name in two countries apart. */
  places(question: ReferenceQuestion, name: (session: ReferenceSession) => string) {
    const total = visitorsOf(this.data.views(question));
    const label = (one: ReferenceSession) =>
      name(one) === '' ? 'Unknown\0' : `${name(one)}\0${one.country}`;
    return this.breakdown(question, 'label', label).map((row) => {
      const [place = '', code = ''] = row.label.split('\0');
      const item = { name: place, count: row.visitors, percentage: percent(row.visitors, total) };
      return code === '' ? item : { ...item, code };
    });
  }

  visitorInsights(question: ReferenceQuestion) {
    const period = periodOf(question);
    const started = this.data.started(question, period);
    const visitors = visitorsOf(this.data.views(question, period));
    const fresh = this.data.newVisitors(question);
    const list = (pageOf: (one: ReferenceSession) => string | undefined) =>
      [...new Set(started.map(pageOf))]
        .filter((page) => page !== undefined)
        .map((page) => ({
          page,
          sessions: started.filter((one) => pageOf(one) === page),
          saw: started.filter((one) => one.views.some((view) => view.page === page)).length,
        }))
        .sort((a, b) => b.sessions.length - a.sessions.length || byBytes(a.page, b.page))
        .slice(0, question.limit);
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

  live(now: number): number {
    return visitorsOf(this.data.events.filter((event) => event.received_at >= now - 5 * 60_000));
  }

  private figures(question: ReferenceQuestion, period: Interval) {
    const views = this.data.views(question, period);
    const started = this.data.started(question, period);
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
  private buckets(question: ReferenceQuestion, format: string) {
    const name = (at: number) => localName(question.zone, format, at);
    const views = groupBy(this.data.views(question), (view) => name(view.timestamp));
    const started = groupBy(this.data.started(question), (one) => name(one.start));
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
}

function change(current: number, previous: number): number | null {
  if (previous <= 0) return null;
  return Math.max(-100, Math.min(1000, round(((current - previous) * 100) / previous)));
}
