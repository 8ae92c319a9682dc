/** All events in memory, and what of them a question is about. */
import type { EventRow } from '../../src/events/row-decoder.js';
import { type Interval, inside, periodOf, type ReferenceQuestion } from './reference-period.js';
import { CAP, groupBy, lastExit, type ReferenceSession, session } from './reference-sessions.js';

export const round = (value: number): number => Math.round(value * 100) / 100;
export const percent = (part: number, whole: number): number =>
  whole === 0 ? 0 : round((part * 100) / whole);
export const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
export const visitorsOf = (events: readonly EventRow[]): number =>
  new Set(events.map((event) => event.visitor_id)).size;

/** Mean in seconds of values in ms. */
export const seconds = (values: readonly number[]): number =>
  values.length === 0 ? 0 : round(sum(values) / values.length / 1000);

interface Found extends Interval {
  readonly session: ReferenceQuestion['session'];
  readonly page: ReferenceQuestion['page'];
  readonly views: readonly EventRow[];
  readonly started: readonly ReferenceSession[];
}

export class ReferenceData {
  readonly events: readonly EventRow[];
  readonly sessions: readonly ReferenceSession[];
  /** First event of a visitor, ms. */
  readonly firstSeen = new Map<string, number>();
  private readonly sessionOf: ReadonlyMap<string, ReferenceSession>;
  /** What was looked for last: the reports of one question look for the same. */
  private readonly found: Found[] = [];

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

  session(event: EventRow): ReferenceSession {
    const found = this.sessionOf.get(event.session_id);
    if (!found) throw new Error('an event without session');
    return found;
  }

  /** Page views in the interval that the filters let through. */
  views(question: ReferenceQuestion, interval: Interval = periodOf(question)): readonly EventRow[] {
    return this.find(question, interval).views;
  }

  /** Sessions that started in the interval and that the filters let through. */
  started(question: ReferenceQuestion, interval: Interval = periodOf(question)): readonly ReferenceSession[] {
    return this.find(question, interval).started;
  }

  private find({ session, page }: ReferenceQuestion, { from, to }: Interval): Found {
    const known = this.found.find(
      (one) => one.session === session && one.page === page && one.from === from && one.to === to,
    );
    if (known) return known;
    const views = this.events.filter(
      (event) =>
        event.kind === 1 &&
        inside({ from, to }, event.timestamp) &&
        (!page || page(event.page)) &&
        (!session || session(this.session(event))),
    );
    const started = this.sessions.filter(
      (one) => inside({ from, to }, one.start) && lets({ session, page }, one),
    );
    const found = { session, page, from, to, views, started };
    this.found.push(found);
    if (this.found.length > 20) this.found.shift();
    return found;
  }

  /** Other events of the period, of sessions that the filters let through. */
  happened(question: ReferenceQuestion, which: (event: EventRow) => boolean): EventRow[] {
    const period = periodOf(question);
    return this.events.filter(
      (event) => which(event) && inside(period, event.timestamp) && lets(question, this.session(event)),
    );
  }

  newVisitors(question: ReferenceQuestion): number {
    const period = periodOf(question);
    return visitorsOf(
      this.views(question).filter((view) => inside(period, this.firstSeen.get(view.visitor_id) ?? 0)),
    );
  }

  /** ms; undefined when nothing later is known. */
  timeOnPage(view: EventRow): number | undefined {
    const one = this.session(view);
    const next = one.views[one.views.indexOf(view) + 1];
    if (next) return Math.min(CAP, next.timestamp - view.timestamp);
    const exit = lastExit(one.events, view.timestamp);
    if (exit && exit.time_on_page > 0) return Math.min(CAP, exit.time_on_page * 1000);
    const last = Math.max(...one.events.map((event) => event.timestamp));
    return last > view.timestamp ? Math.min(CAP, last - view.timestamp) : undefined;
  }
}

function lets(
  { session, page }: Pick<ReferenceQuestion, 'session' | 'page'>,
  one: ReferenceSession,
): boolean {
  return (!session || session(one)) && (!page || one.views.some((view) => page(view.page)));
}
