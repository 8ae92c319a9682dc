import { describe, expect, it } from 'vitest';
import { CHROME, NOW, one, PAGEVIEW, ready, rowsOf, SITE, send } from '../../test/support/enrich-request.js';
import { RowFlag } from '../events/tables.js';

describe('an event as the tracker sends it', () => {
  it('becomes a row with every column', () => {
    const { row, flags, eventId } = one(PAGEVIEW);
    expect(row).toEqual({
      event_id: eventId.replaceAll('-', ''),
      timestamp: Date.UTC(2025, 10, 23, 11, 59, 58, 123),
      received_at: NOW,
      site_id: SITE.siteId,
      kind: 1,
      event_type: 'pageview',
      visitor_id: PAGEVIEW.visitor_id,
      session_id: PAGEVIEW.session_id,
      page_view_id: PAGEVIEW.page_view_id,
      page: '/Pricing',
      hostname: 'www.example.com',
      title: 'Prices – all of them',
      referrer: 'https://www.google.com/',
      referrer_host: 'google.com',
      channel: 'Paid Other',
      utm_source: 'news',
      utm_medium: '',
      utm_campaign: '',
      utm_term: '',
      utm_content: '',
      click_id_name: 'gclid',
      click_id: 'Cj0',
      country_code: 'GB',
      region: 'England',
      city: 'London',
      continent: 'Europe',
      browser: 'Chrome',
      browser_version: '124',
      os: 'Windows',
      os_version: '10',
      device: 'Desktop',
      screen_width: 1920,
      screen_height: 1080,
      viewport_width: 1200,
      viewport_height: 900,
      language: 'de-DE',
      time_on_page: 0,
      scroll_depth: 0,
      properties: '{}',
      ip_address: '',
    });
    expect(flags).toBe(0);
  });

  it('has its time on page and scroll depth inside the properties of page_exit', () => {
    const { row } = one({
      event_type: 'page_exit',
      page: '/a',
      properties: { time_on_page: 42.4, scroll_depth: 150 },
    });
    expect(row).toMatchObject({ kind: 3, time_on_page: 42, scroll_depth: 100 });
    const scrolled = one({ event_type: 'scroll_depth', properties: { depth: 50 } }).row;
    expect(scrolled).toMatchObject({ kind: 3, scroll_depth: 50, time_on_page: 0 });
    expect(one({ event_type: 'purchase', time_on_page: 9 }).row).toMatchObject({ kind: 2, time_on_page: 0 });
  });

  it('takes screen sizes from the properties, too, and the user agent from the header', () => {
    const { row } = one({ event_type: 'click', properties: { screen_width: '800', screen_height: 600.4 } });
    expect(row).toMatchObject({
      screen_width: 800,
      screen_height: 600,
      browser: 'Chrome',
      device: 'Desktop',
    });
    expect(one({ screen_width: 70_000, screen_height: -1, viewport_width: 1e9 }).row).toMatchObject({
      screen_width: 0,
      screen_height: 0,
      viewport_width: 0,
    });
  });

  it('never lets the sender overrule geo', () => {
    const spoofed = {
      country: 'Narnia',
      country_code: 'XX',
      city: 'X',
      region: 'X',
      continent: 'X',
      ip_address: '8.8.8.8',
    };
    expect(one(spoofed).row).toMatchObject({ country_code: 'GB', city: 'London', continent: 'Europe' });
    expect(one(spoofed, { address: '10.0.0.1' }).row).toMatchObject({
      country_code: '',
      city: '',
      continent: '',
    });
  });

  it('understands page_path, and full URLs as page', () => {
    expect(one({ page_path: '/a/' }).row.page).toBe('/a');
    expect(one({ page: 'https://www.example.com/b?utm_source=x' }).row).toMatchObject({
      page: '/b',
      hostname: 'www.example.com',
      utm_source: 'x',
    });
    expect(one({ page_url: 'https://www.example.com/c/' }).row.page).toBe('/c');
    expect(one({}).row).toMatchObject({ page: '', hostname: 'www.example.com', event_type: 'pageview' });
  });

  it('puts events without a session into one a visitor and UTC day', () => {
    expect(one({ timestamp: '2025-11-22T23:59:59Z' }).row.session_id).toBe('v:2025-11-22');
    expect(one({ timestamp: '2025-11-22T23:59:59Z' }).row.session_id).toBe('v:2025-11-22');
    expect(one({ visitor_id: 'x'.repeat(400) }).row.session_id).toHaveLength(255);
  });
});

