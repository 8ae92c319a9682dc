import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeMessage, encodeMessage, RowFlag } from '../events/frame.js';
import { decodeRow, type EventRow } from '../events/row-decoder.js';
import { silentTelemetry } from '../telemetry.js';
import { ByteWriter } from './byte-writer.js';
import { RequestEnricher } from './enrich-request.js';
import { loadGeoImage } from './geo-database.js';
import type { EnrichOutcome, EnrichRequest } from './protocol.js';
import { encodeSite, SiteTable } from './site-table.js';

const NOW = Date.UTC(2025, 10, 23, 12);
const SITE = {
  id: 'a9b8c7d6-1111-4000-8000-000000000000',
  siteId: '0123456789abcdef01234567',
  host: 'example.com',
  allowedHosts: ['shop.example'],
  isActive: true,
};
const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36';

let enricher: RequestEnricher;
beforeAll(async () => {
  enricher = new RequestEnricher({
    geo: await loadGeoImage('bundled', silentTelemetry().log),
    production: true,
  });
});

const ready = (changes: object = {}) => new SiteTable(1).get(encodeSite({ ...SITE, ...changes }));

type Rows = Extract<EnrichOutcome, { outcome: 'rows' }> & {
  decoded: { row: EventRow; flags: number }[];
};

function send(
  source: EnrichRequest['source'],
  body: unknown,
  changes: Partial<EnrichRequest> = {},
  site = ready(),
): EnrichOutcome {
  const bytes =
    body instanceof Uint8Array ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const request: EnrichRequest = {
    source,
    body: bytes,
    site,
    address: '81.2.69.142',
    userAgent: CHROME,
    origin: 'https://www.example.com',
    receivedAt: NOW,
    prefetch: false,
    ...changes,
  };
  return enricher.enrich(request, site, new ByteWriter(64));
}

function rowsOf(outcome: EnrichOutcome): Rows {
  if (outcome.outcome !== 'rows') throw new Error(`no rows: ${JSON.stringify(outcome)}`);
  const { received, rejected, rowCount, rows } = outcome;
  const message = encodeMessage([
    { siteId: SITE.siteId, source: 'batch', received, rejected, rowCount, rows: [rows] },
  ]);
  const [frame] = decodeMessage(message);
  const decoded = (frame?.rows ?? []).map(({ bytes, flags }) => ({ row: decodeRow(bytes), flags }));
  return { ...outcome, decoded };
}

function one(
  event: object,
  changes: Partial<EnrichRequest> = {},
): { row: EventRow; flags: number; eventId: string } {
  const rows = rowsOf(send('event', { website_id: SITE.siteId, visitor_id: 'v', ...event }, changes));
  const [first] = rows.decoded;
  if (first === undefined) throw new Error(JSON.stringify(rows.errors));
  return { ...first, eventId: rows.eventId };
}

const batch = (events: unknown[], more: object = {}) => ({
  siteId: SITE.siteId,
  domain: 'www.example.com',
  events,
  ...more,
});

const PAGEVIEW = {
  event_type: 'pageview',
  event_name: 'page_view',
  page_view_id: '11112222-3333-4444-8555-666677778888',
  page_url: 'https://www.example.com/Pricing/?utm_source=News&gclid=Cj0#top',
  page: '/Pricing/',
  page_title: 'Prices – all of them',
  referrer: 'https://www.google.com/',
  screen_width: 1920,
  screen_height: 1080,
  viewport_width: 1200,
  viewport_height: 900,
  user_agent: CHROME,
  language: 'de-de',
  visitor_id: '3f2b8c1e-4d5a-4b6c-8d7e-9f0a1b2c3d4e',
  session_id: '7c1d2e3f-4a5b-4c6d-8e7f-0a1b2c3d4e5f',
  timestamp: '2025-11-23T11:59:58.123Z',
};

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
    expect(one({ id: 'a', timestamp: '2025-11-23T11:00:00Z' }).flags).toBe(0);
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

