/**
 * Events as trackers and servers send them, beside the rows that metrics.md makes of them: with copies, bots, missing and wrong fields,
 * out of order, up to 29 days late.
 */
import type { EventRow } from '../../src/events/row-decoder.js';
import { makeRow } from '../integration/event-rows.js';
import type { Random } from './metrics-events.js';
import { customProperties, vitalProperties } from './metrics-properties.js';

const MINUTE = 60_000;
const DAY = 86_400_000;

const AGENTS = [
  {
    user_agent:
      'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36 Edg/124.0.2478.51',
    known: { browser: 'Edge', os: 'Windows', device: 'Desktop' },
  },
  {
    user_agent:
      'Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/124.0.6367.71 Mobile/15E148 Safari/604.1',
    known: { browser: 'Chrome', os: 'iOS', device: 'Mobile' },
  },
  {
    user_agent:
      'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36',
    known: { browser: 'Chrome', os: 'Android', device: 'Tablet' },
  },
  { user_agent: '', known: { browser: '', os: '', device: '' } },
] as const;
const BOTS = [
  'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/124.0.0.0 Safari/537.36',
];
const SOURCES = [
  { referrer: '', query: '', known: { channel: 'Direct' } },
  { referrer: 'https://shop.example/elsewhere', query: '', known: { channel: 'Direct' } },
  {
    referrer: 'https://www.google.com/search?q=x',
    query: '',
    known: { referrer_host: 'google.com', channel: 'Organic Search' },
  },
  { referrer: 'https://t.co/abc', query: '', known: { referrer_host: 'x.com', channel: 'Organic Social' } },
  {
    referrer: 'https://blog.partner.example/post',
    query: '',
    known: { referrer_host: 'blog.partner.example', channel: 'Referral' },
  },
  {
    referrer: '',
    query: '?utm_source=Newsletter&utm_medium=EMAIL&utm_campaign=%C3%89t%C3%A9&utm_content=top',
    known: {
      channel: 'Email',
      utm_source: 'newsletter',
      utm_medium: 'email',
      utm_campaign: 'été',
      utm_content: 'top',
    },
  },
  {
    referrer: 'https://www.google.com/',
    query: '?utm_source=google&utm_medium=cpc&utm_term=shoes',
    known: {
      referrer_host: 'google.com',
      channel: 'Paid Search',
      utm_source: 'google',
      utm_medium: 'cpc',
      utm_term: 'shoes',
    },
  },
] as const;
/** What is sent, and the page that it is. */
const PATHS = [
  ['/', '/'],
  ['/pricing', '/pricing'],
  ['/pricing/', '/pricing'],
  ['/Pricing', '/Pricing'],
  ['/blog/%C3%A4rger//', '/blog/%C3%A4rger'],
] as const;

const NOTHING = {
  referrer_host: '',
  channel: '',
  country_code: '',
  region: '',
  city: '',
  continent: '',
  browser: '',
  os: '',
  device: '',
  screen_width: 0,
  screen_height: 0,
};

export interface SentEvents {
  /** In the order of sending; some are copies, some are refused. */
  readonly sent: readonly object[];
  readonly rows: readonly EventRow[];
  /** How many of `sent` become of what: the books. */
  readonly books: {
    readonly stored: number;
    readonly duplicate: number;
    readonly bot: number;
    readonly rejected: number;
  };
}

