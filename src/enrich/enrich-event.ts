/** One event: from what was sent to what is stored. */
import { givenEventId } from '../events/event-id.js';
import { eventKind } from '../events/event-kind.js';
import { RowFlag } from '../events/tables.js';
import type { AgentCache, AgentColumns } from './agent-cache.js';
import type { AttributionCache } from './attribution.js';
import type { ExplicitUtm } from './campaign.js';
import { FUTURE_LIMIT_MS, lengthText, parseTimestamp, parseUnixTime, utcDay } from './clock.js';
import { asNumber, type EventInput } from './event-schema.js';
import { normaliseLanguage } from './language.js';
import { normalisePage } from './page.js';
import { PROPERTIES_LIMIT, propertiesText } from './properties.js';
import { Rejection } from './rejection.js';
import type { EnrichedEvent } from './row-writer.js';
import type { ReadySite } from './site-table.js';
import { cut, TEXT_LIMITS } from './text.js';
import { uniqueClock } from './unique-clock.js';
import { splitUrl, type UrlParts } from './url.js';
import type { MadeVisitor } from './visitor-hash.js';

/** Without a session id, all of a visitor in a UTC day is one session. */
export function sessionOf(visitorId: string, timestamp: number): string {
  return `${cut(visitorId, 244)}:${utcDay(timestamp)}`;
}

/** What the events of one request share. */
export interface RequestContext {
  readonly site: ReadySite;
  /** ms since epoch. */
  readonly receivedAt: number;
  /** For events without a visitor id. */
  readonly visitor: MadeVisitor;
  readonly geo: Uint8Array;
  /** What of the address is stored; '' nothing. */
  readonly storedAddress: string;
  readonly headerAgent: AgentColumns;
  /** Host the request came from, '' unknown. */
  readonly originHost: string;
  readonly prefetch: boolean;
  /** Older events are stale, ms. */
  readonly eventAgeMs: number;
  /** The body had `\u` escapes. */
  readonly escapes: boolean;
  readonly agents: AgentCache;
  readonly attribution: AttributionCache;
}

/** Validates and enriches one event. */
export function enrichEvent(input: EventInput, context: RequestContext): EnrichedEvent | Rejection {
  const givenId = givenEventId(context.site.siteId, (input.id ?? '').trim());
  const clock = readClock(input.timestamp ?? null, context, givenId !== '');
  if (clock instanceof Rejection) return clock;
  const visitorId = cut((input.visitor_id ?? '').trim(), TEXT_LIMITS.id) || context.visitor.at(clock.ms);
  if (visitorId === '')
    return new Rejection('missing_visitor', 'visitor_id is missing, and none can be made at the moment');
  const eventType = cut(input.event_type || 'pageview', TEXT_LIMITS.label);
  const properties = propertiesText(input.properties, eventType, context.escapes);
  if (properties === null)
    return new Rejection('properties_too_large', `properties exceed ${PROPERTIES_LIMIT} bytes or 32 levels`);
  const agent = input.user_agent ? context.agents.ofEvent(input.user_agent) : context.headerAgent;
  const bot = agent.bot || context.headerAgent.bot || context.prefetch;
  const page = input.page || input.page_path || '';
  const url = addressOf(input.page_url ?? '', page);
  const hostname = cut(url.host || context.originHost, TEXT_LIMITS.label);
  const exit = eventType === 'page_exit';
  const given = input.properties ?? NO_PROPERTIES;
  return {
    flags: (bot ? RowFlag.bot : 0) | (clock.lookup ? RowFlag.lookup : 0),
    givenId,
    idClock: clock.text,
    timestamp: clock.ms,
    receivedAt: context.receivedAt,
    site: context.site.encodedId,
    kind: eventKind(eventType),
    eventType,
    visitorId,
    sessionId: cut(input.session_id || '', TEXT_LIMITS.id) || sessionOf(visitorId, clock.ms),
    pageViewId: cut(input.page_view_id ?? '', TEXT_LIMITS.id),
    page: normalisePage(page || input.page_url || ''),
    hostname,
    title: cut(input.page_title ?? '', TEXT_LIMITS.title),
    attribution: context.attribution.block(
      context.site,
      input.referrer ?? '',
      hostname,
      url.query,
      explicitUtm(input),
    ),
    geo: context.geo,
    agent: agent.block,
    screenWidth: whole(input.screen_width ?? property(given, 'screen_width'), 0xffff),
    screenHeight: whole(input.screen_height ?? property(given, 'screen_height'), 0xffff),
    viewportWidth: whole(input.viewport_width ?? property(given, 'viewport_width'), 0xffff),
    viewportHeight: whole(input.viewport_height ?? property(given, 'viewport_height'), 0xffff),
    language: normaliseLanguage(input.language ?? ''),
    timeOnPage: exit ? whole(input.time_on_page ?? property(given, 'time_on_page'), 0xffff_ffff) : 0,
    scrollDepth: exit || eventType === 'scroll_depth' ? scrollDepth(input, given) : 0,
    properties,
    ipAddress: context.storedAddress,
  };
}

