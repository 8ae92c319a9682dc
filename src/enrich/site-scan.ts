/**
 * Finds the site id in a body without parsing it, so that the main thread can look the site up and queue fairly. It may be wrong
 * (the same words inside a property); the worker parses the body and has the last word.
 */
import type { EnrichRequest } from './protocol.js';

const OTHERS = ['"website_id"', '"siteId"', '"site_id"', '"websiteId"'].map((key) => Buffer.from(key));

const KEYS = {
  batch: ['"siteId"', '"site_id"', '"website_id"', '"websiteId"'].map((key) => Buffer.from(key)),
  event: OTHERS,
  heatmap: OTHERS,
  funnel: OTHERS,
} as const satisfies Readonly<Record<EnrichRequest['source'], readonly Buffer[]>>;

/** Only so much of the beginning and the end of a body is looked at. */
const HEAD_BYTES = 2048;
const TAIL_BYTES = 1024;

/** Longest id, bytes: a UUID has 36. */
const ID_LIMIT = 64;

/** The id as it stands in the body, '' when none is found. */
export function scanSiteId(body: Uint8Array, source: EnrichRequest['source']): string {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const head = bytes.length > HEAD_BYTES ? bytes.subarray(0, HEAD_BYTES) : bytes;
  const found = scan(head, source);
  if (found !== '' || head.length === bytes.length) return found;
  return scan(bytes.subarray(Math.max(HEAD_BYTES, bytes.length - TAIL_BYTES)), source);
}

function scan(bytes: Buffer, source: EnrichRequest['source']): string {
  for (const key of KEYS[source]) {
    const at = bytes.indexOf(key);
    const id = at === -1 ? '' : idAt(bytes, at + key.length);
    if (id !== '') return id;
  }
  return '';
}

/**
 * The id under the route's own name at the top of the body, '' when none is found in its beginning. The worker will find the same one,
 * unless the body gives that name twice.
 */
export function topSiteId(body: Uint8Array, source: EnrichRequest['source']): string {
  const bytes = Buffer.from(body.buffer, body.byteOffset, Math.min(body.byteLength, HEAD_BYTES));
  const [key] = KEYS[source];
  let depth = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === 0x7b || byte === 0x5b) depth++;
    else if (byte === 0x7d || byte === 0x5d) depth--;
    else if (byte === 0x22) {
      const end = stringEnd(bytes, at);
      const isKey = depth === 1 && key !== undefined && key.equals(bytes.subarray(at, end));
      const id = isKey ? idAt(bytes, end) : '';
      if (id !== '') return id;
      at = end - 1;
    }
  }
  return '';
}

/** Behind the closing quote of the text that begins at `start`. */
function stringEnd(bytes: Buffer, start: number): number {
  let at = start + 1;
  while (at < bytes.length && bytes[at] !== 0x22) at += bytes[at] === 0x5c ? 2 : 1;
  return at + 1;
}

/** Reads `: "id"`. */
function idAt(bytes: Buffer, start: number): string {
  let at = skipSpace(bytes, start);
  if (bytes[at] !== 0x3a) return '';
  at = skipSpace(bytes, at + 1);
  if (bytes[at] !== 0x22) return '';
  const end = bytes.indexOf(0x22, at + 1);
  if (end === -1 || end - at - 1 > ID_LIMIT) return '';
  const id = bytes.toString('latin1', at + 1, end);
  return /^[0-9A-Za-z-]+$/.test(id) ? id : '';
}

function skipSpace(bytes: Buffer, start: number): number {
  let at = start;
  while (bytes[at] === 0x20 || bytes[at] === 0x0a || bytes[at] === 0x0d || bytes[at] === 0x09) at++;
  return at;
}
