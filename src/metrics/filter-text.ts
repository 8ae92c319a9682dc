/** How the text of a filter is read: signs, lists, escapes (metrics.md "Filters", docs/metrics-notes.md "Filters"). */
import { AppError } from '../errors.js';

/** What a filter's text says; values as they were written, trimmed, without escapes. */
export interface Condition {
  readonly negate: boolean;
  readonly how: 'equals' | 'contains';
  readonly values: readonly string[];
}

/**
 * What kind of values a filter has. `name`: of a known set without commas; `text`: anything, so that the whole text may be one value as
 * well; `page`: as `text`, where commas of a text that begins with `/` part values only before another `/` or a URL.
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
  // Lists show values as they are stored, and a click on one sends it so: with its commas and backslashes.
  const asShown = kind !== 'name' && how === 'equals' && whole !== values[0] ? [whole] : [];
  return { negate, how, values: [...values, ...asShown] };
}

/** `\,` anywhere, `\!` and `\~` at the beginning; other backslashes are themselves. */
function withoutEscapes(value: string): string {
  return value.replace(/^\\(?=[!~])/, '').replaceAll('\\,', ',');
}
