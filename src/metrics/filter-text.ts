/** How the text of a filter is read: signs, lists, escapes (metrics.md "Filters", docs/metrics-notes.md "Filters"). */
import { AppError } from '../errors.js';

/** What a filter's text says; values as they were written, trimmed, without escapes. */
export interface Condition {
  readonly negate: boolean;
  readonly how: 'equals' | 'contains';
  readonly values: readonly string[];
  /** Other readings, which count instead, the first before the second, when the site has such a label (settled-filters.ts). */
  readonly asLabels: readonly { readonly negate: boolean; readonly label: string }[];
}

/**
 * What kind of values a filter has. `name`: of a known set without commas; `text`: anything, so that the whole text may be one label; `page`: as `text`, where commas of a text that begins with `/` part values only before another `/` or a URL.
 */
export type ValueKind = 'name' | 'text' | 'page';

const MAX_VALUES = 100;
const MAX_CHARACTERS = 2048;

/** A comma that no backslash stands before. */
const COMMA = /(?<!\\),/;
const COMMA_OF_PAGES = /(?<!\\),(?=\s*(?:\/|https?:\/\/))/i;

/**
 * @param name of the parameter, for messages
 * @returns undefined when it filters nothing
 * @throws AppError `invalid_parameter` when it is too long
 */
export function parseCondition(name: string, text: string, kind: ValueKind): Condition | undefined {
  if (text.length > MAX_CHARACTERS) throw new AppError('invalid_parameter', `${name} is too long`);
  const trimmed = text.trim();
  const negate = trimmed.startsWith('!');
  const how = trimmed.startsWith('~', negate ? 1 : 0) ? 'contains' : 'equals';
  const signs = (negate ? '!' : '') + (how === 'contains' ? '~' : '');
  const whole = trimmed.slice(signs.length).trim();
  const arePages = kind === 'page' && how === 'equals' && whole.startsWith('/');
  const values = whole
    .split(arePages ? COMMA_OF_PAGES : COMMA)
    .map((value) => value.trim())
    .map((value) => (signs !== '' && value.startsWith(signs) ? value.slice(signs.length) : value))
    .map(withoutEscapes)
    .filter((value) => value !== '');
  if (values.length > MAX_VALUES) throw new AppError('invalid_parameter', `${name} has too many values`);
  if (values.length === 0) return undefined;
  return { negate, how, values, asLabels: kind === 'name' ? [] : labelsOf(trimmed, negate, values, kind) };
}

/** Lists show labels as they are stored, and a click on one sends it so: with its signs, commas and backslashes. */
function labelsOf(
  text: string,
  negate: boolean,
  values: readonly string[],
  kind: ValueKind,
): Condition['asLabels'] {
  const rest = text.slice(1).trim();
  const given = negate ? [text, rest] : [text];
  return given
    .filter((label) => kind !== 'page' || !/^[!~]/.test(label))
    .map((label) => ({ negate: label !== text, label }))
    .filter((one) => values.length > 1 || one.label !== values[0] || one.negate !== negate);
}

/** `\,` anywhere, `\!` and `\~` at the beginning; other backslashes are themselves. */
function withoutEscapes(value: string): string {
  return value.replace(/^\\(?=[!~])/, '').replaceAll('\\,', ',');
}
