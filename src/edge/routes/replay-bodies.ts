/** Shapes of the replay routes (contract section 12). */
import Type from 'typebox';

const text = (description: string) => Type.Optional(Type.String({ description }));
const seconds = (description: string) =>
  Type.Optional(Type.Number({ minimum: 0, maximum: 1e9, description }));
export const WebsiteId = Type.String({ description: 'UUID or public site id' });
const SessionId = Type.String({ minLength: 1, maxLength: 255 });

export const RecordBody = Type.Object({
  website_id: WebsiteId,
  session_id: SessionId,
  events: Type.Array(Type.Unknown(), { description: 'rrweb events, 1 to 20,000' }),
  sequence: Type.Optional(
    Type.Integer({ minimum: 0, description: 'Number of the chunk; need not be unique' }),
  ),
  page: text('Path of the page'),
});

export const Recorded = Type.Union([
  Type.Object({ status: Type.Literal('success', { description: 'Durable' }) }),
  Type.Object({
    status: Type.Literal('ignored', { description: 'Not taken, as the settings of the website have it' }),
    reason: Type.Union([
      Type.Literal('not_sampled'),
      Type.Literal('page_excluded'),
      Type.Literal('do_not_track'),
    ]),
  }),
  Type.Object({
    status: Type.Literal('rejected', { description: 'Refused for good: do not send it again' }),
    error: Type.String(),
    message: Type.String(),
    code: Type.String(),
  }),
]);

export const SessionsQuery = Type.Object({
  website_id: WebsiteId,
  limit: Type.Integer({ default: 50, description: '1 to 100; anything else counts as 50' }),
  offset: Type.Integer({ default: 0, minimum: 0, maximum: 1_000_000 }),
  cursor: text('`next_cursor` of the page before; wins over `offset`'),
  from: text('Start of the session: RFC 3339 or YYYY-MM-DD (UTC), inclusive'),
  to: text('The same, inclusive; of a day its end'),
  min_duration: seconds('Seconds'),
  max_duration: seconds('Seconds'),
  country: text('English name or ISO code; several with commas'),
  browser: text('As the list has it; case does not count'),
  os: text('As `browser`'),
  device: text('As `browser`; `all` is no filter'),
  page: text('Part of the path of any page of the session'),
  has_rage_clicks: Type.Optional(Type.Boolean()),
  has_errors: Type.Optional(Type.Boolean()),
});

const Session = Type.Object({
  session_id: Type.String(),
  website_id: Type.String({ description: 'Public site id' }),
  start_time: Type.String({
    format: 'date-time',
    description: "By the recorder's clock, corrected when that is wrong by more than a minute",
  }),
  end_time: Type.String({ format: 'date-time' }),
  duration_seconds: Type.Number(),
  chunk_count: Type.Integer(),
  browser: Type.String({ description: '`Unknown` when it is not known, as everything else' }),
  device: Type.String(),
  os: Type.String(),
  country: Type.String({ description: 'English name' }),
  country_code: Type.String({ description: 'ISO 3166-1 alpha-2, empty when unknown' }),
  entry_page: Type.String(),
  pages: Type.Array(Type.String(), { description: 'The first 20 in alphabetical order' }),
  clicks: Type.Integer(),
  rage_clicks: Type.Integer(),
  errors: Type.Integer(),
  has_full_snapshot: Type.Boolean({ description: 'false: there is nothing that could be shown' }),
  incomplete: Type.Boolean({ description: 'Its beginning or something in between was never received' }),
});

export const Sessions = Type.Object({
  sessions: Type.Array(Session),
  total: Type.Integer({ description: 'Sessions that fit the filters, on all pages' }),
  next_cursor: Type.Union([Type.String(), Type.Null()]),
});

export const BySession = Type.Object({ session_id: SessionId });
export const OfSite = Type.Object({ website_id: WebsiteId });

export const SessionData = Type.Object({
  chunks: Type.Array(
    Type.Object({
      id: Type.String(),
      website_id: Type.String(),
      session_id: Type.String(),
      data: Type.Array(Type.Unknown(), { description: 'rrweb events, safe to play' }),
      sequence: Type.Integer(),
      timestamp: Type.String({ format: 'date-time' }),
      created_at: Type.String({ format: 'date-time' }),
    }),
    { description: 'By the time of their first event' },
  ),
  session_id: Type.String(),
  missing_chunks: Type.Integer({ description: 'Chunks that are known and could not be read' }),
  truncated: Type.Optional(
    Type.Boolean({ description: 'There is more than is played: the first 20,000 parts of a session' }),
  ),
});

export const SnapshotQuery = Type.Object({
  website_id: WebsiteId,
  url: Type.String({ default: '', description: 'Path of the page' }),
});
export const Snapshot = Type.Array(Type.Unknown(), {
  description: 'rrweb events, with a full snapshot among them',
});

export const BulkBody = Type.Object({
  website_id: WebsiteId,
  session_ids: Type.Array(SessionId, { maxItems: 1_000 }),
});
