/** Properties of an event as JSON text that every store takes. */
import { withoutLoneSurrogates } from './text.js';

/** Longest JSON text, UTF-16 units and also bytes. */
export const PROPERTIES_LIMIT = 32_768;
/** Deepest nesting; both stores' JSON functions go deeper, their users do not. */
export const DEPTH_LIMIT = 32;

/** null: too large or too deep. */
export type PropertiesText = string | null;

/**
 * @param value the event's `properties`; anything but an object counts as none
 * @param eventType of `form_submission` the field values (`form_data`) are not kept (privacy)
 * @param escapes whether the request had any `\u` escape: only then can there be lone surrogates
 */
export function propertiesText(value: unknown, eventType: string, escapes: boolean): PropertiesText {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return '{}';
  const kept = eventType === 'form_submission' ? withoutFormData(value) : value;
  if (!isShallow(kept, DEPTH_LIMIT)) return null;
  const json = JSON.stringify(kept);
  if (json.length > PROPERTIES_LIMIT || Buffer.byteLength(json) > PROPERTIES_LIMIT) return null;
  return escapes ? withoutLoneSurrogates(json) : json;
}

function withoutFormData(value: object): object {
  const entries = Object.entries(value).filter(([key]) => !/^form_?(data|values)$/i.test(key));
  return Object.fromEntries(entries);
}

/** Whether nothing is nested deeper than `levels`; the recursion ends there, too. */
function isShallow(value: object, levels: number): boolean {
  if (levels === 0) return false;
  if (Array.isArray(value)) return value.every((item) => isLeaf(item) || isShallow(item, levels - 1));
  for (const item of Object.values(value)) if (!isLeaf(item) && !isShallow(item, levels - 1)) return false;
  return true;
}

function isLeaf(value: unknown): value is string | number | boolean | null | undefined {
  return typeof value !== 'object' || value === null;
}
