import { EventKind } from './columns.js';

const BOOKKEEPING = new Set(['page_exit', 'scroll_depth', 'session_start', 'session_end']);

/** What an event type counts as: a page view, the tracker's own bookkeeping, or a custom event (metrics.md). */
export function eventKind(eventType: string): number {
  if (eventType === 'pageview') return EventKind.pageview;
  if (BOOKKEEPING.has(eventType) || eventType.startsWith('$')) return EventKind.bookkeeping;
  return EventKind.custom;
}
