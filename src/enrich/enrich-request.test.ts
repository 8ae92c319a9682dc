import { describe, expect, it } from 'vitest';
import {
  batch,
  enricher,
  NOW,
  PAGEVIEW,
  ready,
  rowsOf,
  SITE,
  send,
} from '../../test/support/enrich-request.js';
import { ByteWriter } from './byte-writer.js';

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

  it('unread when it is large and its head tells enough: not even its JSON is looked at', () => {
    const large = (head: string) => `${head},${' '.repeat(20_000)}`;
    const own = large(`{"x":{"siteId":"other"},"siteId":"${SITE.siteId}"`);
    const code = (body: string, changes: object, site = {}) => {
      const outcome = send('batch', body, changes, ready(site));
      return outcome.outcome === 'refused' ? [outcome.code, outcome.received] : outcome;
    };
    expect(code(own, { origin: 'https://evil.example' })).toEqual(['origin_not_allowed', 1]);
    expect(code(own, {}, { isActive: false })).toEqual(['website_inactive', 1]);
    const points = large(`{"website_id":"${SITE.siteId}"`);
    expect(send('heatmap', points, {}, ready({ heatmapEnabled: false }))).toMatchObject({
      code: 'feature_disabled',
    });
    expect(send('funnel', points, {}, ready({ funnelEnabled: false }))).toMatchObject({
      code: 'feature_disabled',
    });
    // It is read where it may be taken, or where another name or place than the route's own may yet decide.
    expect(code(own, {})).toEqual(['invalid_json', 1]);
    expect(code(own, { origin: '' })).toEqual(['invalid_json', 1]);
    for (const head of [`{"site_id":"${SITE.siteId}"`, `{"events":[{"siteId":"${SITE.siteId}"}]`])
      expect(code(large(head), { origin: 'https://evil.example' })).toEqual(['invalid_json', 1]);
  });

  it('when it lists many times more than a heatmap takes of things that are no points', () => {
    const heat = (points: string) => send('heatmap', `{"website_id":"${SITE.siteId}","points":[${points}0]}`);
    expect(heat('{},'.repeat(200_000))).toMatchObject({ outcome: 'refused', code: 'batch_too_large' });
    const point =
      '{"type":"click","x":1,"y":2,"selector":"a","url":"/a","device_type":"desktop","timestamp":0},';
    expect(heat(point.repeat(6_000))).toMatchObject({ outcome: 'rows', rejected: 1_001 });
    // Commas in texts are no sign of that, nor does an escaped quote end a text.
    const rich = JSON.stringify('a:is(b,"c,d",e\\,f,g,h,i,j,k,l,m,n,o,p,q,r)');
    expect(heat(point.replace('"a"', rich).repeat(4_999))).toMatchObject({ outcome: 'rows', rejected: 1 });
    expect(heat(`${rich},`.repeat(80_000))).toMatchObject({ code: 'batch_too_large' });
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
      optOut: false,
    };
    expect(enricher.enrich(without, null, new ByteWriter(8))).toEqual({
      outcome: 'other_site',
      site: SITE.siteId,
    });
  });
});
