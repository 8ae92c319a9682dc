/** One request: body bytes in, rows and an outcome out. Never throws for anything a client can send. */
import type { ErrorCode } from '../errors.js';
import { formatEventId } from '../events/event-id.js';
import { hostAllowed } from '../websites/site.js';
import { AgentCache } from './agent-cache.js';
import { AttributionCache } from './attribution.js';
import type { ByteWriter } from './byte-writer.js';
import { cutAddress } from './cut-address.js';
import { enrichEvent, type RequestContext } from './enrich-event.js';
import { readEvent } from './event-schema.js';
import { writeFunnelEvents } from './funnel-events.js';
import { GeoLookup } from './geo.js';
import { MAX_POINTS, writeHeatPoints } from './heat-points.js';
import {
  DEFAULT_LIMITS,
  type EnrichLimits,
  type EnrichOutcome,
  type EnrichRequest,
  type EnrichWorkerOptions,
  type RejectedEvent,
} from './protocol.js';
import { LISTED_ERRORS, NO_ROWS, type RecordContext } from './record-kind.js';
import { Rejection } from './rejection.js';
import { writeRow } from './row-writer.js';
import { topSiteId } from './site-scan.js';
import type { ReadySite } from './site-table.js';
import { withoutNulEscapes } from './text.js';
import { hostOf } from './url.js';
import { type DailySalt, MadeVisitor } from './visitor-hash.js';

/** Entries of the caches of one worker; together some 20 MB when full. */
const CACHE = { agents: 5000, attribution: 10_000, addresses: 20_000 } as const;

export class RequestEnricher {
  readonly geo: GeoLookup;
  /** Keys for visitors who bring no id; without them such events are rejected. */
  salts: readonly DailySalt[] = [];
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
    const unread = this.refusedUnread(request, site);
    if (unread !== null) return unread;
    const json = bodyText(request.body);
    const body = parseObject(json);
    if (body === undefined) return refused('invalid_json', 'the body is not valid JSON', 1);
    if (body === null) return refused('invalid_request', 'the body must be a JSON object', 1);
    const { source } = request;
    const entries = entriesOf(source, body);
    const named = siteNamed(source, body);
    if (named === '' || entries === null) return missing(source);
    if (site === null || !names(site, named)) return { outcome: 'other_site', site: named };
    const origin = originHost(request, body, entries);
    if (!site.isActive) return refused('website_inactive', INACTIVE, entries.length);
    if (!hostAllowed(site, origin, this.production))
      return refused('origin_not_allowed', FOREIGN, entries.length);
    if (request.optOut && site.respectDoNotTrack) return optedOut(entries.length);
    const escapes = json.includes('\\u');
    switch (source) {
      case 'event':
        return writeOne(body.value, this.context(request, site, origin, escapes), out);
      case 'batch':
        return writeBatch(
          entries,
          this.limits.batchEvents,
          this.context(request, site, origin, escapes),
          out,
        );
      case 'heatmap':
        if (!site.heatmapEnabled) return refused('feature_disabled', HEATMAPS_OFF, entries.length);
        return writeHeatPoints(entries, this.recordContext(request, site, escapes), out);
      case 'funnel':
        if (!site.funnelEnabled) return refused('feature_disabled', FUNNELS_OFF, entries.length);
        return writeFunnelEvents(entries, this.recordContext(request, site, escapes), out);
    }
  }

  /** Reading a large body takes long: it is not worth it where its beginning and the headers tell that nothing of it will be taken. */
  private refusedUnread(
    { source, body, origin }: EnrichRequest,
    site: ReadySite | null,
  ): EnrichOutcome | null {
    if (body.byteLength <= READ_ANYWAY_BYTES) return null;
    if (source === 'heatmap' && hasCommas(body, MOST_POINT_COMMAS))
      return refused('batch_too_large', `only ${MAX_POINTS} points a request are taken`, 1);
    if (site === null) return null;
    if (!names(site, topSiteId(body, source))) return null;
    if (!site.isActive) return refused('website_inactive', INACTIVE, 1);
    const host = hostOf(origin);
    if (host !== '' && !hostAllowed(site, host, this.production))
      return refused('origin_not_allowed', FOREIGN, 1);
    if (source === 'heatmap' && !site.heatmapEnabled) return refused('feature_disabled', HEATMAPS_OFF, 1);
    if (source === 'funnel' && !site.funnelEnabled) return refused('feature_disabled', FUNNELS_OFF, 1);
    return null;
  }

  private recordContext(request: EnrichRequest, site: ReadySite, escapes: boolean): RecordContext {
    const { receivedAt, address, userAgent } = request;
    const { eventAgeMs } = this.limits;
    const visitor = this.visitor(request, site);
    return { site, receivedAt, address, visitor, userAgent, escapes, eventAgeMs };
  }

  private visitor({ address, userAgent, receivedAt }: EnrichRequest, { siteId }: ReadySite): MadeVisitor {
    return new MadeVisitor({ siteId, address, userAgent, receivedAt }, this.salts);
  }

  private context(request: EnrichRequest, site: ReadySite, origin: string, escapes: boolean): RequestContext {
    const address = site.cutAddress ? cutAddress(request.address) : request.address;
    return {
      site,
      receivedAt: request.receivedAt,
      visitor: this.visitor(request, site),
      geo: this.geo.block(address),
      storedAddress: site.storeAddress ? address : '',
      headerAgent: this.agents.ofHeader(request.userAgent),
      originHost: origin,
      prefetch: request.prefetch,
      eventAgeMs: this.limits.eventAgeMs,
      escapes,
      agents: this.agents,
      attribution: this.attribution,
    };
  }
}

