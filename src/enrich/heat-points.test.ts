import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHROME, NOW, ready, SITE } from '../../test/support/enrich-request.js';
import { writtenRows } from '../../test/support/written-rows.js';
import { MAX_POINTS, writeHeatPoints } from './heat-points.js';
import type { RecordContext } from './record-kind.js';

const SECONDS = NOW / 1000;
const CLICK = {
  type: 'click',
  x: 500,
  y: 250,
  selector: 'a#buy',
  url: '/pricing',
  device_type: 'desktop',
  timestamp: SECONDS,
};

function write(points: readonly unknown[], changes: Partial<RecordContext> = {}) {
  const how = { write: writeHeatPoints, table: 'heat_points', source: 'heatmap' } as const;
  const outcome = writtenRows(how, points, changes);
  return { ...outcome, ids: outcome.decoded.map((row) => row.event_id) };
}

const only = (point: object, changes: Partial<RecordContext> = {}) => {
  const { decoded, errors } = write([{ ...CLICK, ...point }], changes);
  const [row] = decoded;
  if (row === undefined) throw new Error(JSON.stringify(errors));
  return row;
};
const codeOf = (point: unknown, changes: Partial<RecordContext> = {}) => {
  const { rowCount, rejected, errors } = write([point], changes);
  expect([rowCount, rejected]).toEqual([0, 1]);
  return errors[0]?.code;
};