describe('event ids', () => {
  const id = (event: object) => one(event).eventId;

  it('are the same for the same event, and others for any other', () => {
    const variants = [
      PAGEVIEW,
      { ...PAGEVIEW, visitor_id: 'w' },
      { ...PAGEVIEW, session_id: 's' },
      { ...PAGEVIEW, event_type: 'click' },
      { ...PAGEVIEW, timestamp: '2025-11-23T11:59:58.124Z' },
      { ...PAGEVIEW, page_view_id: 'p' },
      { ...PAGEVIEW, page: '/other' },
      { ...PAGEVIEW, properties: { a: 1 } },
    ];
    expect(new Set(variants.map(id)).size).toBe(variants.length);
    expect(variants.map(id)).toEqual(variants.map(id));
    expect(id(PAGEVIEW)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
  });

  it('are those the sender gives, scoped by site unless they are UUIDs', () => {
    expect(id({ id: 'A9B8C7D6-1111-4000-8000-0000000000AB' })).toBe('a9b8c7d6-1111-4000-8000-0000000000ab');
    expect(id({ id: 'order-1' })).toBe(id({ id: 'order-1', visitor_id: 'other' }));
    expect(id({ id: 'order-1' })).not.toBe(id({ id: 'order-2' }));
    const otherSite = send(
      'event',
      { website_id: 'f'.repeat(24), visitor_id: 'v', id: 'order-1' },
      {},
      ready({ siteId: 'f'.repeat(24) }),
    );
    expect(rowsOf(otherSite).eventId).not.toBe(id({ id: 'order-1' }));
    expect(id({ ...PAGEVIEW, id: '00000000-0000-0000-0000-000000000000' })).toBe(id(PAGEVIEW));
  });

  it('differ when the sender gives neither id nor time', () => {
    const { timestamp: _, ...timeless } = PAGEVIEW;
    expect(id(timeless)).not.toBe(id(timeless));
  });

  it('flag what cannot be dated', () => {
    expect(one({ id: 'a' }).flags).toBe(RowFlag.lookup);
    // Another try of it may have borne another time; without an id of its own, another time is another event.
    expect(one({ id: 'a', timestamp: '2025-11-23T11:00:00Z' }).flags).toBe(RowFlag.lookup);
    expect(one({ id: ' ', timestamp: '2025-11-23T11:00:00Z' }).flags).toBe(0);
    expect(one({ timestamp: '2025-11-23T11:00:00Z' }).flags).toBe(0);
    expect(one({ id: 'a', timestamp: '2026-11-23T11:00:00Z' }).flags).toBe(RowFlag.lookup);
    expect(one({ timestamp: '9999-12-31T23:59:59Z' }).flags).toBe(RowFlag.lookup);
    expect(one({}).flags).toBe(0);
  });
});

describe('clocks', () => {
  it.each([
    ['a minute ahead', '2025-11-23T12:01:00Z', NOW + 60_000],
    ['further ahead', '2025-11-23T12:01:00.001Z', NOW],
    ['year 9999', '9999-12-31T23:59:59Z', NOW],
    ['30 days old', '2025-10-24T12:00:00Z', NOW - 30 * 86_400_000],
    ['missing', undefined, NOW],
    ['empty', '', NOW],
    ['Unix seconds', 1_763_899_200, NOW],
  ])('%s', (_, timestamp, expected) => {
    expect(one({ timestamp }).row.timestamp).toBe(expected);
  });
});

describe('bots', () => {
  const bot = { user_agent: 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)' };

  it('are flagged by event, by header and by prefetch', () => {
    expect(one(bot).flags & RowFlag.bot).toBe(RowFlag.bot);
    expect(one({}, { userAgent: bot.user_agent }).flags & RowFlag.bot).toBe(RowFlag.bot);
    expect(one({ user_agent: CHROME }, { userAgent: 'HeadlessChrome/124' }).flags & RowFlag.bot).toBe(
      RowFlag.bot,
    );
    expect(one({}, { prefetch: true }).flags & RowFlag.bot).toBe(RowFlag.bot);
    expect(one({}).flags).toBe(0);
    expect(one({}, { userAgent: 'node' }).flags).toBe(0);
  });
});
