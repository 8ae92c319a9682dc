/**
 * Goals and funnels, written from metrics.md and docs/metrics-notes.md alone and as plainly as can be: every chain of events is looked
 * for one by one. Both event stores must answer what this answers.
 */
import type { EventRow } from '../../src/events/row-decoder.js';
import { byBytes, groupBy, type ReferenceSession, session } from './reference-sessions.js';

export type ReferenceStep =
  | { readonly page: string; readonly how: 'exact' | 'contains' | 'starts_with' | 'regex' }
  | { readonly event: string };

export interface ReferenceFunnel {
  readonly steps: readonly ReferenceStep[];
  readonly order: 'ordered' | 'strict' | 'unordered';
  readonly windowMs: number;
  /** ms since epoch, the end is exclusive. */
  readonly from: number;
  readonly to: number;
  /** Of the session of a start. */
  readonly lets?: (session: ReferenceSession) => boolean;
}

export interface ReferenceCounts {
  readonly visitors: number;
  readonly medianMs: number | null;
}

export class ReferenceConversions {
  private readonly events: readonly EventRow[];
  private readonly sessions: ReadonlyMap<string, ReferenceSession>;

  /** @param events all that are stored for all sites, without bots */
  constructor(events: readonly EventRow[], siteId: string) {
    this.events = events.filter((event) => event.site_id === siteId);
    const groups = groupBy(this.events, (event) => event.session_id);
    this.sessions = new Map([...groups].map(([id, list]) => [id, session(id, list)]));
  }

  funnel(funnel: ReferenceFunnel): ReferenceCounts[] {
    const visitors = [...groupBy(this.events, (event) => event.visitor_id).values()];
    const ways = visitors.map((events) =>
      funnel.order === 'unordered' ? this.ticked(events, funnel) : this.walked(events, funnel),
    );
    return funnel.steps.map((_, i) => ({
      visitors: ways.filter((way) => way.reached > i).length,
      medianMs: median(ways.flatMap((way) => (way.reached > i ? (way.gaps[i] ?? []) : []))),
    }));
  }

  /** One row a label of the sessions of starts. */
  breakdown(
    funnel: ReferenceFunnel,
    label: (session: ReferenceSession) => string,
  ): Map<string, ReferenceCounts[]> {
    const labels = new Set([...this.sessions.values()].map(label));
    return new Map(
      [...labels]
        .map((value) => {
          const lets = (one: ReferenceSession) => (funnel.lets?.(one) ?? true) && label(one) === value;
          return [value, this.funnel({ ...funnel, lets })] as const;
        })
        .filter(([, steps]) => (steps[0]?.visitors ?? 0) > 0),
    );
  }

  /** @param goal what a conversion is */
  goal(goal: (event: EventRow) => boolean, from: number, to: number, lets = (_: ReferenceSession) => true) {
    const hits = this.events.filter(
      (event) => goal(event) && event.timestamp >= from && event.timestamp < to && lets(this.session(event)),
    );
    const [latest] = [...hits].sort(
      (a, b) => b.timestamp - a.timestamp || byBytes(b.properties, a.properties),
    );
    return {
      count: hits.length,
      visitors: new Set(hits.map((event) => event.visitor_id)).size,
      properties: latest?.properties ?? '',
    };
  }

  /** Events of one visitor that reach each step, from any start. */
  private walked(events: readonly EventRow[], funnel: ReferenceFunnel) {
    const { steps, order, windowMs } = funnel;
    const serves = (event: EventRow) => steps.map((step) => matches(step, event));
    const weight = (event: EventRow) => serves(event).reduce((sum, yes, i) => sum + (yes ? 2 ** i : 0), 0);
    const isStart = (event: EventRow) => matches(steps[0], event) && this.starts(event, funnel);
    const sorted = events
      .filter((event) => weight(event) > 0 || (order === 'strict' && event.kind !== 3))
      .sort(
        (a, b) =>
          a.timestamp - b.timestamp || weight(a) - weight(b) || Number(isStart(b)) - Number(isStart(a)),
      );
    const reached = steps.map(() => new Set<number>());
    sorted.forEach((start, at) => {
      if (!isStart(start)) return;
      let ends = new Set([at]);
      steps.forEach((step, i) => {
        if (i > 0) {
          const next = sorted.flatMap((event, j) => {
            const follows = [...ends].some((end) => (order === 'strict' ? end === j - 1 : end < j));
            return follows && matches(step, event) && event.timestamp - start.timestamp <= windowMs
              ? [j]
              : [];
          });
          ends = new Set(next);
        }
        for (const end of ends) reached[i]?.add(end);
      });
    });
    const gaps = steps.map((_, i) => {
      const first = Math.min(...(reached[i] ?? []));
      const before = [...(reached[i - 1] ?? [])].filter((at) =>
        order === 'strict' ? at === first - 1 : at < first,
      );
      return before.length === 0 ? [] : [time(sorted, first) - time(sorted, Math.max(...before))];
    });
    return { reached: reached.filter((ends) => ends.size > 0).length, gaps };
  }

  /** Most steps ticked off within any window. */
  private ticked(events: readonly EventRow[], funnel: ReferenceFunnel) {
    const { steps, windowMs } = funnel;
    const served = (event: EventRow): ReferenceStep | undefined =>
      [...steps]
        .sort((a, b) => rank(a) - rank(b) || length(b) - length(a))
        .find((step) => matches(step, event));
    const counts = events
      .filter((event) => served(event) !== undefined && this.starts(event, funnel))
      .map((start) => {
        const inside = events.filter(
          (event) => event.timestamp >= start.timestamp && event.timestamp - start.timestamp <= windowMs,
        );
        // Every event ticks off one step of those that are equal to what it serves.
        const open = steps.map((step) => JSON.stringify(step));
        for (const event of inside) {
          const at = open.indexOf(JSON.stringify(served(event)));
          if (at >= 0) open[at] = '';
        }
        return open.filter((step) => step === '').length;
      });
    return { reached: Math.max(0, ...counts), gaps: [] };
  }

  private starts(event: EventRow, { from, to, lets }: ReferenceFunnel): boolean {
    return event.timestamp >= from && event.timestamp < to && (lets?.(this.session(event)) ?? true);
  }

  private session(event: EventRow): ReferenceSession {
    const found = this.sessions.get(event.session_id);
    if (!found) throw new Error('an event without session');
    return found;
  }
}

function matches(step: ReferenceStep | undefined, event: EventRow): boolean {
  if (step === undefined) return false;
  if ('event' in step) return event.event_type === step.event;
  if (event.kind !== 1) return false;
  switch (step.how) {
    case 'exact':
      return event.page === step.page;
    case 'contains':
      return `${event.page}/`.includes(step.page);
    case 'starts_with':
      return `${event.page}/`.startsWith(step.page);
    case 'regex':
      return new RegExp(step.page).test(event.page);
  }
}

const rank = (step: ReferenceStep): number =>
  'event' in step || step.how === 'exact' ? 0 : step.how === 'regex' ? 2 : 1;
const length = (step: ReferenceStep): number => (rank(step) === 1 && 'page' in step ? step.page.length : 0);
const time = (events: readonly EventRow[], at: number): number => events[at]?.timestamp ?? Number.NaN;

function median(values: readonly number[]): number | null {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.slice(Math.ceil(sorted.length / 2) - 1, Math.floor(sorted.length / 2) + 1);
  return middle.length === 0 ? null : middle.reduce((a, b) => a + b, 0) / middle.length;
}
