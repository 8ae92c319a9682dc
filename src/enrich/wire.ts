/**
 * The bytes of a task and of its result. Strings are LEB128 length plus UTF-8, numbers little-endian.
 *
 *     task     := u16 siteCount  site*(string)  u8 saltCount  salt*(i64 day  32 bytes)  u32 requestCount  request*
 *     request  := u8 source  u8 flags (1 prefetch, 2 optOut)  u16 site (0xffff none)  i64 receivedAt  string address  string userAgent  string origin
 *                 u32 bodyLength  body
 *     result   := rows  outcome*  string geoFailure  string failure  u32 offset of the first outcome
 *     outcome  := u32 microseconds that it took  kind
 *     kind     := u8 0  u32 rowsLength  u32 rowCount  u32 received  u32 rejected  string errors (JSON)
 *                 string eventId  string visitorId  string sessionId
 *               | u8 1  string refusal (JSON)
 *               | u8 2  string site
 *
 * The rows of the outcomes follow one another in order.
 */
import { ByteReader } from './byte-reader.js';
import { ByteWriter } from './byte-writer.js';
import type { EnrichOutcome, EnrichRequest, EnrichResult, EnrichSite, RejectedEvent } from './protocol.js';
import { encodeSite, type ReadySite, type SiteTable } from './site-table.js';
import { type DailySalt, SALT_BYTES } from './visitor-hash.js';

const NO_SITE = 0xffff;
const FLAG_PREFETCH = 1;
const FLAG_OPT_OUT = 2;

/** Both sides are of the same program, so the order may change. */
const SOURCE_LIST = [
  'event',
  'batch',
  'heatmap',
  'funnel',
] as const satisfies readonly EnrichRequest['source'][];
const SOURCE_CODES = { event: 0, batch: 1, heatmap: 2, funnel: 3 } as const satisfies Record<
  EnrichRequest['source'],
  number
>;

/** Sites as text are remembered as long as the directory remembers the site. */
const siteTexts = new WeakMap<EnrichSite, string>();

function siteText(site: EnrichSite): string {
  const known = siteTexts.get(site);
  if (known !== undefined) return known;
  const made = encodeSite(site);
  siteTexts.set(site, made);
  return made;
}

/** Upper bound of the bytes of a request in a task, its site included. */
export function taskBytes(request: EnrichRequest): number {
  const texts = request.address.length + request.userAgent.length + request.origin.length;
  const site = request.site === null ? 0 : siteText(request.site).length;
  return request.body.byteLength + (texts + site) * 3 + 64;
}

/**
 * Encodes a task; the buffer can be transferred. At most 65,535 sites.
 * @param salts keys for visitors who bring no id
 */
export function encodeTask(
  requests: readonly EnrichRequest[],
  salts: readonly DailySalt[] = [],
): ArrayBuffer {
  let capacity = 16 + salts.length * (SALT_BYTES + 8);
  const sites = new Map<EnrichSite, number>();
  for (const request of requests) {
    capacity += taskBytes(request);
    if (request.site !== null && !sites.has(request.site)) sites.set(request.site, sites.size);
  }
  const out = new ByteWriter(capacity);
  out.u16(sites.size);
  for (const site of sites.keys()) out.string(siteText(site));
  out.u8(salts.length);
  for (const { day, key } of salts) {
    out.i64(day);
    out.bytes(key);
  }
  out.u32(requests.length);
  for (const request of requests) {
    out.u8(SOURCE_CODES[request.source]);
    out.u8((request.prefetch ? FLAG_PREFETCH : 0) | (request.optOut ? FLAG_OPT_OUT : 0));
    out.u16(request.site === null ? NO_SITE : (sites.get(request.site) ?? NO_SITE));
    out.i64(request.receivedAt);
    out.string(request.address);
    out.string(request.userAgent);
    out.string(request.origin);
    out.u32(request.body.byteLength);
    out.bytes(request.body);
  }
  return out.transfer();
}

export interface DecodedRequest {
  readonly request: EnrichRequest;
  readonly site: ReadySite | null;
}

export interface DecodedTask {
  /** Views into the task. */
  readonly salts: readonly DailySalt[];
  /** Decoded one by one; bodies are views. */
  readonly requests: Iterable<DecodedRequest>;
}

