/** How an event is written into a line of a file. */
import { EVENT_COLUMNS } from '../events/columns.js';
import { FILE_COLUMNS, type RawEvent } from './raw-event.js';

export const FILE_FORMATS = ['csv', 'ndjson'] as const;
export type FileFormat = (typeof FILE_FORMATS)[number];

const TIMES: ReadonlySet<string> = new Set(
  EVENT_COLUMNS.flatMap(({ name, type }) => (type === 'ms' ? [name] : [])),
);
const TEXTS: ReadonlySet<string> = new Set(
  EVENT_COLUMNS.flatMap(({ name, type }) => (type === 'string' || type === 'label' ? [name] : [])),
);

export const CSV_HEADER = `${FILE_COLUMNS.join(',')}\r\n`;

/** One line of CSV (RFC 4180). */
export function csvLine(event: RawEvent): string {
  const fields = FILE_COLUMNS.map((name) => {
    const value = event[name];
    if (name === 'event_id') return formatId(event.event_id);
    if (TIMES.has(name)) return formatTime(Number(value));
    return TEXTS.has(name) ? csvField(defused(String(value))) : String(value);
  });
  return `${fields.join(',')}\r\n`;
}

/** One line of newline-delimited JSON; `properties` is an object. */
export function ndjsonLine(event: RawEvent): string {
  const values = FILE_COLUMNS.map((name) => {
    const value = event[name];
    if (name === 'event_id') return `"event_id":"${formatId(event.event_id)}"`;
    if (name === 'properties') return `"properties":${propertiesJson(event.properties)}`;
    return `"${name}":${TIMES.has(name) ? `"${formatTime(Number(value))}"` : JSON.stringify(value)}`;
  });
  return `{${values.join(',')}}\n`;
}

/** What stands in the store is JSON already; were it not, it would be a text. */
function propertiesJson(properties: string): string {
  return isJsonObject(properties) ? properties : JSON.stringify(properties);
}

export function isJsonObject(text: string): boolean {
  if (!text.startsWith('{') || /[\r\n]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * Spreadsheets run fields that begin like a formula, so these get an apostrophe in front, and so do those that begin with an apostrophe: a
 * reader that takes one apostrophe away from every text that begins with one has the text as it was.
 */
export function defused(text: string): string {
  return /^['=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(text) ? `'${text}` : text;
}

/** The reverse of `defused`. */
export function restored(text: string): string {
  return text.startsWith("'") ? text.slice(1) : text;
}

/** Quoted where a reader could take it for something else. */
function csvField(text: string): string {
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const formatTime = (ms: number): string => new Date(ms).toISOString();

/** UUID text of 32 hex characters. */
function formatId(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
