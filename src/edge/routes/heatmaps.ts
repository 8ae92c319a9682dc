/** Heatmaps (contract section 11): the record route of the trackers, the maps, and their deletion. */
import type { IngestAnswer, Intake } from '../../enrich/intake.js';
import { AppError } from '../../errors.js';
import { HEAT_DEVICES, HEAT_TYPES } from '../../events/heat.js';
import { type Heatmaps, type MapAsked, pageOf } from '../../heatmaps/heatmaps.js';
import { ErrorBody } from '../error-table.js';
import { readInstant } from '../instant.js';
import { type AnyRoute, Nothing, type Reply, rawRoute, siteRoute } from '../route.js';
import { Done, done } from './done.js';
import * as shapes from './heatmap-bodies.js';
import { ingestRequest, PERMANENT, RECORD_HEADERS } from './ingest-shared.js';

const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 30;
/** Points of clients whose clock is a little ahead. */
const AHEAD_MS = 60_000;

const common = { tag: 'Heatmaps', bucket: 'api', cors: 'api', params: Nothing } as const;
const bySite = { ...common, siteFrom: { query: 'website_id' } } as const;

export interface HeatmapRoutesOptions {
  readonly heatmaps: Heatmaps;
  readonly intake: Intake;
  /** Largest body of points, bytes after inflation. */
  readonly bodyLimitBytes: number;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

/** All routes under `/api/v1/heatmaps`. */
export function heatmapRoutes(options: HeatmapRoutesOptions): AnyRoute[] {
  const { heatmaps, intake, clock = Date.now } = options;
  return [
    rawRoute({
      ...common,
      method: 'POST',
      path: '/api/v1/heatmaps/record',
      summary: 'Record points of heatmaps; answered when they are durable',
      bucket: 'ingest',
      cors: 'tracker',
      access: 'public',
      query: Nothing,
      body: shapes.RecordBody,
      bodyLimit: options.bodyLimitBytes,
      headers: RECORD_HEADERS,
      responses: { 200: shapes.Recorded, 429: ErrorBody, 503: ErrorBody },
      handle: async ({ bytes, request }) =>
        recordReply(await intake.submit(ingestRequest('heatmap', bytes, request))),
      refuse: refuseRecord,
    }),
    siteRoute({
      ...bySite,
      method: 'GET',
      path: '/api/v1/heatmaps/data',
      summary: 'The cells of one map: a page, a type of points, a device, a range of time',
      access: { site: 'read' },
      query: shapes.DataQuery,
      responses: { 200: shapes.Data },
      async handle({ site, query, request }) {
        const asked = { ...mapAsked(query, clock()), height: query.height };
        const points = await heatmaps.data(site, query.website_id, asked, request.signal);
        return { status: 200, body: { points } };
      },
    }),
    siteRoute({
      ...bySite,
      method: 'GET',
      path: '/api/v1/heatmaps/pages',
      summary: 'Pages that have points, most clicks first',
      access: { site: 'read' },
      query: shapes.PagesQuery,
      responses: { 200: shapes.Pages },
      async handle({ site, query, request }) {
        const range = { from: instantOf(query.from) ?? 0, to: untilOf(query.to, clock()) };
        const { limit, offset } = query;
        return { status: 200, body: await heatmaps.pages(site, range, limit, offset, request.signal) };
      },
    }),
    siteRoute({
      ...bySite,
      method: 'GET',
      path: '/api/v1/heatmaps/top-elements',
      summary: 'The twenty elements with the most points of a type on a page, of all devices',
      access: { site: 'read' },
      query: shapes.ElementsQuery,
      responses: { 200: shapes.Elements },
      async handle({ site, query, request }) {
        const asked = mapAsked({ ...query, device: 'all' }, clock());
        return {
          status: 200,
          body: { elements: await heatmaps.topElements(site, asked, request.signal) },
        };
      },
    }),
    siteRoute({
      ...bySite,
      method: 'DELETE',
      path: '/api/v1/heatmaps/pages',
      summary: 'Delete all points of a page',
      access: { site: 'write' },
      query: shapes.PageQuery,
      responses: { 200: Done },
      handle: ({ site, query }) => done(heatmaps.deletePages(site, [query.url])),
    }),
    siteRoute({
      ...common,
      siteFrom: { body: 'website_id' },
      method: 'DELETE',
      path: '/api/v1/heatmaps/bulk-delete',
      summary: 'Delete all points of several pages',
      access: { site: 'write' },
      query: Nothing,
      body: shapes.BulkBody,
      responses: { 200: Done },
      handle: ({ site, body }) => done(heatmaps.deletePages(site, body.urls)),
    }),
  ];
}

interface MapQueryValues {
  readonly url: string;
  readonly type?: string;
  readonly device?: string;
  readonly from?: string;
  readonly to?: string;
}

function mapAsked(query: MapQueryValues, now: number): MapAsked {
  const type = (query.type ?? '').trim().toLowerCase() || 'click';
  const device = (query.device ?? '').trim().toLowerCase() || 'desktop';
  return {
    page: pageOf(query.url),
    type: HEAT_TYPES.find((known) => known === type),
    device: device === 'all' ? device : HEAT_DEVICES.find((known) => known === device),
    height: undefined,
    from: instantOf(query.from) ?? now - DEFAULT_DAYS * DAY_MS,
    to: untilOf(query.to, now),
  };
}

/** ms since epoch, of a day its first instant; undefined when the text is neither instant nor day. */
function instantOf(given: string | undefined): number | undefined {
  return readInstant((given ?? '').trim())?.ms;
}

/** The end of a range, inclusive; of a day its last instant. */
function untilOf(given: string | undefined, now: number): number {
  const instant = readInstant((given ?? '').trim());
  if (instant === undefined) return now + AHEAD_MS;
  return instant.isDay ? instant.ms + DAY_MS - 1 : instant.ms;
}

/** Trackers never send points again (contract 17.5), so 200 costs nothing and keeps their consoles quiet. */
function recordReply(answer: IngestAnswer): Reply<unknown> {
  if (answer.kind === 'refused') {
    if (PERMANENT.has(answer.code)) return rejected(answer.code, answer.message, 0, []);
    throw new AppError(answer.code, answer.message);
  }
  const [error] = answer.errors;
  if (error === undefined) return { status: 200, body: { status: 'success' } };
  if (answer.accepted === 0) return rejected(error.code, error.message, answer.rejected, answer.errors);
  return { status: 200, body: { status: 'success', rejected: answer.rejected, errors: answer.errors } };
}

function refuseRecord(error: unknown): Reply<unknown> | undefined {
  if (!(error instanceof AppError) || !PERMANENT.has(error.code)) return undefined;
  return rejected(error.code, error.message, 0, []);
}

function rejected(code: string, message: string, count: number, errors: readonly unknown[]): Reply<unknown> {
  return {
    status: 200,
    body: { status: 'rejected', rejected: count, errors, error: message, message, code },
  };
}