/** Decodes a task. */
export function decodeTask(task: ArrayBuffer, table: SiteTable): DecodedTask {
  const reader = new ByteReader(task);
  const sites: ReadySite[] = [];
  for (let left = reader.u16(); left > 0; left--) sites.push(table.get(reader.string()));
  const salts: DailySalt[] = [];
  for (let left = reader.u8(); left > 0; left--) salts.push(readSalt(reader));
  return { salts, requests: readRequests(reader, sites) };
}

function readSalt(reader: ByteReader): DailySalt {
  const day = reader.i64();
  const start = reader.skip(SALT_BYTES);
  return { day, key: reader.buffer.subarray(start, start + SALT_BYTES) };
}

function* readRequests(reader: ByteReader, sites: readonly ReadySite[]): Generator<DecodedRequest> {
  for (let left = reader.u32(); left > 0; left--) yield readRequest(reader, sites);
}

function readRequest(reader: ByteReader, sites: readonly ReadySite[]): DecodedRequest {
  const source = SOURCE_LIST[reader.u8()] ?? 'event';
  const flags = reader.u8();
  const site = sites[reader.u16()] ?? null;
  const receivedAt = reader.i64();
  const address = reader.string();
  const userAgent = reader.string();
  const origin = reader.string();
  const length = reader.u32();
  const start = reader.skip(length);
  const body = reader.buffer.subarray(start, start + length);
  const prefetch = (flags & FLAG_PREFETCH) !== 0;
  const optOut = (flags & FLAG_OPT_OUT) !== 0;
  return { request: { source, body, site, address, userAgent, origin, receivedAt, prefetch, optOut }, site };
}

/**
 * Appends the outcomes behind the rows and takes it all.
 * @param out holds the rows of all outcomes, in order
 */
export function encodeResult(out: ByteWriter, { outcomes, tookMs, ...notes }: EnrichResult): ArrayBuffer {
  const start = out.at;
  for (const [index, outcome] of outcomes.entries()) {
    out.u32(Math.min(0xffff_ffff, Math.round((tookMs[index] ?? 0) * 1_000)));
    writeOutcome(out, outcome);
  }
  out.string(notes.geoFailure ?? '');
  out.string(notes.failure ?? '');
  out.u32(start);
  return out.take();
}

function writeOutcome(out: ByteWriter, outcome: EnrichOutcome): void {
  if (outcome.outcome === 'rows') {
    out.u8(0);
    out.u32(outcome.rows.byteLength);
    out.u32(outcome.rowCount);
    out.u32(outcome.received);
    out.u32(outcome.rejected);
    out.string(outcome.errors.length === 0 ? '' : JSON.stringify(outcome.errors));
    out.string(outcome.eventId);
    out.string(outcome.visitorId);
    out.string(outcome.sessionId);
  } else if (outcome.outcome === 'refused') {
    out.u8(1);
    out.string(JSON.stringify(outcome));
  } else {
    out.u8(2);
    out.string(outcome.site);
  }
}

/** Decodes a result; rows are views. */
export function decodeResult(result: ArrayBuffer, count: number): EnrichResult {
  const reader = new ByteReader(result, result.byteLength - 4);
  reader.at = reader.u32();
  const outcomes: EnrichOutcome[] = [];
  const tookMs: number[] = [];
  let rowsAt = 0;
  for (let i = 0; i < count; i++) {
    tookMs.push(reader.u32() / 1_000);
    const outcome = readOutcome(reader, rowsAt);
    if (outcome.outcome === 'rows') rowsAt += outcome.rows.byteLength;
    outcomes.push(outcome);
  }
  return { outcomes, tookMs, geoFailure: reader.string() || null, failure: reader.string() || null };
}

function readOutcome(reader: ByteReader, rowsAt: number): EnrichOutcome {
  switch (reader.u8()) {
    case 0:
      return {
        outcome: 'rows',
        rows: reader.buffer.subarray(rowsAt, rowsAt + reader.u32()),
        rowCount: reader.u32(),
        received: reader.u32(),
        rejected: reader.u32(),
        errors: readErrors(reader.string()),
        eventId: reader.string(),
        visitorId: reader.string(),
        sessionId: reader.string(),
      };
    case 1:
      return readRefusal(reader.string());
    default:
      return { outcome: 'other_site', site: reader.string() };
  }
}

/** Our own worker wrote these texts a moment ago, so they are of the shape that writeOutcome gave them. */
function readErrors(json: string): readonly RejectedEvent[] {
  return json === '' ? [] : JSON.parse(json);
}

function readRefusal(json: string): EnrichOutcome {
  return JSON.parse(json);
}