/** So little is read even when it will be refused, so that the books count each event. A tracker's hundred points have some 15 KB. */
const READ_ANYWAY_BYTES = 16 << 10;

/** A point has seven fields. What has more commas (outside texts) than twice the points that are taken is made of things that are none. */
const MOST_POINT_COMMAS = MAX_POINTS * 14;

const INACTIVE = 'website is inactive';
const FOREIGN = 'domain mismatch';
const HEATMAPS_OFF = 'heatmap recording is manually disabled for this website. enable it in settings';
const FUNNELS_OFF = 'funnel tracking is disabled for this website';

/** What the request brings; null when it is not what the route takes. */
function entriesOf(source: EnrichRequest['source'], body: Body): readonly unknown[] | null {
  if (source === 'event') return [body.value];
  const list = body.get(source === 'heatmap' ? 'points' : 'events');
  if (source === 'funnel' && list === undefined) return [body.value];
  if (!Array.isArray(list)) return null;
  // An empty list is nothing to do for the trackers of heatmaps and funnels, and a mistake in a batch.
  return list.length === 0 && source === 'batch' ? null : list;
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
    errors: NO_ROWS.errors,
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

/** Whether the JSON has more than so many commas. Those within texts (selectors) part nothing. */
function hasCommas(body: Uint8Array, most: number): boolean {
  let count = 0;
  let inText = false;
  for (let at = 0; at < body.length; at++) {
    const byte = body[at];
    if (byte === QUOTE) inText = !inText;
    else if (byte === BACKSLASH && inText) at++;
    else if (byte === COMMA && !inText && ++count > most) return true;
  }
  return false;
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;

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
const BATCH_KEYS = ['siteId', 'site_id', 'website_id', 'websiteId'] as const;
const OTHER_KEYS = ['website_id', 'siteId', 'site_id', 'websiteId'] as const;

function siteNamed(source: EnrichRequest['source'], body: Body): string {
  for (const key of source === 'batch' ? BATCH_KEYS : OTHER_KEYS) {
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

const REQUIRED = {
  event: 'website_id',
  batch: 'siteId and events',
  heatmap: 'website_id and points',
  funnel: 'website_id and events',
} as const satisfies Record<EnrichRequest['source'], string>;

/** Every entry is rejected, so that the books tell how many were not stored. */
function optedOut(received: number): EnrichOutcome {
  const length = Math.min(received, LISTED_ERRORS);
  const message = 'the visitor asked not to be tracked';
  const errors = Array.from({ length }, (_, index) => ({ index, code: 'do_not_track' as const, message }));
  return { ...NO_ROWS, received, rejected: received, errors };
}

function missing(source: EnrichRequest['source']): EnrichOutcome {
  return refused(
    'invalid_request',
    `Missing required fields: ${REQUIRED[source]}`,
    source === 'event' ? 1 : 0,
  );
}

function refused(code: ErrorCode, message: string, received: number): EnrichOutcome {
  return { outcome: 'refused', code, message, received };
}