describe('a heat point', () => {
  it('becomes a row of its cell', () => {
    expect(only({ x: 499.6, y: 250.4 })).toEqual({
      event_id: expect.stringMatching(/^[0-9a-f]{32}$/),
      timestamp: NOW,
      received_at: NOW + 500,
      site_id: SITE.siteId,
      page: '/pricing',
      point_type: 'click',
      device: 'desktop',
      x: 500,
      y: 250,
      selector: 'a#buy',
      count: 1,
      lookup: false,
    });
  });

  it.each([
    [{ x: 1, x_percent: 700 }, { x: 700 }],
    [
      { x: 1, x_percent: 0, y: 2, y_percent: null },
      { x: 1, y: 2 },
    ],
    [
      { x: undefined, y: undefined },
      { x: 0, y: 0 },
    ],
    [
      { x: -120.5, y: '999.5' },
      { x: -120, y: 1000 },
    ],
    [
      { x: 1e9, y: -1e9 },
      { x: 32_767, y: -32_768 },
    ],
    [{ device_type: '' }, { device: 'desktop' }],
    [{ device_type: null }, { device: 'desktop' }],
    [{ device_type: 'Mobile' }, { device: 'mobile' }],
    [{ url: '/Pricing/?a=1#b' }, { page: '/Pricing' }],
    [{ url: 'https://www.example.com/a/' }, { page: '/a' }],
    [{ url: '/' }, { page: '/' }],
    [{ selector: null }, { selector: '' }],
    [{ selector: { a: 1 } }, { selector: '' }],
    [{ timestamp: NOW - 1 }, { timestamp: NOW - 1, lookup: false }],
    [{ timestamp: new Date(NOW - 7).toISOString() }, { timestamp: NOW - 7 }],
    [{ timestamp: SECONDS + 3600 }, { timestamp: NOW + 500, lookup: true }],
    [{ timestamp: null }, { timestamp: NOW + 500, lookup: false }],
    [{ intensity: 7 }, { count: 1 }],
  ])('with %j is stored with %j', (given, stored) => {
    expect(only(given)).toMatchObject(stored);
  });

  it('with a long path keeps the beginning of it', () => {
    expect(only({ url: `/${'x'.repeat(5000)}` }).page).toBe(`/${'x'.repeat(2047)}`);
  });

  it('with a long selector keeps the end of it, at a step', () => {
    const steps = Array.from({ length: 100 }, (_, i) => `div:nth-of-type(${i})`).join(' > ');
    const { selector } = only({ selector: `html > ${steps} > a#buy` });
    expect(selector.length).toBeLessThanOrEqual(1024);
    expect(selector.length).toBeGreaterThan(980);
    expect(selector).toMatch(/^div:nth-of-type\(\d+\) > .* > a#buy$/);
    expect(only({ selector: 'x'.repeat(100_000) }).selector).toBe('x'.repeat(1024));
    expect(only({ selector: `${'\u{1f600}'.repeat(1000)}x` }).selector).not.toContain('\ufffd');
  });

  it.each([
    [7, 'not_an_object'],
    [[CLICK], 'not_an_object'],
    [{ ...CLICK, type: 'hover' }, 'invalid_value'],
    [{ ...CLICK, type: undefined }, 'invalid_value'],
    [{ ...CLICK, device_type: 'fridge' }, 'invalid_value'],
    [{ ...CLICK, x: 'left' }, 'invalid_value'],
    [{ ...CLICK, y: {} }, 'invalid_value'],
    [{ ...CLICK, x: true }, 'invalid_value'],
    [{ ...CLICK, url: ' ' }, 'missing_field'],
    [{ ...CLICK, url: 7 }, 'missing_field'],
    [{ ...CLICK, timestamp: 'yesterday' }, 'invalid_timestamp'],
    [{ ...CLICK, timestamp: SECONDS - 31 * 86_400 }, 'stale'],
  ])('like %j is refused as %s', (point, code) => {
    expect(codeOf(point)).toBe(code);
  });

  it('is refused where the patterns of the site leave its page out', () => {
    const site = ready({ heatmapInclude: '/shop/*\n/pricing', heatmapExclude: '*checkout*' });
    expect(only({}, { site }).page).toBe('/pricing');
    expect(codeOf({ ...CLICK, url: '/blog' }, { site })).toBe('excluded_page');
    expect(codeOf({ ...CLICK, url: '/shop/checkout' }, { site })).toBe('excluded_page');
  });
});

describe('the points of a request', () => {
  it('are refused one by one', () => {
    const points = [CLICK, { type: 'x'.repeat(30) }, null, { ...CLICK, x: 1 }];
    const { decoded, received, rejected, errors } = write(points);
    expect(decoded.map(({ x }) => x)).toEqual([500, 1]);
    expect([received, rejected, errors.map(({ index }) => index)]).toEqual([4, 2, [1, 2]]);
  });

  it('become one row when they are equal, and none otherwise', () => {
    const same = [CLICK, { ...CLICK, x: 500.4 }, { ...CLICK, url: '/pricing/' }];
    const others = [
      { x: 501 },
      { y: 251 },
      { type: 'move' },
      { device_type: 'mobile' },
      { selector: 'b' },
      { url: '/' },
      { timestamp: SECONDS - 1 },
    ].map((change) => ({ ...CLICK, ...change }));
    const { decoded, received, rowCount, ids } = write([...same, ...others]);
    expect(decoded.map(({ count }) => count)).toEqual([3, 1, 1, 1, 1, 1, 1, 1]);
    expect([received, rowCount, new Set(ids).size]).toEqual([8, 8, 8]);
  });

  it(`are ${MAX_POINTS} at most`, () => {
    const points = Array.from({ length: MAX_POINTS + 3 }, (_, i) => ({ ...CLICK, x: i }));
    const { rowCount, rejected, errors } = write(points);
    expect([rowCount, rejected]).toEqual([MAX_POINTS, 3]);
    expect(errors.map(({ index, code }) => [index, code])).toEqual(
      [0, 1, 2].map((i) => [MAX_POINTS + i, 'batch_too_large']),
    );
  });

  it('of crawlers are refused, those of server-side senders are not', () => {
    const crawler = { userAgent: `${CHROME} HeadlessChrome/124` };
    expect(write([CLICK, CLICK], crawler)).toMatchObject({
      rowCount: 0,
      received: 2,
      rejected: 2,
      errors: [{ code: 'bot_agent' }],
    });
    expect(write([], crawler)).toMatchObject({ received: 0, errors: [] });
    expect(write([CLICK], { userAgent: 'node' }).rowCount).toBe(1);
  });

  it('that are none are nothing', () => {
    expect(write([])).toMatchObject({ received: 0, rejected: 0, rowCount: 0, errors: [] });
  });
});

describe('the id of a point', () => {
  const id = (point: object = {}, changes: Partial<RecordContext> = {}) => only(point, changes).event_id;

  it('is the same when the request comes again, later and in another thread', () => {
    expect(id({}, { receivedAt: NOW + 60_000 })).toBe(id());
    expect(write([CLICK, { ...CLICK, x: 1 }]).ids).toEqual(write([CLICK, { ...CLICK, x: 1 }]).ids);
  });

  it('differs for another visitor, site, time or number', () => {
    const ids = [
      id(),
      id({}, { address: '81.2.69.143' }),
      id({}, { userAgent: `${CHROME} Edg/124` }),
      id({}, { site: ready({ siteId: 'f'.repeat(24) }) }),
      id({ timestamp: SECONDS + 1 }),
      ...write([CLICK, CLICK]).ids,
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('of points without a time always differs', () => {
    expect(id({ timestamp: null })).not.toBe(id({ timestamp: null }));
  });
});

it('junk never throws, and every point is in a row or rejected', () => {
  const value = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.jsonValue(),
    fc.double(),
    fc.constantFrom('click', 'scroll', 'mobile', '/a', SECONDS, SECONDS * 1000, -1),
  );
  const names = [...Object.keys(CLICK), 'x_percent', 'y_percent', '__proto__', 'intensity'];
  const junk = fc.dictionary(fc.constantFrom(...names), value, { noNullPrototype: false });
  const point = fc.oneof(
    junk,
    junk.map((changes) => ({ ...CLICK, ...changes })),
    fc.jsonValue(),
    fc.constant(CLICK),
  );
  let stored = 0;
  fc.assert(
    fc.property(fc.array(point, { maxLength: 8 }), fc.string(), fc.string(), (points, address, userAgent) => {
      const { decoded, rejected, received, rowCount, errors } = write(points, { address, userAgent });
      const counted = decoded.reduce((sum, { count }) => sum + count, 0);
      expect(counted + rejected).toBe(points.length);
      expect(received).toBe(rowCount + rejected);
      if (rejected < points.length) expect(errors).toHaveLength(rejected);
      for (const row of decoded) {
        expect(row.page).toMatch(/^\//);
        expect(row.timestamp).toBeLessThanOrEqual(NOW + 60_500);
        expect(row.selector.length).toBeLessThanOrEqual(1024);
      }
      stored += counted;
    }),
    { seed: 23, numRuns: 1_000 },
  );
  expect(stored).toBeGreaterThan(500);
});