/** @param now ms since epoch; nothing is from the last ten minutes */
export function sentEvents(random: Random, now: number, siteId: string, sessions: number): SentEvents {
  const pick = <T>(values: readonly [T, ...T[]] | readonly T[]): T => {
    const value = values[Math.floor(random() * values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  };
  const chance = (probability: number): boolean => random() < probability;
  const sent: object[] = [];
  const rows: EventRow[] = [];
  const books = { stored: 0, duplicate: 0, bot: 0, rejected: 0 };
  let number = 0;

  const send = (event: object, changes: Partial<EventRow>): void => {
    // Tells events of the same millisecond apart.
    const whole = { page_view_id: `p${number++}`, ...event };
    sent.push(whole);
    if (chance(0.02)) {
      sent.push({ ...whole, user_agent: pick(BOTS), page_view_id: `p${number++}` });
      books.bot++;
    }
    if (chance(0.02)) {
      sent.push(
        pick<object>([
          { ...whole, event_type: ['pageview'] },
          { ...whole, timestamp: 'yesterday' },
          { ...whole, timestamp: new Date(now - 31 * DAY).toISOString() },
        ]),
      );
      books.rejected++;
    }
    for (let copies = chance(0.05) ? 1 + Math.floor(random() * 3) : 0; copies > 0; copies--) {
      sent.push(whole);
      books.duplicate++;
    }
    rows.push(makeRow({ ...NOTHING, received_at: now, site_id: siteId, ...changes }));
    books.stored++;
  };

  for (let session = 0; session < sessions; session++) {
    const agent = pick(AGENTS);
    const source = pick(SOURCES);
    const visitor_id = `v${Math.floor(random() * sessions * 0.4)}`;
    let at = Math.floor(now - 10 * MINUTE - random() * pick([DAY, 7 * DAY, 29 * DAY - 2 * MINUTE]));
    const named = chance(0.95);
    for (
      let step = chance(0.4) ? 1 : 1 + Math.floor(random() * 5);
      step > 0 && at < now - 10 * MINUTE;
      step--
    ) {
      const [path, page] = pick(PATHS);
      const common = { visitor_id, ...(named ? { session_id: `s${session}` } : {}), page: path };
      const made = (timestamp: number, kind: number, event_type: string): Partial<EventRow> => ({
        visitor_id,
        // Without one, all of a visitor in a day (UTC) is a session.
        session_id: named ? `s${session}` : `${visitor_id} ${Math.floor(timestamp / DAY)}`,
        page,
        timestamp,
        kind,
        event_type,
      });
      const time = (timestamp: number) => ({ timestamp: new Date(timestamp).toISOString() });
      const url = `https://shop.example${path}${source.query}`;
      const where = chance(0.5) ? { page_url: url } : { page: undefined, page_url: `${url}#top` };
      send(
        {
          ...common,
          ...where,
          ...time(at),
          ...(chance(0.5) ? { event_type: 'pageview' } : {}),
          referrer: source.referrer,
          screen_width: 1920,
          screen_height: 1080,
          ...(agent.user_agent === '' ? {} : { user_agent: agent.user_agent }),
        },
        {
          ...made(at, 1, 'pageview'),
          ...source.known,
          ...agent.known,
          screen_width: 1920,
          screen_height: 1080,
        },
      );
      const later = (seconds: number) => at + Math.floor(random() * seconds * 1000);
      if (chance(0.4)) {
        const event_type = pick(['click', 'signup', 'Größe']);
        const properties = customProperties(random);
        const when = later(30);
        send(
          { ...common, ...time(when), event_type, properties: JSON.parse(properties) },
          { ...made(when, 2, event_type), properties },
        );
      }
      if (chance(0.4)) {
        const event_type = pick(['web_vitals', '$web_vitals']);
        const properties = vitalProperties(random);
        const when = later(5);
        send(
          { ...common, ...time(when), event_type, properties: JSON.parse(properties) },
          { ...made(when, 3, event_type), properties },
        );
      }
      if (chance(0.5)) {
        const time_on_page = Math.floor(random() * 100);
        const when = at + time_on_page * 1000;
        send(
          {
            ...common,
            ...time(when),
            event_type: 'page_exit',
            properties: { time_on_page, scroll_depth: 50 },
          },
          { ...made(when, 3, 'page_exit'), time_on_page },
        );
      }
      at += Math.floor(random() * 10 * MINUTE);
    }
  }
  const shuffled = sent
    .map((event) => ({ event, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ event }) => event);
  return { sent: shuffled, rows, books };
}
