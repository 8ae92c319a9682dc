/** The two record routes of contract section 6. */
import Type from 'typebox';
import { EventSchema } from '../../enrich/event-schema.js';
import type { IngestAnswer, Intake } from '../../enrich/intake.js';
import { ErrorBody } from '../error-table.js';
import { type AnyRoute, Nothing, type Reply, rawRoute } from '../route.js';
import {
  BatchReplies,
  Ignored,
  ingestRequest,
  RECORD_HEADERS,
  RejectedEventSchema,
  singleReply,
} from './ingest-shared.js';

export interface IngestRouteOptions {
  readonly intake: Intake;
  /** Largest inflated body, bytes. Default 1 MiB. */
  readonly bodyLimitBytes?: number;
}

const DEFAULT_BODY_LIMIT = 1 << 20;

const EventAccepted = Type.Object({
  status: Type.Literal('accepted'),
  event_id: Type.String(),
  visitor_id: Type.String(),
  session_id: Type.String(),
});

const BatchAccepted = Type.Object({
  status: Type.Literal('accepted'),
  events_count: Type.Integer({ description: 'Events taken' }),
  processed_at: Type.Integer({ description: 'Unix seconds' }),
  rejected: Type.Integer({ description: 'Events refused for good' }),
  errors: Type.Array(RejectedEventSchema, { description: 'The first ten of them' }),
});

const BatchRejected = Type.Object({
  status: Type.Literal('rejected'),
  events_count: Type.Integer(),
  rejected: Type.Integer(),
  errors: Type.Array(RejectedEventSchema),
  error: Type.String(),
  message: Type.String(),
  code: Type.String(),
});

const SiteId = Type.String({ description: 'UUID or 24-character id of the website' });
const EventBody = Type.Object({ website_id: SiteId, ...EventSchema.properties });
const BatchBody = Type.Object({
  siteId: SiteId,
  domain: Type.Optional(
    Type.String({ description: 'Host of the page; used when the request names no origin' }),
  ),
  events: Type.Array(EventSchema, { minItems: 1, description: 'The first `BATCH_SIZE` (1,000) are taken' }),
});

const TEMPORARY = { 429: ErrorBody, 503: ErrorBody };

/** Both routes answer once what they accept is durable. */
export function ingestRoutes(options: IngestRouteOptions): AnyRoute[] {
  const { intake } = options;
  const common = {
    method: 'POST',
    tag: 'ingestion',
    access: 'public',
    bucket: 'ingest',
    cors: 'tracker',
    params: Nothing,
    query: Nothing,
    bodyLimit: options.bodyLimitBytes ?? DEFAULT_BODY_LIMIT,
    headers: RECORD_HEADERS,
  } as const;
  return [
    rawRoute({
      ...common,
      path: '/api/v1/analytics/event',
      summary: 'Record one event',
      body: EventBody,
      responses: {
        200: Ignored,
        201: EventAccepted,
        400: ErrorBody,
        403: ErrorBody,
        404: ErrorBody,
        413: ErrorBody,
        ...TEMPORARY,
      },
      handle: async ({ bytes, request }) =>
        eventReply(await intake.submit(ingestRequest('event', bytes, request))),
    }),
    rawRoute({
      ...common,
      path: '/api/v1/analytics/batch',
      summary: 'Record many events of one website',
      body: BatchBody,
      responses: { 200: BatchRejected, 201: BatchAccepted, ...TEMPORARY },
      handle: async ({ bytes, request }) =>
        batchReply(await intake.submit(ingestRequest('batch', bytes, request))),
      refuse: (error) => replies.refuse(error),
    }),
  ];
}

const replies = new BatchReplies('events_count');

function eventReply(answer: IngestAnswer): Reply<unknown> {
  return singleReply(answer, ({ eventId, visitorId, sessionId }) => ({
    status: 201,
    body: { status: 'accepted', event_id: eventId, visitor_id: visitorId, session_id: sessionId },
  }));
}

function batchReply(answer: IngestAnswer): Reply<unknown> {
  return replies.of(answer, ({ accepted, rejected, errors }) => ({
    status: 201,
    body: {
      status: 'accepted',
      events_count: accepted,
      processed_at: Math.floor(Date.now() / 1000),
      rejected,
      errors,
    },
  }));
}
