import { expect, it } from 'vitest';
import { fileRowOf } from './event-row.js';

const CHROME =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';

/** As ClickHouse writes it. */
const row = (changes: object) => ({
  id: '0b54e0c0-6d3c-4f5e-9b5e-0123456789ab',
  website_id: '00d963eba5e8d5d13e053d48',
  visitor_id: 'v-1',
  session_id: 's-1',
  event_type: 'pageview',
  page: '/',
  referrer: null,
  user_agent: null,
  time_on_page: '0',
  properties: '{}',
  timestamp: '2026-11-01 12:00:00.250',
  ...changes,
});
const of = (changes: object) => fileRowOf(row(changes), 'shop.example');

it('keeps id, people and moments, with the zone that ClickHouse leaves out', () => {
  expect(of({})).toMatchObject({
    event_id: '0b54e0c0-6d3c-4f5e-9b5e-0123456789ab',
    visitor_id: 'v-1',
    session_id: 's-1',
    timestamp: '2026-11-01 12:00:00.250Z',
    hostname: 'shop.example',
  });
  expect(of({ timestamp: '2026-11-01T12:00:00.25+02:00' }).timestamp).toBe('2026-11-01T12:00:00.25+02:00');
  expect(of({ session_id: null }).session_id).toBe('v-1');
});

it('gives an event without an id of its own the same one each time', () => {
  const nil = { id: '00000000-0000-0000-0000-000000000000' };
  expect(of(nil).event_id).toMatch(/^[0-9a-f]{32}$/);
  expect(of(nil).event_id).toBe(of(nil).event_id);
  expect(of({ ...nil, page: '/other' }).event_id).not.toBe(of(nil).event_id);
});

it('judges page, source and channel as those of new events', () => {
  expect(
    of({ page: 'https://shop.example/a/?utm_source=News&gclid=x', referrer: 'https://www.google.com/' }),
  ).toMatchObject({
    page: '/a',
    referrer_host: 'google.com',
    utm_source: 'news',
    click_id_name: 'gclid',
  });
  expect(of({ referrer: 'https://www.google.com/' })).toMatchObject({ channel: 'Organic Search' });
  expect(of({ referrer: 'https://www.shop.example/x' })).toMatchObject({ referrer: '', channel: 'Direct' });
  expect(of({ utm_medium: 'Email', utm_source: 'list' })).toMatchObject({
    channel: 'Email',
    utm_medium: 'email',
  });
});

it('reads the user agent where it was kept, and takes over what was read from it where not', () => {
  expect(of({ user_agent: CHROME, browser: 'Other' })).toMatchObject({
    ...{ browser: 'Chrome', browser_version: '126', os: 'Linux', device: 'Desktop', bot: false },
  });
  expect(of({ user_agent: 'Googlebot/2.1 (+http://www.google.com/bot.html)' })).toMatchObject({ bot: true });
  expect(of({ browser: 'Safari', os: 'Other', device: 'mobile' })).toMatchObject({
    ...{ browser: 'Safari', os: '', device: 'Mobile' },
  });
});

it('takes no address of its own network for Saint Lucia', () => {
  const local = { country: 'Local', country_code: 'LC', city: 'Local' };
  expect(of(local)).not.toHaveProperty('country_code');
  expect(of({ country: 'Germany', country_code: 'de', city: 'Berlin', region: null })).toMatchObject({
    ...{ country_code: 'DE', city: 'Berlin', region: '', continent: 'Europe' },
  });
});

it('takes time on page from the event that carries it', () => {
  expect(of({ event_type: 'page_exit', time_on_page: '42' }).time_on_page).toBe(42);
  expect(of({ time_on_page: '42' }).time_on_page).toBe(0);
  expect(of({ event_type: 'page_exit', time_on_page: -1 }).time_on_page).toBe(0);
});
