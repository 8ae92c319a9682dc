/**
 * Filters of the analytics endpoints (metrics.md "Filters", contract 7.1 and 18.3), parsed into conditions that both stores and the
 * reference evaluate alike.
 *
 * `field=a,b` any of them · `field=!a,b` none of them · `field=~text` contains · `field=!~text` does not contain. The leading signs
 * count for the whole list; `\,` `\!` `\~` are themselves; a text that is a label of the site as it stands is that label.
 * Compared without case. The label of a missing value (`Unknown`, `Direct`) finds the missing value.
 */
import { normalisePage } from '../enrich/page.js';
import { foldReferrerHost } from '../enrich/referrer-hosts.js';
import { hostOf } from '../enrich/url.js';
import { countryCodes, countryCodesContaining, UNKNOWN } from './countries.js';
import { type Condition, parseCondition, type ValueKind } from './filter-text.js';

/** What a session has one value of. */
export const SESSION_ATTRIBUTES = [
  'country_code',
  'region',
  'city',
  'continent',
  'browser',
  'os',
  'device',
  'resolution',
  'referrer_host',
  'channel',
  'utm_source',
  'utm_medium',
  'utm_campaign',
  'utm_term',
  'utm_content',
] as const;
export type SessionAttribute = (typeof SESSION_ATTRIBUTES)[number];

/** `brand`: a label of the host, the last one excepted (`google` matches `google.de` and `maps.google.com`). All texts are lower case. */
export interface Match {
  readonly attribute: SessionAttribute;
  readonly how: 'equals' | 'contains' | 'brand';
  readonly values: readonly string[];
}

/** What a filter is instead, the first before the second, when the site has such a label: equal to one value (settled-filters.ts). */
interface Ambiguous {
  readonly asLabels?: readonly Filter[];
}

/** Sessions of which any match holds (none, when negated). */
export interface SessionFilter extends Ambiguous {
  readonly on: 'session';
  readonly negate: boolean;
  readonly any: readonly Match[];
}

/** Page views of pages that match (do not match, when negated), and the sessions that have one. */
export interface PageFilter extends Ambiguous {
  readonly on: 'page';
  readonly negate: boolean;
  readonly how: 'equals' | 'contains';
  readonly values: readonly string[];
}

export type Filter = SessionFilter | PageFilter;

/** Query parameters that filter. */
export const FILTER_FIELDS = [
  'country',
  'region',
  'city',
  'continent',
  'device',
  'browser',
  'os',
  'resolution',
  'referrer',
  'source',
  'channel',
  'utm_source',
  'utm_medium',
  'utm_campaign',
  'utm_term',
  'utm_content',
  'page_path',
] as const;
export type FilterField = (typeof FILTER_FIELDS)[number];

/** Channels behind the dashboard's short labels (contract 18.3), lower case; '' is a session without page view. */
const CHANNEL_GROUPS = new Map<string, readonly string[]>(
  Object.entries({
    direct: ['direct', ''],
    search: ['organic search', 'paid search'],
    social: ['organic social', 'paid social'],
    video: ['organic video', 'paid video'],
    shopping: ['organic shopping', 'paid shopping'],
    paid: [
      'paid search',
      'paid social',
      'paid video',
      'paid shopping',
      'paid other',
      'display',
      'cross-network',
    ],
    organic: ['organic search', 'organic social', 'organic video', 'organic shopping'],
    affiliate: ['affiliates'],
    ai: ['ai assistant'],
  }),
);

/** Host labels behind the names that the dashboard shows for referrers; other names stand for themselves. */
const BRANDS = new Map<string, readonly string[]>(
  Object.entries({
    twitter: ['twitter', 'x'],
    x: ['twitter', 'x'],
    'x (twitter)': ['twitter', 'x'],
    'stack overflow': ['stackoverflow'],
    'hacker news': ['ycombinator'],
  }),
);

/**
 * Parses the filters among query parameters; absent and empty ones, and `device=all`, filter nothing.
 * @throws AppError `invalid_parameter` when a filter is too long
 */
