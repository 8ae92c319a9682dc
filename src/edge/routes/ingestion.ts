/** What became of a website's events (promise P2): the books, and the rows that the event store refused. */

import Type from 'typebox';
import { type SiteFrame, SOURCES } from '../../events/frame.js';
import { replayQuarantined } from '../../events/quarantine-replay.js';
import { ROW_TABLES } from '../../events/tables.js';
import { parseParameters } from '../../metrics/parameters.js';
import {
  type BookTotals,
  type EventStore,
  QUARANTINE_PAGE_BYTES,
  type StoredQuarantinedRow,
} from '../../storage/events/event-store.js';
import { type AnyRoute, Nothing, siteRoute } from '../route.js';
import { answered } from '../store-away.js';

export interface IngestionRoutesOptions {
  readonly store: Pick<EventStore, 'books' | 'listQuarantine' | 'quarantined' | 'takeQuarantined'>;
  /** Makes a frame durable in the stream. */
  readonly publish: (frame: SiteFrame) => Promise<void>;
  /** Likewise in the stream of the recordings. */
  readonly publishRecording: (frame: SiteFrame) => Promise<void>;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

const HOUR_MS = 3_600_000;
const DEFAULT_DAYS = 7;

const Params = Type.Object({ website_id: Type.String({ description: 'UUID or public site id' }) });
const text = (description: string) => Type.Optional(Type.String({ description }));
const count = Type.Integer({ minimum: 0 });
const Counts = {
  received: Type.Integer({
    minimum: 0,
    description: 'Taken from the stream; messages that come again after a crash are received again',
  }),
  stored: Type.Integer({ minimum: 0, description: 'Rows put into the event store' }),
  duplicate: Type.Integer({
    minimum: 0,
    description: 'Stored before: retries of senders, and messages that came again',
  }),
  bot: count,
  rejected: count,
  quarantined: count,
  balanced: Type.Boolean({ description: 'received = stored + duplicate + bot + rejected + quarantined' }),
};
const source = Type.Union(SOURCES.map((name) => Type.Literal(name)));
const Books = Type.Object({
  website_id: Type.String(),
  from: Type.String({ format: 'date-time', description: 'Start of a UTC hour' }),
  to: Type.String({ format: 'date-time' }),
  ...Counts,
  sources: Type.Array(Type.Object({ source, ...Counts })),
});
const Quarantine = Type.Object({
  website_id: Type.String(),
  rows: Type.Array(
    Type.Object({
      id: Type.String({ description: '32 hex characters' }),
      source,
      table: Type.Union(ROW_TABLES.map((name) => Type.Literal(name))),
      quarantined_at: Type.String({ format: 'date-time' }),
      reason: Type.String(),
      size: count,
      bytes: Type.String({ description: 'The original row, base64' }),
    }),
  ),
  next: Type.Union([Type.String(), Type.Null()], { description: 'The next page: ?before=' }),
});
const Replay = Type.Object({
  ids: Type.Array(Type.String({ pattern: '^[0-9a-f]{32}$' }), { minItems: 1, maxItems: 500 }),
});
const Replayed = Type.Object({
  website_id: Type.String(),
  replayed: count,
  missing: Type.Array(Type.String(), { description: 'Ids that are not in the quarantine (any more)' }),
});

const BASE = '/api/v1/websites/:website_id';
const common = {
  tag: 'Ingestion',
  bucket: 'api',
  cors: 'api',
  siteFrom: { param: 'website_id' },
  params: Params,
} as const;

/** Reading the books takes the right to read the site, reading its quarantine and replaying the right to write. */
export function ingestionRoutes(options: IngestionRoutesOptions): AnyRoute[] {
  const { store, clock = Date.now } = options;
  return [
    siteRoute({
      ...common,
      method: 'GET',
      path: `${BASE}/ingestion`,
      summary:
        'What became of the events that were received in a period, by source; what the stream delivers again after a crash counts again',
      access: { site: 'read' },
      query: Type.Object({
        days: text('1 to 3650, default 7'),
        from: text('YYYY-MM-DD, local, inclusive; wins over days'),
        to: text('YYYY-MM-DD, local, inclusive'),
        timezone: text('IANA name, default UTC'),
      }),
      responses: { 200: Books },
      async handle({ site, params, query }) {
        const { period } = parseParameters(query, DEFAULT_DAYS, clock());
        // Books are kept by the hour; in zones off the hour, the hour in which the period begins is counted whole.
        const from = Math.floor(period.from / HOUR_MS) * HOUR_MS;
        const sources = await answered(store.books(site.siteId, from, period.to));
        return {
          status: 200,
          body: {
            website_id: params.website_id,
            from: new Date(from).toISOString(),
            to: new Date(period.to).toISOString(),
            ...countsOf(sources),
            sources: sources.map((totals) => ({ source: totals.source, ...countsOf([totals]) })),
          },
        };
      },
    }),
    siteRoute({
      ...common,
      method: 'GET',
      path: `${BASE}/quarantine`,
      summary:
        'Rows that the event store refused, newest first; a page ends at `limit` or at about 8 MiB of rows',
      // The rows are whole events of visitors.
      access: { site: 'write', unless: (site) => (site.allowRawDataExport ? 'read' : undefined) },
      query: Type.Object({
        limit: Type.Integer({ minimum: 1, maximum: 500, default: 50 }),
        before: Type.Optional(
          Type.String({ pattern: '^[0-9a-f]{32}$', description: '`next` of the page before' }),
        ),
      }),
      responses: { 200: Quarantine },
      async handle({ site, params, query }) {
        const { limit, before } = query;
        const rows = await answered(store.listQuarantine(site.siteId, limit, before));
        const bytes = rows.reduce((sum, row) => sum + row.bytes.byteLength, 0);
        const isLast = rows.length < limit && bytes < QUARANTINE_PAGE_BYTES;
        const next = isLast ? null : (rows.at(-1)?.id ?? null);
        return { status: 200, body: { website_id: params.website_id, rows: rows.map(rowBody), next } };
      },
    }),
    siteRoute({
      ...common,
      method: 'POST',
      path: `${BASE}/quarantine/replay`,
      summary: 'Send rows from the quarantine through the stream once more',
      access: { site: 'write' },
      query: Nothing,
      body: Replay,
      responses: { 202: Replayed },
      async handle({ site, params, body }) {
        const sent = new Set(await answered(replayQuarantined(options, site.siteId, body.ids)));
        const missing = body.ids.filter((id) => !sent.has(id));
        return { status: 202, body: { website_id: params.website_id, replayed: sent.size, missing } };
      },
    }),
  ];
}

function countsOf(books: readonly BookTotals[]) {
  const sum = (field: Exclude<keyof BookTotals, 'source'>) =>
    books.reduce((total, entry) => total + entry[field], 0);
  const received = sum('received');
  const settled = {
    stored: sum('stored'),
    duplicate: sum('duplicate'),
    bot: sum('bot'),
    rejected: sum('rejected'),
    quarantined: sum('quarantined'),
  };
  const accounted = Object.values(settled).reduce((total, value) => total + value, 0);
  return { received, ...settled, balanced: received === accounted };
}

function rowBody(row: StoredQuarantinedRow) {
  return {
    id: row.id,
    source: row.source,
    table: row.table,
    quarantined_at: new Date(row.quarantinedAt).toISOString(),
    reason: row.reason,
    size: row.bytes.byteLength,
    bytes: Buffer.from(row.bytes).toString('base64'),
  };
}
