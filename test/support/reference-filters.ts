/** What the text of a filter lets through, read plainly from metrics.md "Filters" and docs/metrics-notes.md "Filters". */
import { countryName } from '../../src/metrics/countries.js';
import type { FilterField } from '../../src/metrics/filters.js';
import type { ReferenceSession } from './reference-sessions.js';

/** Of a session, or of a page. */
export type ReferenceFilter =
  | { readonly session: (one: ReferenceSession) => boolean }
  | { readonly page: (page: string) => boolean };

const lower = (text: string): string => text.toLowerCase();

const CHANNELS = new Map([
  ['direct', ['Direct', '']],
  ['search', ['Organic Search', 'Paid Search']],
  ['social', ['Organic Social', 'Paid Social']],
  ['organic', ['Organic Search', 'Organic Social', 'Organic Video', 'Organic Shopping']],
  ['affiliate', ['Affiliates']],
]);
const HOST_NAMES = new Map([
  ['twitter', ['twitter', 'x']],
  ['x', ['twitter', 'x']],
]);
/** Their values hold anything, so a text with commas or signs may be one of them. */
const FREE = new Set<FilterField>([
  'region',
  'city',
  'source',
  'utm_source',
  'utm_medium',
  'utm_campaign',
  'utm_term',
  'utm_content',
  'page_path',
]);

/**
 * @param has whether the site has seen what a filter lets through
 * @returns undefined when it filters nothing
 */
export function referenceFilter(
  field: FilterField,
  text: string,
  has: (filter: ReferenceFilter) => boolean,
): ReferenceFilter | undefined {
  const whole = text.trim();
  const { negate, contains, values } = partsOf(field, whole);
  if (values.length === 0 || (field === 'device' && values.some((value) => lower(value) === 'all'))) return;
  if (FREE.has(field)) {
    const readings = [{ label: whole, not: false }];
    if (negate) readings.push({ label: whole.slice(1).trim(), not: true });
    for (const { label, not } of readings) {
      const isPlain = values.length === 1 && label === values[0] && not === negate;
      if (isPlain || (field === 'page_path' && /^[!~]/.test(label))) continue;
      if (has(condition(field, false, false, [label]))) return condition(field, not, false, [label]);
    }
  }
  return condition(field, negate, contains, values);
}

function partsOf(field: FilterField, whole: string) {
  const [signs = ''] = /^!?~?/.exec(whole) ?? [];
  const rest = whole.slice(signs.length).trim();
  const contains = signs.endsWith('~');
  const arePages = field === 'page_path' && !contains && rest.startsWith('/');
  const values = rest
    .split(arePages ? /(?<!\\),(?=\s*(?:\/|https?:))/i : /(?<!\\),/)
    .map((value) => value.trim())
    .map((value) => (value.startsWith(signs) ? value.slice(signs.length) : value))
    .map((value) => value.replace(/^\\(?=[!~])/, '').replaceAll('\\,', ','))
    .filter((value) => value !== '');
  return { negate: signs.startsWith('!'), contains, values };
}

function condition(
  field: FilterField,
  negate: boolean,
  contains: boolean,
  values: readonly string[],
): ReferenceFilter {
  const texts = values.map(lower);
  if (field === 'page_path') {
    const test = (page: string) =>
      texts.some((text) => (contains ? lower(page).includes(text) : lower(page) === storedPage(text)));
    return { page: (page) => test(page) !== negate };
  }
  const test = (one: ReferenceSession) =>
    texts.some((text) => (contains ? holds(field, one, text) : equals(field, one, text)));
  return { session: (one) => test(one) !== negate };
}

function storedPage(text: string): string {
  const path = text.startsWith('/') ? text : `/${text}`;
  return path.replace(/[?#].*$/s, '').replace(/(?<=.)\/+$/, '');
}

/** @param text lower case */
function equals(field: FilterField, one: ReferenceSession, text: string): boolean {
  const isUnknown = text === 'unknown';
  switch (field) {
    case 'country':
      if (one.country === '') return isUnknown;
      return [one.country, countryName(one.country)].map(lower).includes(text);
    case 'channel':
      return isChannel(one, text);
    case 'referrer':
      return text === 'direct' ? one.referrer === '' : isHost(one, text);
    case 'source':
    case 'utm_source':
      return (
        lower(one.utm.source) === text ||
        (field === 'utm_source' && isUnknown && one.utm.source === '') ||
        isChannel(one, text) ||
        (text !== 'direct' && isHost(one, text))
      );
    default: {
      const value = attributeOf(field, one);
      return lower(value) === text || (isUnknown && value === '');
    }
  }
}

function holds(field: FilterField, one: ReferenceSession, text: string): boolean {
  if (field === 'source')
    return [one.utm.source, one.channel, one.referrer].some((value) => lower(value).includes(text));
  const value = field === 'country' ? countryName(one.country) : attributeOf(field, one);
  return lower(value).includes(text);
}

const isChannel = ({ channel }: ReferenceSession, text: string): boolean =>
  lower(channel) === text || (CHANNELS.get(text)?.includes(channel) ?? false);

/** Or called so: any label of the host but the last. */
const isHost = ({ referrer }: ReferenceSession, text: string): boolean =>
  lower(referrer) === text ||
  (HOST_NAMES.get(text) ?? [text]).some((name) => referrer.split('.').slice(0, -1).includes(name));

/** The stored value of an attribute; '' when it is not known. */
export function attributeOf(field: FilterField, one: ReferenceSession): string {
  switch (field) {
    case 'utm_source':
      return one.utm.source;
    case 'utm_medium':
      return one.utm.medium;
    case 'utm_campaign':
      return one.utm.campaign;
    case 'utm_term':
      return one.utm.term;
    case 'utm_content':
      return one.utm.content;
    case 'source':
      return one.channel;
    case 'page_path':
      return one.views[0]?.page ?? '';
    default:
      return one[field];
  }
}
