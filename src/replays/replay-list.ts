import { countryName, UNKNOWN } from '../metrics/countries.js';
import { isoOf } from './iso.js';
import { reachable } from './playback.js';
import type { ReplayStore, SessionQuery, SessionSummary } from './replay-store.js';

/** A page of the list as the API answers it (contract 12.2 and more). */
export interface SessionPage {
  readonly sessions: readonly ListedSession[];
  /** Sessions that fit the filters, on all pages. */
  readonly total: number;
  /** Gives the next page; null on the last one. */
  readonly next_cursor: string | null;
}

export interface ListedSession {
  readonly session_id: string;
  readonly website_id: string;
  readonly start_time: string;
  readonly end_time: string;
  readonly duration_seconds: number;
  readonly chunk_count: number;
  readonly browser: string;
  readonly device: string;
  readonly os: string;
  /** English name. */
  readonly country: string;
  readonly country_code: string;
  readonly entry_page: string;
  readonly pages: readonly string[];
  readonly clicks: number;
  readonly rage_clicks: number;
  readonly errors: number;
  readonly has_full_snapshot: boolean;
  /** The beginning or something in between was never received. */
  readonly incomplete: boolean;
}

/** Lists sessions, newest first. @throws AppError `storage_unavailable`, `timeout`, `query_too_expensive` */
export async function listSessions(replays: ReplayStore, query: SessionQuery): Promise<SessionPage> {
  // One more than asked for tells whether there is a next page.
  const [found, total] = await reachable(() =>
    Promise.all([replays.sessions({ ...query, limit: query.limit + 1 }), replays.countSessions(query)]),
  );
  const shown = found.slice(0, query.limit);
  const last = shown.at(-1);
  return {
    sessions: shown.map((session) => listed(query.siteId, session)),
    total,
    next_cursor: found.length > shown.length && last !== undefined ? cursorOf(last) : null,
  };
}

function listed(siteId: string, session: SessionSummary): ListedSession {
  const known = (text: string) => (text === '' ? UNKNOWN : text);
  return {
    session_id: session.sessionId,
    website_id: siteId,
    start_time: isoOf(session.startMs),
    end_time: isoOf(session.endMs),
    duration_seconds: Math.max(0, session.endMs - session.startMs) / 1000,
    chunk_count: session.chunkCount,
    browser: known(session.browser),
    device: known(session.device),
    os: known(session.os),
    country: countryName(session.countryCode),
    country_code: session.countryCode,
    entry_page: known(session.entryPage),
    pages: session.pages,
    clicks: session.clicks,
    rage_clicks: session.rageClicks,
    errors: session.errors,
    has_full_snapshot: session.hasFullSnapshot,
    incomplete: session.isIncomplete,
  };
}

const CURSOR = /^(-?\d{1,16})\.([0-9a-f]{32})$/;

function cursorOf({ startMs, sessionKey }: SessionSummary): string {
  return Buffer.from(`${startMs}.${sessionKey}`).toString('base64url');
}

/** The session that a cursor names; undefined when it is none of ours. */
export function readCursor(cursor: string): NonNullable<SessionQuery['after']> | undefined {
  const match = CURSOR.exec(Buffer.from(cursor, 'base64url').toString('latin1'));
  const [, start = '', sessionKey = ''] = match ?? [];
  return match === null ? undefined : { startMs: Number(start), sessionKey };
}
