import { parseTimestamp } from '../enrich/clock.js';

/** An instant (RFC 3339), or a UTC day, which stands for its first one: ms since epoch. Undefined for other texts. */
export function readInstant(text: string): { readonly ms: number; readonly isDay: boolean } | undefined {
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text);
  const ms = parseTimestamp(isDay ? `${text}T00:00:00Z` : text);
  return Number.isNaN(ms) ? undefined : { ms, isDay };
}