describe('a batch', () => {
  it('with malformed events stores the others, and says which', () => {
    const events = [
      PAGEVIEW,
      null,
      'x',
      [],
      { visitor_id: '' },
      { visitor_id: {} },
      { visitor_id: 'v', event_type: [] },
      { visitor_id: 'v', timestamp: 'yesterday' },
      { visitor_id: 'v', timestamp: '0001-01-01T00:00:00Z' },
      { visitor_id: 'v', properties: { a: 'x'.repeat(40_000) } },
      { visitor_id: 7, event_type: 'click', page: {}, screen_width: 'wide', properties: 'none', referrer: 5 },
    ];
    const rows = rowsOf(send('batch', batch(events)));
    expect(rows).toMatchObject({ received: 11, rejected: 9, rowCount: 2, eventId: '' });
    expect(rows.errors.map(({ index, code }) => `${index} ${code}`)).toEqual([
      '1 not_an_object',
      '2 not_an_object',
      '3 not_an_object',
      '4 missing_visitor',
      '5 wrong_type',
      '6 wrong_type',
      '7 invalid_timestamp',
      '8 stale',
      '9 properties_too_large',
    ]);
    expect(rows.decoded[1]?.row).toMatchObject({
      visitor_id: '7',
      event_type: 'click',
      page: '',
      properties: '{}',
    });
  });

  it('of 10,000 events is taken to its thousandth', () => {
    const rows = rowsOf(
      send('batch', batch(Array.from({ length: 10_000 }, (_, i) => ({ visitor_id: `v${i}` })))),
    );
    expect(rows).toMatchObject({ received: 10_000, rejected: 9_000, rowCount: 1000 });
    expect(rows.errors).toEqual([expect.objectContaining({ index: 1000, code: 'batch_too_large' })]);
  });

  it('keeps the same referrer of following page views', () => {
    const second = { ...PAGEVIEW, page: '/b', page_view_id: 'b' };
    const rows = rowsOf(send('batch', batch([PAGEVIEW, second])));
    expect(rows.decoded.map(({ row }) => row.referrer_host)).toEqual(['google.com', 'google.com']);
  });

  it('may name its site by either id', () => {
    expect(rowsOf(send('batch', batch([PAGEVIEW], { siteId: SITE.id }))).rowCount).toBe(1);
    expect(rowsOf(send('batch', batch([PAGEVIEW], { siteId: SITE.id.toUpperCase() }))).rowCount).toBe(1);
  });
});

describe('a request that is refused as a whole', () => {
  it.each([
    ['batch', '{"siteId":', 'invalid_json', 1],
    ['batch', '', 'invalid_json', 1],
    ['event', '[1]', 'invalid_request', 1],
    ['event', '"x"', 'invalid_request', 1],
    ['event', { visitor_id: 'v' }, 'invalid_request', 1],
    ['batch', { siteId: SITE.siteId }, 'invalid_request', 0],
    ['batch', { siteId: SITE.siteId, events: [] }, 'invalid_request', 0],
    ['batch', { siteId: SITE.siteId, events: {} }, 'invalid_request', 0],
    ['batch', { siteId: 5, events: [PAGEVIEW] }, 'invalid_request', 0],
    ['event', `${'['.repeat(300_000)}${']'.repeat(300_000)}`, 'invalid_request', 1],
  ] as const)('%s %j: %s', (source, body, code, received) => {
    expect(send(source, body)).toMatchObject({ outcome: 'refused', code, received });
  });

  it('because the site is inactive or the origin is foreign', () => {
    const body = batch([PAGEVIEW, PAGEVIEW]);
    expect(send('batch', body, {}, ready({ isActive: false }))).toMatchObject({
      code: 'website_inactive',
      received: 2,
    });
    expect(send('batch', body, { origin: 'https://evil.example' })).toMatchObject({
      code: 'origin_not_allowed',
      received: 2,
    });
    expect(send('batch', body, { origin: 'http://localhost:3000' })).toMatchObject({
      code: 'origin_not_allowed',
    });
    expect(send('batch', { ...body, domain: 'evil.example' }, { origin: '' })).toMatchObject({
      code: 'origin_not_allowed',
    });
    expect(
      send(
        'event',
        { website_id: SITE.id, visitor_id: 'v', page_url: 'https://evil.example/' },
        { origin: '' },
      ),
    ).toMatchObject({
      code: 'origin_not_allowed',
    });
  });

  it.each(['https://example.com', 'https://sub.example.com', 'https://www.shop.example/page', '', 'null'])(
    'but not from %j',
    (origin) => {
      expect(send('batch', batch([PAGEVIEW]), { origin })).toMatchObject({ outcome: 'rows', rowCount: 1 });
    },
  );

  it('but names the other site when the scan was wrong', () => {
    expect(send('batch', batch([PAGEVIEW], { siteId: 'other' }))).toEqual({
      outcome: 'other_site',
      site: 'other',
    });
    const request = { source: 'batch', body: Buffer.from(JSON.stringify(batch([PAGEVIEW]))) } as const;
    const without = {
      ...request,
      site: null,
      address: '',
      userAgent: '',
      origin: '',
      receivedAt: NOW,
      prefetch: false,
    };
    expect(enricher.enrich(without, null, new ByteWriter(8))).toEqual({
      outcome: 'other_site',
      site: SITE.siteId,
    });
  });
});

