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

export class ReferenceData {
  readonly events: readonly EventRow[];
  readonly sessions: readonly ReferenceSession[];
  /** First event of a visitor, ms. */
  readonly firstSeen = new Map<string, number>();
  private readonly sessionOf: ReadonlyMap<string, ReferenceSession>;

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
  views(question: ReferenceQuestion, interval: Interval = periodOf(question)): EventRow[] {
    const { session: lets = () => true, page = () => true } = question;
    return this.events.filter(
      (event) =>
        event.kind === 1 &&
        inside(interval, event.timestamp) &&
        page(event.page) &&
        lets(this.session(event)),
    );
  }

  /** Sessions that started in the interval and that the filters let through. */
  started(question: ReferenceQuestion, interval: Interval = periodOf(question)): ReferenceSession[] {
    return this.sessions.filter((one) => inside(interval, one.start) && lets(question, one));
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

function lets({ session: passes = () => true, page }: ReferenceQuestion, one: ReferenceSession): boolean {
  return passes(one) && (!page || one.views.some((view) => page(view.page)));
}
