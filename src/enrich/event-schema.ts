/** The event object of contract section 6 with the fields that trackers add (17.2), and how loosely typed ones are understood. */
import Type, { type Static } from 'typebox';
import { Compile } from 'typebox/compile';
import { Rejection } from './rejection.js';

const text = (description: string) =>
  Type.Optional(Type.Union([Type.String(), Type.Null()], { description }));
const number = (description: string) =>
  Type.Optional(Type.Union([Type.Number(), Type.Null()], { description }));

export const EventSchema = Type.Object(
  {
    id: text('Event id, a UUID or any text: the same id is stored once. Made from the event when absent.'),
    visitor_id: text(
      'Without one, a hash of address and user agent under a random key of the day, which is destroyed after two days.',
    ),
    session_id: text('Without one, all of a visitor in a UTC day is one session.'),
    event_type: text('`pageview` (default) or any other name.'),
    timestamp: Type.Optional(
      Type.Union([Type.String(), Type.Number(), Type.Null()], {
        description:
          'RFC 3339, or Unix time; at most `MAX_EVENT_AGE` (30 days) old. Default: time of receipt.',
      }),
    ),
    page_view_id: text('Ties the events of one page view together.'),
    page: text('Path or URL.'),
    page_path: text('Alias of `page`.'),
    page_url: text('Full URL: host name, UTM values and click ids are read from it.'),
    page_title: text('Title of the document.'),
    referrer: text('`document.referrer`.'),
    user_agent: text('Default: the request header.'),
    language: text('BCP 47 tag.'),
    utm_source: text('Default: from `page_url`.'),
    utm_medium: text('Default: from `page_url`.'),
    utm_campaign: text('Default: from `page_url`.'),
    utm_term: text('Default: from `page_url`.'),
    utm_content: text('Default: from `page_url`.'),
    screen_width: number('Pixels.'),
    screen_height: number('Pixels.'),
    viewport_width: number('Pixels.'),
    viewport_height: number('Pixels.'),
    time_on_page: number('Seconds; of `page_exit`.'),
    scroll_depth: number('Percent; of `page_exit` and `scroll_depth`.'),
    properties: Type.Optional(
      Type.Union([Type.Object({}), Type.Null()], { description: 'Any JSON object up to 32 KiB.' }),
    ),
  },
  {
    description:
      'One event. Unknown fields are ignored; optional fields of a wrong type are converted or left out.',
  },
);

export type EventInput = Static<typeof EventSchema>;

const validator = Compile(EventSchema);

/** Fields that are left out when they cannot be understood as text. */
const TEXTS = [
  'id',
  'session_id',
  'page_view_id',
  'page',
  'page_path',
  'page_url',
  'page_title',
  'referrer',
  'user_agent',
  'language',
  'utm_source',
  'utm_medium',
  'utm_campaign',
  'utm_term',
  'utm_content',
] as const satisfies readonly (keyof EventInput)[];

const NUMBERS = [
  'screen_width',
  'screen_height',
  'viewport_width',
  'viewport_height',
  'time_on_page',
  'scroll_depth',
] as const satisfies readonly (keyof EventInput)[];

/**
 * The event as typed fields. Well-typed ones, nearly all, pass through as they are; of others each field is converted or dropped.
 * What cannot be dropped without changing what is counted (visitor, type, time) rejects the event.
 */
export function readEvent(value: unknown): EventInput | Rejection {
  if (validator.Check(value)) return value;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return new Rejection('not_an_object', 'an event must be a JSON object');
  return coerce(value);
}

function coerce(value: object): EventInput | Rejection {
  const fields = new Map<string, unknown>(Object.entries(value));
  const visitor = asText(fields.get('visitor_id'));
  if (visitor === undefined) return new Rejection('wrong_type', 'visitor_id must be a string');
  const eventType = asText(fields.get('event_type'));
  if (eventType === undefined) return new Rejection('wrong_type', 'event_type must be a string');
  const timestamp = asTimestamp(fields.get('timestamp'));
  if (timestamp === undefined)
    return new Rejection('invalid_timestamp', 'timestamp must be an RFC 3339 text');
  const event: EventInput = { visitor_id: visitor, event_type: eventType, timestamp };
  for (const name of TEXTS) event[name] = asText(fields.get(name)) ?? null;
  for (const name of NUMBERS) event[name] = asNumber(fields.get(name));
  const properties = fields.get('properties');
  if (typeof properties === 'object' && properties !== null && !Array.isArray(properties))
    event.properties = properties;
  return event;
}

/** Texts and numbers as text, missing ones as null, undefined for the rest. */
function asText(value: unknown): string | null | undefined {
  if (typeof value === 'string') return value;
  if (value === undefined || value === null) return null;
  return typeof value === 'number' || typeof value === 'bigint' ? String(value) : undefined;
}

function asTimestamp(value: unknown): string | number | null | undefined {
  if (value === undefined || value === null) return null;
  return typeof value === 'string' || typeof value === 'number' ? value : undefined;
}

/** A finite number or a text that is one; null for the rest. */
export function asNumber(value: unknown): number | null {
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (typeof value !== 'string' || value.length > 32 || value.trim() === '') return null;
  const number = Number(value);
  return Number.isFinite(number) ? number : null;
}