const NO_PROPERTIES: object = {};

interface Clock {
  readonly ms: number;
  /** What the event id takes of it. */
  readonly text: string;
  /** Copies of the event may have come at any time before. */
  readonly lookup: boolean;
}

function readClock(
  timestamp: string | number | null,
  context: RequestContext,
  hasId: boolean,
): Clock | Rejection {
  const { receivedAt, eventAgeMs } = context;
  if (timestamp === null || timestamp === '')
    return { ms: receivedAt, text: uniqueClock(receivedAt), lookup: hasId };
  const ms = typeof timestamp === 'string' ? parseTimestamp(timestamp) : parseUnixTime(timestamp);
  if (Number.isNaN(ms)) return new Rejection('invalid_timestamp', 'timestamp must be an RFC 3339 text');
  // A time before 1970 is a wrong clock, however old an event may be.
  if (ms < Math.max(0, receivedAt - eventAgeMs))
    return new Rejection('stale', `the event is older than ${lengthText(eventAgeMs)}`);
  const text = String(timestamp);
  if (ms > receivedAt + FUTURE_LIMIT_MS) return { ms: receivedAt, text, lookup: true };
  // A sender that gives its own ids may stamp each of its tries anew.
  return { ms, text, lookup: hasId };
}

const NO_ADDRESS: UrlParts = { scheme: '', host: '', authority: '', path: '', query: '' };

/** Host and query of the page: of its URL, else of what stands in `page`. */
function addressOf(url: string, page: string): UrlParts {
  if (url !== '') return splitUrl(url);
  return page.includes('?') || page.includes('://') ? splitUrl(page) : NO_ADDRESS;
}

function explicitUtm(input: EventInput): ExplicitUtm | null {
  const source = input.utm_source ?? '';
  const medium = input.utm_medium ?? '';
  const campaign = input.utm_campaign ?? '';
  const term = input.utm_term ?? '';
  const content = input.utm_content ?? '';
  if (source === '' && medium === '' && campaign === '' && term === '' && content === '') return null;
  return {
    utm_source: source,
    utm_medium: medium,
    utm_campaign: campaign,
    utm_term: term,
    utm_content: content,
  };
}

function scrollDepth(input: EventInput, given: object): number {
  return whole(input.scroll_depth ?? property(given, 'scroll_depth') ?? property(given, 'depth'), 100);
}

/** An own property, whatever it is called. */
function property(of: object, name: string): unknown {
  if (of === NO_PROPERTIES || !Object.hasOwn(of, name)) return undefined;
  return Object.getOwnPropertyDescriptor(of, name)?.value;
}

/** The nearest whole number from 0 to `limit`; what is none or out of range is 0, except that percentages and times are capped. */
function whole(value: unknown, limit: number): number {
  const number = asNumber(value);
  if (number === null || number <= 0) return 0;
  const rounded = Math.round(number);
  if (rounded <= limit) return rounded;
  return limit === 0xffff ? 0 : limit;
}
