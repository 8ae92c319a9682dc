/** Filling `{{name}}` in texts of actions. Values are data: they are put in as they are and never looked at again. */
import { cut } from '../enrich/text.js';
import { isRecord } from '../storage/row.js';
import type { Config } from './config-fields.js';

export type Values = (name: string) => string;

const PLACE = /\{\{\s*([\w.-]{1,100})\s*\}\}/g;
/** Longest text that a single value adds, and the longest result. */
const MAX_VALUE = 4_096;
const MAX_TEXT = 65_536;

/**
 * Values of an execution: `name` among what triggered it, else among its properties; `properties.name` for these alone. Unknown names
 * are empty.
 */
export function valuesOf(data: Config, extra: Config): Values {
  const properties = isRecord(data.properties) ? data.properties : {};
  const own = (record: Config, name: string) => (Object.hasOwn(record, name) ? record[name] : undefined);
  return (name) => {
    const key = ALIASES.get(name) ?? name;
    const value = key.startsWith('properties.')
      ? own(properties, key.slice(11))
      : (own(extra, key) ?? own(data, key) ?? own(properties, key));
    return cut(textOf(value), MAX_VALUE);
  };
}

/** The tracker's names for what events call otherwise. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ['page_path', 'page'],
  ['page_url', 'page'],
  ['user_id', 'visitor_id'],
  ['event_name', 'event_type'],
  ['device_type', 'device'],
  ['user_language', 'language'],
]);

/** @param harmless what makes a value harmless where the text is used */
export function fill(
  text: string,
  values: Values,
  harmless: (value: string) => string = (value) => value,
): string {
  return cut(
    text.replace(PLACE, (_place, name: string) => harmless(values(name))),
    MAX_TEXT,
  );
}

/**
 * A value as a part of an address that it cannot leave: `.` and `..` would go up a path, also when they are percent-encoded once. Halves of
 * surrogate pairs, which no address can hold, become U+FFFD.
 */
export function addressPart(value: string): string {
  const encoded = encodeURIComponent(Buffer.from(value).toString());
  return /^\.+$/.test(encoded) ? encoded.replaceAll('.', '%252E') : encoded;
}

/** All texts of a value together. */
export const MAX_TEXTS = 1_048_576;

/**
 * Fills every text within a JSON value, keys left as they are.
 * @returns undefined when its texts become longer than `MAX_TEXTS` characters together
 */
export function fillDeep(value: unknown, values: Values): unknown {
  let left = MAX_TEXTS;
  const filled = (item: unknown): unknown => {
    if (left < 0) return undefined;
    if (typeof item === 'string') {
      const text = fill(item, values);
      left -= text.length;
      return text;
    }
    if (Array.isArray(item)) return item.map(filled);
    if (!isRecord(item)) return item;
    return Object.fromEntries(Object.entries(item).map(([key, inner]) => [key, filled(inner)]));
  };
  const result = filled(value);
  return left < 0 ? undefined : result;
}

function textOf(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
