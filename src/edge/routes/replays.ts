/** Session recordings (contract section 12): the record route of the trackers, the list, playing and deleting. */
import { normalisePage } from '../../enrich/page.js';
import { AppError, type ErrorCode } from '../../errors.js';
import { countryCodes } from '../../metrics/countries.js';
import type { Recorder, UploadAnswer } from '../../replays/recorder.js';
import { readCursor } from '../../replays/replay-list.js';
import type { SessionQuery } from '../../replays/replay-store.js';
import type { Replays } from '../../replays/replays.js';
import { ErrorBody } from '../error-table.js';
import { readInstant } from '../instant.js';
import {
  type AnyRoute,
  Nothing,
  type Reply,
  type RequestInfo,
  rawRoute,
  siteRoute,
  TextBody,
} from '../route.js';
import { StreamBody } from '../stream-body.js';
import { Done, done } from './done.js';
import { isOptOut, OPT_OUT_HEADERS, PERMANENT, senderOf } from './ingest-shared.js';
import * as shapes from './replay-bodies.js';

const DAY_MS = 86_400_000;
const DEFAULT_SESSIONS = 50;
const MOST_SESSIONS = 100;
const JSON_TYPE = 'application/json; charset=utf-8';

export interface ReplayRoutesOptions {
  readonly replays: Replays;
  readonly recorder: Recorder;
  /** Largest inflated body of the record route, bytes. */
  readonly bodyLimitBytes: number;
}

const common = { tag: 'Replays', bucket: 'api', cors: 'api', params: Nothing } as const;
const bySite = { ...common, siteFrom: { query: 'website_id' } } as const;

/** All routes under `/api/v1/replays`. */
export function replayRoutes({ replays, recorder, bodyLimitBytes }: ReplayRoutesOptions): AnyRoute[] {
  return [
    rawRoute({
      ...common,
      method: 'POST',
      path: '/api/v1/replays/record',
      summary: 'Record a chunk of a session; answered when it is durable',
      bucket: 'ingest',
      cors: 'tracker',
      access: 'public',
      query: Nothing,
      body: shapes.RecordBody,
      bodyLimit: bodyLimitBytes,
      headers: OPT_OUT_HEADERS,
      responses: { 200: shapes.Recorded, 400: ErrorBody, 429: ErrorBody, 503: ErrorBody },
      handle: async ({ bytes, request }) => recordReply(await recorder.submit(uploadOf(bytes, request))),
      refuse: refuseRecord,
    }),
    siteRoute({
      ...bySite,
      method: 'GET',
      path: '/api/v1/replays/sessions',
      summary: 'Recorded sessions, newest first',
      access: { site: 'read' },
      query: shapes.SessionsQuery,
      responses: { 200: shapes.Sessions },
      handle: async ({ site, query }) => ({
        status: 200,
        body: await replays.list(sessionQuery(site.siteId, query)),
      }),
    }),
    siteRoute({
      ...bySite,
      method: 'GET',
      path: '/api/v1/replays/data/:session_id',
      summary: 'Everything recorded of a session, as it is read',
      access: { site: 'read' },
      params: shapes.BySession,
      query: shapes.OfSite,
      responses: { 200: shapes.SessionData },
      handle: async ({ site, params }) => ({
        status: 200,
        body: new StreamBody(replays.session(site.siteId, params.session_id), JSON_TYPE),
      }),
    }),
    siteRoute({
      ...bySite,
      method: 'GET',
      path: '/api/v1/replays/snapshot',
      summary: 'The newest recorded look of a page, as background of its heatmap',
      access: { site: 'read' },
      query: shapes.SnapshotQuery,
      responses: { 200: shapes.Snapshot, 404: ErrorBody },
      async handle({ site, query }) {
        if (query.url === '') throw new AppError('invalid_request', 'website_id and url are required');
        const events = await replays.snapshot(site.siteId, normalisePage(query.url));
        if (events === null) throw new AppError('not_found', 'No snapshot found for this URL');
        return { status: 200, body: new TextBody(Buffer.from(events).toString('utf8'), JSON_TYPE) };
      },
    }),
    siteRoute({
      ...bySite,
      method: 'DELETE',
      path: '/api/v1/replays/sessions/:session_id',
      summary: 'Delete a recorded session for good',
      access: { site: 'write' },
      params: shapes.BySession,
      query: shapes.OfSite,
      responses: { 200: Done },
      handle: ({ site, params }) => done(replays.delete(site.siteId, [params.session_id])),
    }),
    siteRoute({
      ...common,
      siteFrom: { body: 'website_id' },
      method: 'DELETE',
      path: '/api/v1/replays/bulk-delete',
      summary: 'Delete several recorded sessions for good',
      access: { site: 'write' },
      query: Nothing,
      body: shapes.BulkBody,
      responses: { 200: Done },
      handle: ({ site, body }) => done(replays.delete(site.siteId, body.session_ids)),
    }),
  ];
}

