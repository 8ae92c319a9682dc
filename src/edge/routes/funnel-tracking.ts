/** What trackers report about funnels (contract 9.9 and 9.10). */
import Type from 'typebox';
import { MAX_FUNNEL_EVENTS } from '../../enrich/funnel-events.js';
import type { Intake } from '../../enrich/intake.js';
import { ErrorBody } from '../error-table.js';
import { type AnyRoute, Nothing, rawRoute } from '../route.js';
import {
  BatchReplies,
  Ignored,
  ingestRequest,
  RECORD_HEADERS,
  RejectedEventSchema,
  singleReply,
} from './ingest-shared.js';

export interface FunnelTrackingOptions {
  readonly intake: Intake;
  /** Largest inflated body, bytes. */
  readonly bodyLimitBytes: number;
}

const text = (description: string) => Type.Optional(Type.String({ description }));
const WebsiteId = Type.String({ description: 'UUID or 24-character id of the website' });
const FunnelEvent = Type.Object({
  funnel_id: Type.String(),
  visitor_id: text('Default: a hash of address and user agent that holds for a day'),
  session_id: text('Default: all of a visitor in a UTC day'),
  event_type: text('`start`, `progress` (default), `conversion` or `dropoff`'),
  step_name: text('At most 255 characters are kept'),
  current_step: Type.Optional(Type.Integer()),
  completed_steps: Type.Optional(Type.Array(Type.Integer(), { description: 'The first 100 are kept' })),
  started_at: text('RFC 3339: when the visitor entered the funnel'),
  timestamp: text('RFC 3339; default time of receipt'),
  converted: Type.Optional(Type.Boolean()),
});
const TrackBody = Type.Object({ website_id: WebsiteId, ...FunnelEvent.properties });
const BatchBody = Type.Object({
  website_id: WebsiteId,
  events: Type.Array(FunnelEvent, { description: `The first ${MAX_FUNNEL_EVENTS} are taken` }),
});

const BatchDone = Type.Object({
  status: Type.Literal('success'),
  count: Type.Integer({ description: 'Events taken' }),
  rejected: Type.Integer({ description: 'Events refused for good' }),
  errors: Type.Array(RejectedEventSchema, { description: 'The first ten of them' }),
});
const BatchRejected = Type.Object({
  status: Type.Literal('rejected'),
  count: Type.Integer(),
  rejected: Type.Integer(),
  errors: Type.Array(RejectedEventSchema),
  error: Type.String(),
  message: Type.String(),
  code: Type.String(),
});

/** Both routes answer once what they accept is durable. */
export function funnelTrackingRoutes({ intake, bodyLimitBytes }: FunnelTrackingOptions): AnyRoute[] {
  const common = {
    method: 'POST',
    tag: 'Tracker',
    access: 'public',
    bucket: 'ingest',
    cors: 'tracker',
    params: Nothing,
    query: Nothing,
    bodyLimit: bodyLimitBytes,
    headers: RECORD_HEADERS,
  } as const;
  const temporary = { 429: ErrorBody, 503: ErrorBody };
  const refused = { 400: ErrorBody, 403: ErrorBody, 404: ErrorBody, 413: ErrorBody };
  return [
    rawRoute({
      ...common,
      path: '/api/v1/funnels/track',
      summary: 'Record one event of a funnel',
      body: TrackBody,
      responses: {
        200: Type.Union([Type.Object({ status: Type.Literal('success') }), Ignored]),
        ...refused,
        ...temporary,
      },
      handle: async ({ bytes, request }) =>
        singleReply(await intake.submit(ingestRequest('funnel', bytes, request)), () => ({
          status: 200,
          body: { status: 'success' },
        })),
    }),
    rawRoute({
      ...common,
      path: '/api/v1/funnels/batch',
      summary: 'Record many events of the funnels of a website',
      body: BatchBody,
      responses: { 200: Type.Union([BatchDone, BatchRejected]), ...temporary },
      handle: async ({ bytes, request }) =>
        replies.of(
          await intake.submit(ingestRequest('funnel', bytes, request)),
          ({ accepted, rejected, errors }) => ({
            status: 200,
            body: { status: 'success', count: accepted, rejected, errors },
          }),
        ),
      refuse: (error) => replies.refuse(error),
    }),
  ];
}

const replies = new BatchReplies('count');
