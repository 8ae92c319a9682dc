/** From the values of a file's row to the bytes of a stored event: every field by its type and length, nothing taken on trust. */
import { ByteWriter } from '../enrich/byte-writer.js';
import { propertiesText } from '../enrich/properties.js';
import { withoutNulEscapes } from '../enrich/text.js';
import { EVENT_COLUMNS, type EventColumn } from '../events/columns.js';
import { eventKind } from '../events/event-kind.js';
import { RowFlag } from '../events/tables.js';
import { isObject } from './file-rows.js';
import type { AddedRow } from './imported-rows.js';

/** A row that passed, ready to be sent. */
export interface CheckedRow extends AddedRow {
  /** `row` record of a site frame (events/frame.ts). */
  readonly record: Uint8Array;
}

/** Where rows go and when they came. */
export interface RowTarget {
  readonly siteId: string;
  /** ms since epoch: time of receipt of all rows. */
  readonly receivedAt: number;
  /** ms since epoch: events after it are refused. */
  readonly latest: number;
  /** Addresses of visitors are kept. */
  readonly keepAddresses: boolean;
}

/** Why a row is refused; `message` is for the caller. */
export class RowRefused extends Error {
  override readonly name = 'RowRefused';
}

const EARLIEST = Date.UTC(2000, 0, 1);
const ID_TEXT = 255;
/** Characters; texts of our own are shorter. */
const LABEL_TEXT = 1_024;
const STRING_TEXT = 4_096;
const PROPERTIES_BYTES = 64 * 1024;
const ADDRESS: string = 'ip_address';
const IDS: ReadonlySet<string> = new Set(['visitor_id', 'session_id', 'page_view_id', 'event_type']);

/** No event of our own is without them: such rows would all be of one visitor, who could neither be erased nor made anonymous. */
const NEEDED: ReadonlySet<string> = new Set(['visitor_id', 'session_id', 'event_type']);

const EVENT_ID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;
const TIME = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/;
const MAXIMA: Readonly<Record<string, number>> = { u8: 0xff, u16: 0xffff, u32: 0xffff_ffff };

/**
 * Columns that a file does not have are empty. `site_id` and `received_at` are this import's own: an event is received when it comes in here.
 * @throws RowRefused
 */
export function checkRow(values: Readonly<Record<string, unknown>>, target: RowTarget): CheckedRow {
  const id = idOf(values.event_id);
  const timestamp = timeOf(values.timestamp, target.latest);
  const eventType = textOf('event_type', 'label', values.event_type);
  const out = new ByteWriter(512);
  // Length and flags, to come.
  out.u32(0);
  out.u8(RowFlag.lookup | (isTrue(values.bot) ? RowFlag.bot : 0));
  for (const { name, type } of EVENT_COLUMNS) {
    if (name === 'event_id') out.bytes(Buffer.from(id, 'hex'));
    else if (type === 'ms') out.i64(name === 'timestamp' ? timestamp : target.receivedAt);
    else if (name === 'site_id') out.string(target.siteId);
    else if (name === ADDRESS && !target.keepAddresses) out.string('');
    else if (type === 'u8') out.u8(smallOf(name, values));
    else if (type === 'u16') out.u16(wholeOf(name, values[name], MAXIMA.u16));
    else if (type === 'u32') out.u32(wholeOf(name, values[name], MAXIMA.u32));
    else
      out.string(
        name === 'properties' ? propertiesOf(values.properties, eventType) : textOf(name, type, values[name]),
      );
  }
  out.setU32(0, out.at - 4);
  const record = new Uint8Array(out.take());
  const visitorId = textOf('visitor_id', 'string', values.visitor_id);
  return { id, timestamp, visitorId, sessionId: textOf('session_id', 'string', values.session_id), record };
}

function idOf(value: unknown): string {
  const id = typeof value === 'string' && EVENT_ID.test(value) ? value.replaceAll('-', '').toLowerCase() : '';
  if (id === '' || /^0+$/.test(id)) throw new RowRefused('event_id is no UUID');
  return id;
}

function timeOf(value: unknown, latest: number): number {
  const ms = typeof value === 'string' && TIME.test(value) ? Date.parse(value) : Number.NaN;
  if (!Number.isFinite(ms)) throw new RowRefused('timestamp is no moment as in 2026-01-31T12:00:00.000Z');
  if (ms < EARLIEST || ms > latest)
    throw new RowRefused('timestamp is before the year 2000 or in the future');
  return ms;
}

function isTrue(value: unknown): boolean {
  if (value === undefined || value === '' || value === false || value === 'false') return false;
  if (value === true || value === 'true') return true;
  throw new RowRefused('bot is neither true nor false');
}

function smallOf(name: EventColumn, values: Readonly<Record<string, unknown>>): number {
  const value = values[name];
  if (name === 'scroll_depth') return wholeOf(name, value, 100);
  if (name !== 'kind') return wholeOf(name, value, MAXIMA.u8);
  const kind = wholeOf(name, value, 3);
  return kind === 0 ? eventKind(textOf('event_type', 'label', values.event_type)) : kind;
}

function wholeOf(name: string, value: unknown, max = 0): number {
  if (value === undefined || value === '') return 0;
  const isWhole = typeof value === 'number' || (typeof value === 'string' && /^\d{1,10}$/.test(value));
  const number = isWhole ? Number(value) : Number.NaN;
  if (!Number.isInteger(number) || number < 0 || number > max) {
    throw new RowRefused(`${name} is no whole number from 0 to ${max}`);
  }
  return number;
}

function textOf(name: string, type: string, value: unknown = ''): string {
  if (typeof value !== 'string') throw new RowRefused(`${name} is no text`);
  const limit = IDS.has(name) ? ID_TEXT : type === 'label' ? LABEL_TEXT : STRING_TEXT;
  if (value.length > limit) throw new RowRefused(`${name} is longer than ${limit} characters`);
  // Neither store takes it.
  if (value.includes('\0')) throw new RowRefused(`${name} contains NUL`);
  if (name === 'country_code' && !/^(?:[A-Z]{2})?$/.test(value))
    throw new RowRefused('country_code is no ISO 3166 code');
  if (value === '' && NEEDED.has(name)) throw new RowRefused(`${name} is empty`);
  return value;
}

function propertiesOf(value: unknown, eventType: string): string {
  if (value === undefined || value === '') return '{}';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  if (Buffer.byteLength(text) > PROPERTIES_BYTES) throw new RowRefused('properties are too long');
  let parsed: unknown;
  try {
    parsed = JSON.parse(withoutNulEscapes(text));
  } catch {
    throw new RowRefused('properties are not JSON');
  }
  if (!isObject(parsed)) throw new RowRefused('properties are no JSON object');
  const kept = propertiesText(parsed, eventType, true);
  if (kept === null) throw new RowRefused('properties are too long or too deep');
  return kept;
}