function uploadOf(bytes: Uint8Array, request: RequestInfo) {
  const { address, userAgent } = request;
  const optOut = isOptOut(request);
  return { bytes, address, userAgent, origin: senderOf(request), receivedAt: Date.now(), optOut };
}

/**
 * The unmodified tracker drops a chunk on 400 only and repeats it for ever on any other failure (contract 17.6), so what will never be
 * taken and is not malformed is answered 200.
 */
const MALFORMED: ReadonlySet<ErrorCode> = new Set(['invalid_json', 'invalid_request']);
const REFUSED: ReadonlySet<ErrorCode> = new Set([...PERMANENT, 'quota_exceeded', 'internal']);

function recordReply(answer: UploadAnswer): Reply<unknown> {
  if (answer.kind === 'stored') return { status: 200, body: { status: 'success' } };
  if (answer.kind === 'ignored') return { status: 200, body: { status: 'ignored', reason: answer.reason } };
  const error = new AppError(answer.code, answer.message);
  const reply = refuseRecord(error);
  if (reply === undefined) throw error;
  return reply;
}

function refuseRecord(error: unknown): Reply<unknown> | undefined {
  if (!(error instanceof AppError) || MALFORMED.has(error.code) || !REFUSED.has(error.code)) return undefined;
  const { code, message } = error;
  return { status: 200, body: { status: 'rejected', error: message, message, code } };
}

interface SessionsAsked {
  readonly limit: number;
  readonly offset: number;
  readonly cursor?: string;
  readonly from?: string;
  readonly to?: string;
  readonly min_duration?: number;
  readonly max_duration?: number;
  readonly country?: string;
  readonly browser?: string;
  readonly os?: string;
  readonly device?: string;
  readonly page?: string;
  readonly has_rage_clicks?: boolean;
  readonly has_errors?: boolean;
}

/** @throws AppError `invalid_parameter` */
function sessionQuery(siteId: string, asked: SessionsAsked): SessionQuery {
  const { limit } = asked;
  const after = cursorOf(asked.cursor);
  return {
    siteId,
    limit: limit < 1 || limit > MOST_SESSIONS ? DEFAULT_SESSIONS : limit,
    offset: after === undefined ? asked.offset : 0,
    ...given('after', after),
    ...given('from', instantOf('from', asked.from, 0)),
    ...given('to', instantOf('to', asked.to, DAY_MS - 1)),
    ...given('minDuration', asked.min_duration),
    ...given('maxDuration', asked.max_duration),
    ...given(
      'countryCodes',
      textOf(asked.country)
        ?.split(',')
        .flatMap((name) => countryCodes(name.trim())),
    ),
    ...given('browser', textOf(asked.browser)),
    ...given('os', textOf(asked.os)),
    ...given('device', textOf(asked.device)),
    ...given('page', textOf(asked.page)),
    ...given('hasRageClicks', asked.has_rage_clicks),
    ...given('hasErrors', asked.has_errors),
  };
}

/** The property when there is a value. */
function given<K extends string, T>(name: K, value: T | undefined): { readonly [key in K]?: T } {
  const result: { [key in K]?: T } = {};
  if (value !== undefined) result[name] = value;
  return result;
}

/** `all` and nothing are no filter. */
function textOf(value: string | undefined): string | undefined {
  const trimmed = (value ?? '').trim();
  return trimmed === '' || trimmed.toLowerCase() === 'all' ? undefined : trimmed;
}

function cursorOf(cursor: string | undefined): SessionQuery['after'] {
  if (cursor === undefined || cursor === '') return undefined;
  const after = readCursor(cursor);
  if (after === undefined) throw new AppError('invalid_parameter', 'cursor is none of ours');
  return after;
}

/** @param dayMs what is added to a day without time */
function instantOf(name: string, value: string | undefined, dayMs: number): number | undefined {
  const trimmed = (value ?? '').trim();
  if (trimmed === '') return undefined;
  const instant = readInstant(trimmed);
  if (instant === undefined)
    throw new AppError('invalid_parameter', `${name} is neither RFC 3339 nor YYYY-MM-DD`);
  return instant.isDay ? instant.ms + dayMs : instant.ms;
}
