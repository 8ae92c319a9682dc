/** Writes one `row` record (events/frame.ts) in the order of EVENT_COLUMNS. */
import { hash } from 'node:crypto';
import type { ByteWriter } from './byte-writer.js';
import { beginRecord, endRecord, RECORD_HEADER } from './record-frame.js';

/** A validated, enriched event, ready to be written. Blocks are the already encoded bytes of neighbouring columns. */
export interface EnrichedEvent {
  /** RowFlag bits. */
  readonly flags: number;
  /** The sender's own id as 16 bytes (one char a byte); '' = made from the event. */
  readonly givenId: string;
  /** What of the time goes into the made id: the client's text, or something unique when it sent none. */
  readonly idClock: string;
  /** ms since epoch. */
  readonly timestamp: number;
  readonly receivedAt: number;
  /** site_id, encoded. */
  readonly site: Uint8Array;
  readonly kind: number;
  readonly eventType: string;
  readonly visitorId: string;
  readonly sessionId: string;
  readonly pageViewId: string;
  readonly page: string;
  readonly hostname: string;
  readonly title: string;
  /** referrer to click_id, encoded. */
  readonly attribution: Uint8Array;
  /** country_code, region, city, continent, encoded. */
  readonly geo: Uint8Array;
  /** browser, browser_version, os, os_version, device, encoded. */
  readonly agent: Uint8Array;
  readonly screenWidth: number;
  readonly screenHeight: number;
  readonly viewportWidth: number;
  readonly viewportHeight: number;
  readonly language: string;
  readonly timeOnPage: number;
  readonly scrollDepth: number;
  /** JSON object text. */
  readonly properties: string;
  /** What of the address is stored; '' nothing. */
  readonly ipAddress: string;
}

/** Offset of site_id in the row: behind id, timestamp and received_at. */
const SITE_OFFSET = 32;

/**
 * Appends the record.
 * @returns the position of its event id (16 bytes) in the writer's buffer
 */
export function writeRow(out: ByteWriter, event: EnrichedEvent): number {
  const record = beginRecord(out, event.flags, event.timestamp, event.receivedAt, event.site);
  const row = record + RECORD_HEADER;
  out.u8(event.kind);
  out.string(event.eventType);
  out.string(event.visitorId);
  out.string(event.sessionId);
  out.string(event.pageViewId);
  out.string(event.page);
  const identityEnd = out.at;
  out.string(event.hostname);
  out.string(event.title);
  out.bytes(event.attribution);
  out.bytes(event.geo);
  out.bytes(event.agent);
  out.u16(event.screenWidth);
  out.u16(event.screenHeight);
  out.u16(event.viewportWidth);
  out.u16(event.viewportHeight);
  out.string(event.language);
  out.u32(event.timeOnPage);
  out.u8(event.scrollDepth);
  out.string(event.properties);
  out.string(event.ipAddress);
  const id = event.givenId === '' ? madeId(out, row + SITE_OFFSET, identityEnd, event) : event.givenId;
  endRecord(out, record, id);
  return row;
}

/**
 * Hash of site, kind, type, visitor, session, page view, page (as they stand in the row, each with its length), client time and
 * properties. The input is laid out behind the row, so that nothing is allocated for it.
 */
function madeId(out: ByteWriter, identity: number, identityEnd: number, event: EnrichedEvent): string {
  const end = out.at;
  out.ensure(identityEnd - identity);
  out.buffer.copyWithin(end, identity, identityEnd);
  out.at = end + identityEnd - identity;
  out.string(event.idClock);
  out.string(event.properties);
  const input = out.buffer.subarray(end, out.at);
  out.at = end;
  // SHA-256 in its text form is the quickest of node:crypto here (0.35 µs; MD5 0.53, results as buffers 1.2), and FIPS builds have it.
  return hash('sha256', input, 'binary');
}