describe('junk', () => {
  it('loses NULs and lone surrogates, and nothing else', () => {
    const body = `\ufeff{"website_id":"${SITE.siteId}","visitor_id":"a\\u0000b","page":"/x\\ud800","page_title":"\\u0000","properties":{"k\\u0000":"\\udfff","__proto__":{"x":1}}}`;
    const [first] = rowsOf(send('event', body)).decoded;
    expect(first?.row).toMatchObject({ visitor_id: 'ab', page: '/x\ufffd', title: '' });
    expect(first?.row.properties).toBe('{"k":"\ufffd","__proto__":{"x":1}}');
  });

  it('is cut at the limits', () => {
    const long = 'ü'.repeat(100_000);
    const { row } = one({
      visitor_id: long,
      session_id: long,
      page_view_id: long,
      event_type: long,
      page: `/${long}`,
      page_title: long,
      referrer: `https://other.example/${long}`,
      utm_source: long,
      language: long,
      user_agent: long,
    });
    const lengths = [
      row.visitor_id,
      row.session_id,
      row.page_view_id,
      row.event_type,
      row.page,
      row.title,
      row.referrer,
      row.utm_source,
    ];
    expect(lengths.map((text) => text.length)).toEqual([255, 255, 255, 255, 2048, 512, 2048, 255]);
  });

  it('of any kind never throws, and every event is a row or a rejection', () => {
    const text = fc.string({ unit: 'binary', maxLength: 300 });
    const value = fc.oneof(
      text,
      fc.jsonValue({ stringUnit: 'binary' }),
      fc.webUrl(),
      fc.constantFrom('2025-11-23T12:00:00Z', CHROME, '\u0000'),
    );
    const names = Object.keys(PAGEVIEW).concat(
      'id',
      'properties',
      'utm_source',
      'time_on_page',
      'scroll_depth',
      '__proto__',
      'x',
    );
    const event = fc.oneof(
      { weight: 5, arbitrary: fc.dictionary(fc.constantFrom(...names), value, { noNullPrototype: false }) },
      { weight: 1, arbitrary: fc.jsonValue() },
    );
    fc.assert(
      fc.property(
        fc.array(event, { minLength: 1, maxLength: 8 }),
        text,
        text,
        text,
        (events, userAgent, origin, address) => {
          const outcome = send('batch', batch(events), {
            userAgent,
            address,
            origin: origin.includes('.') ? '' : origin,
          });
          if (outcome.outcome !== 'rows') {
            expect(outcome).toMatchObject({ outcome: 'refused', code: 'origin_not_allowed' });
            return;
          }
          const rows = rowsOf(outcome);
          expect(rows.received).toBe(events.length);
          expect(rows.rowCount + rows.rejected).toBe(events.length);
          expect(rows.errors).toHaveLength(Math.min(10, rows.rejected));
          for (const { row } of rows.decoded) {
            expect(Object.values(row).join('')).not.toContain('\0');
            expect(typeof JSON.parse(row.properties)).toBe('object');
          }
        },
      ),
      { seed: 17, numRuns: 500 },
    );
  });

  it('of bytes never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(['refused', 'rows']).toContain(send('batch', bytes).outcome);
      }),
      { seed: 19, numRuns: 500 },
    );
  });
});
