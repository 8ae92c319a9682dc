/**
 * Visits as they come in the world, from a seed: out of order, across midnights and clock changes, tabs open for days, visitors who
 * change within a session, missing fields, equal milliseconds, late events, bots, a neighbour site with the same ids.
 */
import type { EventRow } from '../../src/events/row-decoder.js';
import { makeRow, SITE } from '../integration/event-rows.js';
import { customProperties, vitalProperties } from './metrics-properties.js';

export const NEIGHBOUR = '75f1a2b3c4d5e6f708192a3c';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export type Random = () => number;

/** Mulberry32. @returns numbers from 0 to 1 */
export function randomOf(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const PLACES = [
  { country_code: 'DE', region: 'Berlin', city: 'Berlin', continent: 'Europe' },
  { country_code: 'DE', region: 'Bavaria', city: 'München', continent: 'Europe' },
  { country_code: 'US', region: 'Texas', city: 'Austin', continent: 'North America' },
  { country_code: 'US', region: '', city: '', continent: 'North America' },
  // Of one name in two countries.
  { country_code: 'US', region: 'Berlin', city: 'Berlin', continent: 'North America' },
  { country_code: '', region: 'Berlin', city: '', continent: '' },
  { country_code: 'CI', region: 'Abidjan', city: 'Abidjan', continent: 'Africa' },
  { country_code: '', region: '', city: '', continent: '' },
];
const AGENTS = [
  { browser: 'Chrome', os: 'Windows', device: 'Desktop', screen_width: 1920, screen_height: 1080 },
  { browser: 'Safari', os: 'iOS', device: 'Mobile', screen_width: 390, screen_height: 844 },
  { browser: 'Firefox', os: 'Linux', device: 'Desktop', screen_width: 1366, screen_height: 768 },
  { browser: 'Samsung Internet', os: 'Android', device: 'Tablet', screen_width: 0, screen_height: 800 },
  { browser: 'Firefox', os: '', device: '', screen_width: 0, screen_height: 0 },
  { browser: '', os: '', device: '', screen_width: 0, screen_height: 0 },
];
const NO_CAMPAIGN = { utm_source: '', utm_medium: '', utm_campaign: '', utm_term: '', utm_content: '' };
const SOURCES = [
  { ...NO_CAMPAIGN, referrer_host: '', channel: 'Direct' },
  { ...NO_CAMPAIGN, referrer_host: 'google.com', channel: 'Organic Search' },
  { ...NO_CAMPAIGN, referrer_host: 'images.google.co.uk', channel: 'Organic Search' },
  { ...NO_CAMPAIGN, referrer_host: 'netflix.com', channel: 'Referral' },
  { ...NO_CAMPAIGN, referrer_host: 'x.com', channel: 'Organic Social' },
  {
    referrer_host: '',
    channel: 'Email',
    utm_source: 'newsletter',
    utm_medium: 'email',
    utm_campaign: 'été, 50 %',
    utm_term: '',
    utm_content: 'top',
  },
  {
    ...NO_CAMPAIGN,
    referrer_host: 'google.com',
    channel: 'Paid Search',
    utm_source: 'google',
    utm_medium: 'cpc',
    utm_campaign: 'brand',
    utm_term: 'shoes',
  },
];
export const PAGES = ['/', '/pricing', '/Pricing', '/docs/intro', '/blog/ärger', '/a%20b', "/it's", '/docs'];

export interface GeneratedEvents {
  readonly events: readonly EventRow[];
  readonly bots: readonly EventRow[];
}

/**
 * @param now ms since epoch: nothing is later than a minute after it
 * @param sessions how many for the site; the neighbour gets a tenth
 */
export function generateEvents(random: Random, now: number, sessions: number): GeneratedEvents {
  const pick = <T>(values: readonly [T, ...T[]] | readonly T[]): T => {
    const value = values[Math.floor(random() * values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  };
  const chance = (probability: number): boolean => random() < probability;
  let id = 0;
  const row = (changes: Partial<EventRow>): EventRow => {
    id++;
    const timestamp = Math.min(changes.timestamp ?? now, now + MINUTE);
    const received = chance(0.9) ? timestamp + random() * 2_000 : timestamp + random() * 2 * DAY;
    return makeRow({
      ...changes,
      timestamp,
      event_id: id.toString(16).padStart(32, '0'),
      received_at: Math.min(now, Math.floor(received)),
    });
  };

  const visit = (siteId: string, number: number): EventRow[] => {
    const list: EventRow[] = [];
    const place = pick(PLACES);
    const agent = pick(AGENTS);
    const source = pick(SOURCES);
    let visitor = `v${Math.floor(random() * sessions * 0.5)}`;
    let at = startOf(random, now);
    const long = chance(0.04);
    const steps = chance(0.35) ? 1 : 1 + Math.floor(random() * 6);
    for (let step = 0; step < steps; step++) {
      const common = {
        site_id: siteId,
        session_id: `s${number}`,
        // Fields that one event knows and another does not, and devices that change.
        ...(chance(0.15) ? pick(PLACES) : place),
        ...(chance(0.15) ? pick(AGENTS) : agent),
      };
      if (chance(0.02)) visitor = `v${Math.floor(random() * sessions * 0.5)}`;
      if (!chance(0.1)) {
        const from = step === 0 ? source : chance(0.7) ? SOURCES[0] : pick(SOURCES);
        list.push(
          row({
            ...common,
            ...from,
            kind: 1,
            event_type: 'pageview',
            visitor_id: visitor,
            page: pick(PAGES),
            timestamp: at,
          }),
        );
        if (chance(0.05))
          list.push(
            row({
              ...common,
              ...pick(SOURCES),
              kind: 1,
              visitor_id: visitor,
              page: pick(PAGES),
              timestamp: at,
            }),
          );
      }
      if (chance(0.2))
        list.push(
          row({
            ...common,
            ...pick(SOURCES),
            kind: 2,
            event_type: pick(['click', 'signup', 'Größe', 'video_play']),
            properties: customProperties(random),
            visitor_id: visitor,
            timestamp: at + Math.floor(random() * 20_000),
          }),
        );
      if (chance(0.2))
        list.push(
          row({
            ...common,
            kind: 3,
            event_type: 'scroll_depth',
            visitor_id: visitor,
            timestamp: at + Math.floor(random() * 9_000),
            scroll_depth: 50,
          }),
        );
      if (chance(0.15))
        list.push(
          row({
            ...common,
            kind: 3,
            event_type: pick(['web_vitals', '$web_vitals']),
            properties: vitalProperties(random),
            visitor_id: visitor,
            page: pick(PAGES),
            timestamp: at + Math.floor(random() * 9_000),
          }),
        );
      if (chance(0.5)) {
        const spent = Math.floor(random() * (chance(0.1) ? 4_000 : 120));
        const sent = chance(0.3) ? 0 : spent * (chance(0.8) ? 1000 : 500);
        list.push(
          row({
            ...common,
            kind: 3,
            event_type: 'page_exit',
            visitor_id: visitor,
            timestamp: at + sent,
            time_on_page: chance(0.2) ? 0 : spent,
          }),
        );
      }
      at += Math.floor(random() * (long ? 2 * DAY : chance(0.1) ? 2 * HOUR : 5 * MINUTE));
      if (at > now) break;
    }
    return list;
  };

  const events = [
    ...Array.from({ length: sessions }, (_, i) => visit(SITE, i)).flat(),
    ...Array.from({ length: Math.ceil(sessions / 10) }, (_, i) => visit(NEIGHBOUR, i)).flat(),
  ];
  const bots = Array.from({ length: Math.ceil(sessions / 10) }, (_, i) =>
    row({
      site_id: SITE,
      session_id: `s${i}`,
      visitor_id: `v${i}`,
      timestamp: startOf(random, now),
      page: pick(PAGES),
    }),
  );
  return { events: shuffled(random, events), bots };
}

/** Most in the last days; many just around full hours and midnights of several zones; some a month and more ago. */
function startOf(random: Random, now: number): number {
  const ago =
    random() < 0.5 ? random() * 3 * DAY : random() < 0.8 ? random() * 16 * DAY : random() * 45 * DAY;
  if (random() < 0.05) return now - Math.floor(random() * 6 * MINUTE);
  const at = Math.floor(now - ago);
  if (random() < 0.7) return at;
  const border = Math.floor(at / (HOUR / 2)) * (HOUR / 2);
  return border + Math.floor((random() - 0.5) * 4 * MINUTE) * (random() < 0.2 ? 0 : 1);
}

function shuffled<T>(random: Random, values: readonly T[]): T[] {
  return values
    .map((value) => ({ value, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ value }) => value);
}
