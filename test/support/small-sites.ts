/**
 * Small sites made to go wrong, and questions about them: few visitors and sessions that meet in one millisecond, on midnights, hours,
 * quarters and clock changes of a zone and at the end of periods; labels with signs, commas and letters whose case is hard to fold.
 */
import { DateTime } from 'luxon';
import { eventKind } from '../../src/events/event-kind.js';
import type { EventRow } from '../../src/events/row-decoder.js';
import { FILTER_FIELDS, type FilterField } from '../../src/metrics/filters.js';
import { makeRow } from '../integration/event-rows.js';
import type { Random } from './metrics-events.js';
import { customProperties, vitalProperties } from './metrics-properties.js';
import type { ReferenceData } from './reference-data.js';
import { attributeOf } from './reference-filters.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Among them midnights that do not exist or come twice, and offsets of halves and quarters of an hour. */
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'Australia/Lord_Howe',
  'Asia/Kathmandu',
  'Pacific/Chatham',
  'America/St_Johns',
  'America/Santiago',
  'America/Havana',
  'Asia/Beirut',
  'Africa/Cairo',
  'Pacific/Kiritimati',
  'Etc/GMT+12',
  'Australia/Eucla',
  'Atlantic/Azores',
  'Antarctica/Troll',
  'Pacific/Norfolk',
];
const LABELS = [
  ...[
    '',
    '',
    '',
    'berlin',
    'Berlin',
    'Köln',
    'KÖLN',
    'Washington, D.C.',
    'a,b',
    'a',
    'b',
    '!sale',
    'sale',
    '~x',
    '!~x',
  ],
  ...[
    '-5',
    '=cmd()',
    '50 %',
    '_',
    '\\',
    '"q"',
    'İstanbul',
    'istanbul',
    'ΟΔΟΣ',
    'οδοσ',
    'Straße',
    'ǅ',
    '😀',
    'K',
    'ﬁ',
  ],
  ...['unknown', 'Unknown', 'direct', 'none', 'x\ty', 'é', 'e\u0301', '東京', 'ẞ', 'all', 'a\\,b', '{}'],
];
const CHANNELS = [
  'Direct',
  'Paid Search',
  'Organic Search',
  'Organic Social',
  'Email',
  'Affiliates',
  'Referral',
];
const HOSTS = [
  '',
  'google.com',
  'images.google.de',
  'x.com',
  'news.ycombinator.com',
  'xn--mnchen-3ya.de',
  'localhost',
];
const PAGES = [
  ...[
    '/',
    '/a',
    '/A',
    '/a/b',
    '/a,b',
    '/a,',
    '/!x',
    '/~x',
    '/ä',
    '/Ä',
    '/100%25',
    '/a_b',
    '/axb',
    '/back\\slash',
  ],
  ...["/it's", '/l\nb', '/İ', '/ΟΔΟΣ', '/😀', '/docs', '/docs/intro', `/${'l'.repeat(300)}`, '/a b', '/null'],
];
const TYPES = [
  ...[
    'pageview',
    'pageview',
    'pageview',
    'click',
    'signup',
    'Signup',
    'Größe',
    'a,b',
    'page_exit',
    'page_exit',
  ],
  ...['scroll_depth', 'session_end', '$identify', 'web_vitals', '$web_vitals'],
];

export interface SmallSite {
  readonly zone: string;
  readonly events: readonly EventRow[];
}

/** Reads of one endpoint. */
export type SmallQuestion = Readonly<Partial<Record<FilterField, string>>> & {
  readonly timezone: string;
  readonly limit: string;
  readonly days?: string;
  readonly from?: string;
  readonly to?: string;
};

