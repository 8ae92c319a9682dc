/** One request: body bytes in, rows and an outcome out. Never throws for anything a client can send. */
import type { ErrorCode } from '../errors.js';
import { formatEventId } from '../events/event-id.js';
import { hostAllowed } from '../websites/site.js';
import { AgentCache } from './agent-cache.js';
import { AttributionCache } from './attribution.js';
import type { ByteWriter } from './byte-writer.js';
import { enrichEvent, type RequestContext } from './enrich-event.js';
import { readEvent } from './event-schema.js';
import { GeoLookup } from './geo.js';
import {
  DEFAULT_LIMITS,
  type EnrichLimits,
  type EnrichOutcome,
  type EnrichRequest,
  type EnrichWorkerOptions,
  type RejectedEvent,
} from './protocol.js';
import { Rejection } from './rejection.js';
import { writeRow } from './row-writer.js';
import type { ReadySite } from './site-table.js';
import { withoutNulEscapes } from './text.js';
import { hostOf } from './url.js';

/** Entries of the caches of one worker; together some 20 MB when full. */
const CACHE = { agents: 5000, attribution: 10_000, addresses: 20_000 } as const;

const LISTED_ERRORS = 10;

export class RequestEnricher {
  readonly geo: GeoLookup;
  private readonly agents = new AgentCache(CACHE.agents);
  private readonly attribution = new AttributionCache(CACHE.attribution);
  private readonly production: boolean;
  private readonly limits: EnrichLimits;

  constructor(options: Omit<EnrichWorkerOptions, 'limits'> & { readonly limits?: EnrichLimits }) {
    this.geo = new GeoLookup(options.geo, CACHE.addresses);
    this.production = options.production;
    this.limits = options.limits ?? DEFAULT_LIMITS;
  }

  /**
   * @param site the request's site as the worker knows it, null when the scan found none
   * @param out rows are appended here
   */
  enrich(request: EnrichRequest, site: ReadySite | null, out: ByteWriter): EnrichOutcome {
    const json = bodyText(request.body);
    const body = parseObject(json);
    if (body === undefined) return refused('invalid_json', 'the body is not valid JSON', 1);
    if (body === null) return refused('invalid_request', 'the body must be a JSON object', 1);
    const batch = request.source === 'batch';
    const events = batch ? body.get('events') : [body.value];
    const named = siteNamed(body, batch);
    if (named === '' || !Array.isArray(events) || events.length === 0) return missing(batch);
    if (site === null || !names(site, named)) return { outcome: 'other_site', site: named };
    const origin = originHost(request, body, events);
    if (!site.isActive) return refused('website_inactive', 'website is inactive', events.length);
    if (!hostAllowed(site, origin, this.production))
      return refused('origin_not_allowed', 'domain mismatch', events.length);
    const context: RequestContext = {
      site,
      receivedAt: request.receivedAt,
      geo: this.geo.block(request.address),
      headerAgent: this.agents.ofHeader(request.userAgent),
      originHost: origin,
      prefetch: request.prefetch,
      eventAgeMs: this.limits.eventAgeMs,
      escapes: json.includes('\\u'),
      agents: this.agents,
      attribution: this.attribution,
    };
    return batch
      ? writeBatch(events, this.limits.batchEvents, context, out)
      : writeOne(body.value, context, out);
  }
}

function writeOne(value: unknown, context: RequestContext, out: ByteWriter): EnrichOutcome {
  const input = readEvent(value);
  const event = input instanceof Rejection ? input : enrichEvent(input, context);
  if (event instanceof Rejection)
    return {
      ...NO_ROWS,
      received: 1,
      rejected: 1,
      errors: [{ index: 0, code: event.code, message: event.message }],
    };
  const start = out.at;
  const id = writeRow(out, event);
  return {
    outcome: 'rows',
    rows: out.buffer.subarray(start, out.at),
    rowCount: 1,
    received: 1,
    rejected: 0,
    errors: NO_ERRORS,
    eventId: formatEventId(out.buffer, id),
    visitorId: event.visitorId,
    sessionId: event.sessionId,
  };
}

function writeBatch(
  events: readonly unknown[],
  limit: number,
  context: RequestContext,
  out: ByteWriter,
): EnrichOutcome {
  const errors: RejectedEvent[] = [];
  const start = out.at;
  const taken = Math.min(events.length, limit);
  let rowCount = 0;
  for (let index = 0; index < taken; index++) {
    const input = readEvent(events[index]);
    const event = input instanceof Rejection ? input : enrichEvent(input, context);
    if (!(event instanceof Rejection)) {
      writeRow(out, event);
      rowCount++;
    } else if (errors.length < LISTED_ERRORS)
      errors.push({ index, code: event.code, message: event.message });
  }
  if (events.length > taken && errors.length < LISTED_ERRORS)
    errors.push({
      index: taken,
      code: 'batch_too_large',
      message: `only ${limit} events a batch are taken`,
    });
  return {
    ...NO_ROWS,
    rows: out.buffer.subarray(start, out.at),
    rowCount,
    received: events.length,
    rejected: events.length - rowCount,
    errors,
  };
}

const NO_ERRORS: readonly RejectedEvent[] = [];

const NO_ROWS = {
  outcome: 'rows',
  rows: new Uint8Array(0),
  rowCount: 0,
  errors: NO_ERRORS,
  eventId: '',
  visitorId: '',
  sessionId: '',
} as const;

/** UTF-8 to text; a byte order mark and escaped NULs are left out. */
function bodyText(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  return withoutNulEscapes(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text);
}

/** Own fields of the body, whatever their names. */
class Body {
  constructor(readonly value: object) {}

  get(name: string): unknown {
    return Object.getOwnPropertyDescriptor(this.value, name)?.value;
  }
}

/** undefined: not JSON; null: JSON, but no object. */
function parseObject(json: string): Body | null | undefined {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return undefined;
  }
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? new Body(value) : null;
}

/** Names a body may call its site by, the route's own first. */
const SITE_KEYS = {
  batch: ['siteId', 'site_id', 'website_id', 'websiteId'],
  event: ['website_id', 'siteId', 'site_id', 'websiteId'],
} as const;

function siteNamed(body: Body, batch: boolean): string {
  for (const key of batch ? SITE_KEYS.batch : SITE_KEYS.event) {
    const value = body.get(key);
    if (typeof value === 'string' && value.trim() !== '') return value.trim();
  }
  return '';
}

function names(site: ReadySite, name: string): boolean {
  if (name === site.siteId || name === site.id) return true;
  const lower = name.toLowerCase();
  return lower === site.siteId || lower === site.id;
}

/** Host of the `Origin` or `Referer` header; where there is neither, what the body says. */
function originHost(request: EnrichRequest, body: Body, events: readonly unknown[]): string {
  const header = hostOf(request.origin);
  if (header !== '') return header;
  const domain = body.get('domain');
  if (typeof domain === 'string' && domain !== '') return hostOf(domain);
  const [first] = events;
  if (typeof first !== 'object' || first === null) return '';
  const url: unknown = Object.getOwnPropertyDescriptor(first, 'page_url')?.value;
  return typeof url === 'string' && url.includes('://') ? hostOf(url) : '';
}

function missing(batch: boolean): EnrichOutcome {
  const fields = batch ? 'siteId and events' : 'website_id and visitor_id';
  return refused('invalid_request', `Missing required fields: ${fields}`, batch ? 0 : 1);
}

function refused(code: ErrorCode, message: string, received: number): EnrichOutcome {
  return { outcome: 'refused', code, message, received };
}