export function parseFilters(query: Readonly<Partial<Record<FilterField, string | undefined>>>): Filter[] {
  const filters: Filter[] = [];
  for (const field of FILTER_FIELDS) {
    const text = query[field];
    if (text === undefined) continue;
    const condition = parseCondition(field, text, kindOf(field));
    if (!condition || meansAll(field, condition.values)) continue;
    const asLabels = condition.asLabels.map(({ negate, label }) =>
      toFilter(field, { negate, how: 'equals', values: [label] }),
    );
    const filter = toFilter(field, condition);
    filters.push(asLabels.length > 0 ? { ...filter, asLabels } : filter);
  }
  return filters;
}

/** Fields whose values may hold commas; `page_path` is of its own kind, all others are of known sets. */
const TEXTS: ReadonlySet<FilterField> = new Set<FilterField>([
  'region',
  'city',
  'source',
  'utm_source',
  'utm_medium',
  'utm_campaign',
  'utm_term',
  'utm_content',
]);

function kindOf(field: FilterField): ValueKind {
  if (field === 'page_path') return 'page';
  return TEXTS.has(field) ? 'text' : 'name';
}

const meansAll = (field: FilterField, values: readonly string[]): boolean =>
  field === 'device' && values.some((value) => value.toLowerCase() === 'all');

function toFilter(field: FilterField, { negate, how, values }: Omit<Condition, 'asLabels'>): Filter {
  const lower = values.map((value) => value.toLowerCase());
  if (field === 'page_path') {
    const pages = how === 'equals' ? lower.map(normalisePage) : lower;
    return { on: 'page', negate, how, values: unique(pages) };
  }
  const any = how === 'equals' ? equalTo(field, lower) : containing(field, lower);
  return { on: 'session', negate, any };
}

function equalTo(field: Exclude<FilterField, 'page_path'>, values: readonly string[]): Match[] {
  switch (field) {
    case 'country':
      return [match('country_code', 'equals', values.flatMap(countryCodes))];
    case 'referrer':
      return referrers(values);
    case 'channel':
      return [match('channel', 'equals', values.flatMap(channels))];
    case 'source':
    case 'utm_source':
      return [
        match('utm_source', 'equals', field === 'source' ? values : values.flatMap(orMissing)),
        match('channel', 'equals', values.flatMap(channels)),
        ...referrers(values.filter((value) => value !== 'direct')),
      ];
    default:
      return [match(field, 'equals', values.flatMap(orMissing))];
  }
}

function containing(field: Exclude<FilterField, 'page_path'>, values: readonly string[]): Match[] {
  switch (field) {
    case 'country':
      return [match('country_code', 'equals', values.flatMap(countryCodesContaining))];
    case 'referrer':
      return [match('referrer_host', 'contains', values)];
    case 'source':
      return (['utm_source', 'channel', 'referrer_host'] as const).map((attribute) =>
        match(attribute, 'contains', values),
      );
    default:
      return [match(field, 'contains', values)];
  }
}

function referrers(values: readonly string[]): Match[] {
  if (values.length === 0) return [];
  const hosts = values.map((value) => (value === 'direct' ? '' : storedHost(value)));
  const brands = values
    .filter((value) => value !== 'direct')
    .flatMap((value) => BRANDS.get(value) ?? [value])
    .filter((name) => /^[\w-]+$/.test(name));
  return [
    match('referrer_host', 'equals', hosts),
    ...(brands.length > 0 ? [match('referrer_host', 'brand', brands)] : []),
  ];
}

const channels = (value: string): readonly string[] => CHANNEL_GROUPS.get(value) ?? [value];

const orMissing = (value: string): string[] => (value === UNKNOWN.toLowerCase() ? [value, ''] : [value]);

function match(attribute: SessionAttribute, how: Match['how'], values: readonly string[]): Match {
  return { attribute, how, values: unique(values.map((value) => value.toLowerCase())) };
}

/** A host, bare or in a URL, as referrers are stored (metrics.md "Attributes"); other texts stay. */
function storedHost(value: string): string {
  const host = hostOf(value);
  return host === '' ? value : foldReferrerHost(host);
}

const unique = (values: readonly string[]): string[] => [...new Set(values)];
