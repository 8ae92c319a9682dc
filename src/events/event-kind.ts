import { EventKind } from './columns.js';

/** Types of the events that carry measures of how fast pages are. */
export const WEB_VITALS_TYPES = ['web_vitals', '$web_vitals'] as const;

const BOOKKEEPING: ReadonlySet<string> = new Set([
  'page_exit',
  'scroll_depth',
  'session_start',
  'session_end',
  ...WEB_VITALS_TYPES,
]);

/** What an event type counts as: a page view, the tracker's own bookkeeping, or a custom event (metrics.md). */
export function eventKind(eventType: string): number {
  if (eventType === 'pageview') return EventKind.pageview;
  if (BOOKKEEPING.has(eventType) || eventType.startsWith('$')) return EventKind.bookkeeping;
  return EventKind.custom;
}
