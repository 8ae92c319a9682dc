/** Sessions of the naive reference: all events with one session id, each fact taken from them as the rules say. */
import type { EventRow } from '../../src/events/row-decoder.js';

export interface ReferenceSession {
  readonly id: string;
  readonly events: readonly EventRow[];
  readonly views: readonly EventRow[];
  readonly start: number;
  readonly country: string;
  readonly region: string;
  readonly city: string;
  readonly continent: string;
  readonly browser: string;
  readonly os: string;
  readonly device: string;
  readonly resolution: string;
  readonly referrer: string;
  readonly channel: string;
  readonly utm: Readonly<Record<'source' | 'medium' | 'campaign' | 'term' | 'content', string>>;
  readonly durationMs: number;
  readonly bounced: boolean;
}

/** Longest time on a page and of a session, ms. */
export const CAP = 1_800_000;

export const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

export function session(id: string, events: readonly EventRow[]): ReferenceSession {
  const ordered = [...events].sort((a, b) => a.timestamp - b.timestamp || byBytes(a.page, b.page));
  const views = ordered.filter((event) => event.kind === 1);
  const start = ordered[0]?.timestamp ?? 0;
  const lastEvent = ordered.at(-1)?.timestamp ?? 0;
  const lastView = views.at(-1);
  const exit = lastView && lastExit(ordered, lastView.timestamp);
  const exitEnd = lastView && exit ? lastView.timestamp + Math.min(1800, exit.time_on_page) * 1000 : 0;
  const first = [...views].sort(
    (a, b) => a.timestamp - b.timestamp || byBytes(sourceKey(a), sourceKey(b)),
  )[0];
  const known = (value: (event: EventRow) => string): string =>
    ordered
      .filter((event) => value(event) !== '')
      .sort((a, b) => a.timestamp - b.timestamp || byBytes(value(a), value(b)))
      .map(value)[0] ?? '';
  return {
    id,
    events: ordered,
    views,
    start,
    country: known((event) => event.country_code),
    region: known((event) => event.region),
    city: known((event) => event.city),
    continent: known((event) => event.continent),
    browser: known((event) => event.browser),
    os: known((event) => event.os),
    device: known((event) => event.device),
    resolution: known((event) =>
      event.screen_width > 0 && event.screen_height > 0 ? `${event.screen_width}x${event.screen_height}` : '',
    ),
    referrer: first?.referrer_host ?? '',
    channel: first?.channel ?? '',
    utm: {
      source: first?.utm_source ?? '',
      medium: first?.utm_medium ?? '',
      campaign: first?.utm_campaign ?? '',
      term: first?.utm_term ?? '',
      content: first?.utm_content ?? '',
    },
    durationMs: Math.min(CAP, Math.max(lastEvent, exitEnd) - start),
    bounced: views.length === 1 && !events.some((event) => event.kind === 2),
  };
}

/** The latest page_exit of the session, if it is at or after this instant; of several at once the longest. */
export function lastExit(events: readonly EventRow[], since: number): EventRow | undefined {
  const exits = events.filter((event) => event.event_type === 'page_exit');
  const last = exits.sort((a, b) => b.timestamp - a.timestamp || b.time_on_page - a.time_on_page)[0];
  return last && last.timestamp >= since ? last : undefined;
}

const sourceKey = (event: EventRow): string =>
  [
    event.referrer_host,
    event.channel,
    event.utm_source,
    event.utm_medium,
    event.utm_campaign,
    event.utm_term,
    event.utm_content,
  ].join('\0');

export function groupBy<T>(values: readonly T[], key: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const value of values) {
    const group = groups.get(key(value));
    if (group) group.push(value);
    else groups.set(key(value), [value]);
  }
  return groups;
}