function picker(random: Random) {
  return <T>(values: readonly [T, ...T[]] | readonly T[]): T => {
    const value = values[Math.floor(random() * values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  };
}

/** @param now ms since epoch; @param serial of the first event, for ids */
export function smallSite(random: Random, siteId: string, now: number, serial: number): SmallSite {
  const pick = picker(random);
  const below = (limit: number) => Math.floor(random() * limit);
  const some = <T>(values: readonly T[], most: number): T[] =>
    Array.from({ length: 1 + below(most) }, () => pick(values));
  const zone = pick(ZONES);
  // Short enough that every label was seen lately, whatever the period.
  const span = pick([1, 3, 12, 28]);
  const pages = some(PAGES, 5);
  const types = some(TYPES, 9);
  const places = some([0], 4).map(() => ({
    country_code: pick(['', 'DE', 'US', 'CI', 'XK']),
    region: pick(LABELS),
    city: pick(LABELS),
    continent: pick(['', 'Europe', 'Asia']),
  }));
  const agents = some([0], 4).map(() => ({
    browser: pick(['', 'Chrome', 'Samsung Internet', 'Unknown']),
    os: pick(['', 'Windows', 'iOS']),
    device: pick(['', 'Desktop', 'Mobile']),
    screen_width: pick([0, 390, 65_535]),
    screen_height: pick([0, 844, 65_535]),
  }));
  const tag = () => (random() < 0.5 ? '' : pick(LABELS).toLowerCase());
  const sources = some([0], 5).map(() => ({
    referrer_host: pick(HOSTS),
    channel: pick(CHANNELS),
    utm_source: tag(),
    utm_medium: tag(),
    utm_campaign: tag(),
    utm_term: tag(),
    utm_content: tag(),
  }));
  const visitors = 1 + below(6);
  const sessions = some([0], 10).map(() => ({
    visitor: below(visitors),
    common: { ...pick(places), ...pick(agents), ...pick(sources) },
    last: 0,
  }));
  const instant = (): number => {
    const local = DateTime.fromMillis(now - Math.floor(random() ** 2 * span * DAY), { zone });
    const at = pick([
      local.startOf('day').toMillis(),
      local.startOf('hour').toMillis(),
      Math.floor(local.toMillis() / (15 * MINUTE)) * 15 * MINUTE,
      DateTime.fromMillis(now, { zone })
        .minus({ days: below(span + 1) })
        .toMillis(),
      local.toMillis(),
    ]);
    return at + pick([0, 0, 0, 1, -1, 999, 1000, -1000, MINUTE, below(HOUR)]);
  };
  const gap = () =>
    pick([0, 0, 1, 1000, 30 * MINUTE, 30 * MINUTE + 1, below(5 * MINUTE), -below(HOUR), below(2 * DAY)]);
  const events = Array.from({ length: 1 + below(50) }, (_, i) => {
    const one = pick(sessions);
    const timestamp = Math.min(now + MINUTE, one.last > 0 && random() < 0.65 ? one.last + gap() : instant());
    one.last = timestamp;
    const event_type = pick(types);
    return makeRow({
      ...one.common,
      ...(random() < 0.2 ? pick(places) : {}),
      ...(random() < 0.2 ? pick(agents) : {}),
      ...(random() < 0.3 ? pick(sources) : {}),
      site_id: siteId,
      event_id: (serial + i).toString(16).padStart(32, '0'),
      kind: eventKind(event_type),
      event_type,
      timestamp,
      received_at: now - pick([0, 5 * MINUTE, 5 * MINUTE - 999, 5 * MINUTE + 1, below(DAY)]),
      visitor_id: `v${random() < 0.9 ? one.visitor : below(visitors)}`,
      session_id: `s${sessions.indexOf(one)}`,
      page: pick(pages),
      time_on_page: event_type === 'page_exit' ? pick([0, 1, 59, 1799, 1800, 1801, 4_294_967_295]) : 0,
      properties: propertiesOf(random, event_type),
    });
  });
  return { zone, events };
}

function propertiesOf(random: Random, type: string): string {
  if (type === 'pageview') return '{}';
  return type.endsWith('web_vitals') ? vitalProperties(random) : customProperties(random);
}

/** @param now ms since epoch */
export function smallQuestion(random: Random, zone: string, now: number, data: ReferenceData): SmallQuestion {
  const pick = picker(random);
  const below = (limit: number) => Math.floor(random() * limit);
  const today = DateTime.fromMillis(now, { zone });
  const first = today.minus({ days: below(14) });
  const last = pick([first, today, first.plus({ days: below(9) })]);
  const range =
    random() < 0.6
      ? { days: String(pick([1, 1, 2, 7, 8, 30, 1 + below(60)])) }
      : { from: first.toISODate() ?? '', to: last.toISODate() ?? '' };
  const filters = Array.from({ length: pick([0, 1, 1, 1, 2]) }, (): [FilterField, string] => {
    const field = pick(FILTER_FIELDS);
    const value = (): string => {
      const seen = data.sessions.map((one) => attributeOf(field, one)).filter((text) => text !== '');
      const text =
        random() < 0.8 && seen.length > 0 ? pick(seen) : pick([...LABELS, 'Unknown', 'Direct', 'search']);
      return pick([text, text, text, text.toUpperCase(), text.toLowerCase(), [...text].slice(0, 2).join('')]);
    };
    const values = Array.from({ length: pick([1, 1, 1, 2]) }, value);
    return [field, pick(['', '', '', '!', '~', '!~']) + values.join(pick([',', ', ']))];
  });
  return { timezone: zone, limit: pick(['2', '10', '1000']), ...range, ...Object.fromEntries(filters) };
}
