import { Check, Errors } from 'typebox/value';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Stats } from '../../src/edge/routes/funnel-bodies.js';
import { type ConversionsNode, STORES, startConversions } from './conversions-node.js';
import { encodeRowOf, makeFunnelEvent } from './event-rows.js';
import { bodyOf, event, happened, page, type Step } from './funnel-steps.js';

const NOW = Date.parse('2026-11-02T12:00:00.000Z');
const SECOND = 1000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

describe.each(STORES)('funnels on %s count', (kind) => {
  let node: ConversionsNode;
  beforeAll(async () => {
    node = await startConversions(kind, NOW);
  });
  afterAll(() => node.stop());

  const funnelsOf = (id: string) => `/api/v1/websites/${id}/funnels`;
  const create = async (id: string, steps: readonly Step[], name?: string) => {
    const { status, body } = await node.as('owner', 'POST', funnelsOf(id), bodyOf(steps, name));
    expect(status, JSON.stringify(body)).toBe(201);
    return body;
  };
  /** Statistics of a new funnel of a new site in which this happened. */
  const stats = async (
    steps: readonly Step[],
    events: readonly string[],
    query = '',
    beginning = NOW - HOUR,
  ) => {
    const site = await node.createSite();
    const funnel = await create(site.id, steps);
    await node.store(site.siteId, happened(beginning, ...events));
    const { status, body } = await node.as(
      'viewer',
      'GET',
      `${funnelsOf(site.id)}/${funnel.id}/stats${query}`,
    );
    expect(status, JSON.stringify(body)).toBe(200);
    expect(Check(Stats, body), JSON.stringify([...Errors(Stats, body)].slice(0, 2))).toBe(true);
    return body;
  };
  const counts = async (...args: Parameters<typeof stats>): Promise<number[]> =>
    (await stats(...args)).stepBreakdown.map((step: { count: number }) => step.count);

  const cart = [page('/cart'), page('/pay'), event('bought')];

  it('visitors step by step, with rates from the first and the step before, and medians', async () => {
    const body = await stats(cart, [
      ...['a', 'b', 'c', 'd'].map((visitor) => `${visitor}:/cart@0`),
      'a:/pay@10',
      'b:/other@15',
      'b:/pay@20',
      'c:/pay@60',
      'a!bought@15',
      'x:/pay@0',
      'x!bought@1',
      'y!bought@0',
      'y:/pay@1',
      'y:/cart@2',
    ]);
    expect(body).toEqual({
      totalEntries: 5,
      completions: 1,
      conversionRate: 20,
      stepBreakdown: [
        {
          stepOrder: 1,
          stepName: 'Step 1',
          count: 5,
          dropoffCount: 0,
          dropoffRate: 0,
          conversionRate: 100,
          conversionRateFromPrevious: 100,
          medianSecondsFromPrevious: null,
        },
        {
          stepOrder: 2,
          stepName: 'Step 2',
          count: 3,
          dropoffCount: 2,
          dropoffRate: 40,
          conversionRate: 60,
          conversionRateFromPrevious: 60,
          medianSecondsFromPrevious: 20,
        },
        {
          stepOrder: 3,
          stepName: 'Step 3',
          count: 1,
          dropoffCount: 2,
          dropoffRate: 66.67,
          conversionRate: 20,
          conversionRateFromPrevious: 33.33,
          medianSecondsFromPrevious: 5,
        },
      ],
      tracked: { starts: 0, progress: 0, conversions: 0, dropoffs: 0 },
    });
  });

  it.each<[Step, string[], string[]]>([
    [page('/a/'), ['/a'], ['/A', '/ab', '/x/a']],
    [page('https://shop.example/a?x=1'), ['/a'], ['/']],
    [page('og/', 'contains'), ['/blog', '/blog/x'], ['/blogs', '/BLOG']],
    [page('%', 'contains'), ['/50%25'], ['/50']],
    [page('/a_b', 'starts_with'), ['/a_b', '/a_bc'], ['/axb', '/x/a_b']],
    [page('/docs/', 'starts_with'), ['/docs', '/docs/x'], ['/docset']],
    [page('^/p/\\d+$', 'regex'), ['/p/7'], ['/p/7/x', '/p/x']],
    [page('h.p|(?:ä{2}|ö)$', 'regex'), ['/shop', '/ää', '/ö'], ['/so', '/ä', '/öx']],
    [event('pageview'), ['/a'], []],
  ])('pages that match %o', async (step, hits, misses) => {
    const seen = [...hits, ...misses].flatMap((path, i) => [`v${i}!begin@0`, `v${i}:${path}@1`]);
    expect(await counts([event('begin'), step], seen)).toEqual([hits.length + misses.length, hits.length]);
  });

  it('nothing for steps of the original that say nothing', async () => {
    const site = await node.createSite();
    const funnel = await create(site.id, [page('/a'), page('/b')]);
    await node.sql.query('UPDATE funnel_steps SET page_path = NULL WHERE funnel_id = $1 AND step_order = 2', [
      funnel.id,
    ]);
    await node.store(site.siteId, happened(NOW - HOUR, 'a:/a@0', 'a:/b@1'));
    const one = await node.as('owner', 'GET', `${funnelsOf(site.id)}/${funnel.id}`);
    expect(one.body.stats.stepBreakdown).toMatchObject([{ count: 1 }, { count: 0 }]);
    await node.sql.query('DELETE FROM funnel_steps WHERE funnel_id = $1', [funnel.id]);
    const none = await node.as('owner', 'GET', funnelsOf(site.id));
    expect(none.body.funnels[0].stats).toMatchObject({ totalEntries: 0, stepBreakdown: [] });
  });

  it('who comes within the window, which is a week, to the millisecond', async () => {
    const events = ['a:/cart@0', `a:/pay@${7 * 86_400}`, 'b:/cart@0', `b:/pay@${7 * 86_400 + 1}`];
    const two = cart.slice(0, 2);
    expect(await counts(two, events, '', NOW - 10 * DAY)).toEqual([2, 1]);
    expect(await counts(two, events, '?window_hours=169', NOW - 10 * DAY)).toEqual([2, 2]);
    expect(
      await counts(
        two,
        ['a:/cart@0', 'a:/pay@3600', 'b:/cart@0', 'b:/pay@3601'],
        '?window_hours=1',
        NOW - 2 * HOUR,
      ),
    ).toEqual([2, 1]);
  });

  it('the whole way from one start, any of them', async () => {
    const [first, second, third] = ['a:/cart@0', 'a:/pay@3000', 'a!bought@4000'];
    expect(await counts(cart, [first, second, third], '?window_hours=1', NOW - 2 * HOUR)).toEqual([1, 1, 0]);
    // A later start before the second step is in time.
    expect(
      await counts(cart, [first, 'a:/cart@1000', second, third], '?window_hours=1', NOW - 2 * HOUR),
    ).toEqual([1, 1, 1]);
    // One between the steps is not on the way.
    expect(
      await counts(cart, [first, second, 'a:/cart@3500', third], '?window_hours=1', NOW - 2 * HOUR),
    ).toEqual([1, 1, 0]);
  });

  it('starts in the period, and steps also after it, never before', async () => {
    const beginning = Date.parse('2026-10-10T00:00:00Z');
    const events = [
      'a:/cart@-1',
      'a:/pay@10',
      'b:/cart@0',
      'b:/pay@90000',
      'c:/pay@1',
      'c:/cart@2',
      'd:/cart@86400',
      'd:/pay@86401',
    ];
    const two = cart.slice(0, 2);
    expect(await counts(two, events, '?from=2026-10-10&to=2026-10-10', beginning)).toEqual([2, 1]);
    expect(await counts(two, events, '?from=2026-10-09&to=2026-10-10&timezone=UTC', beginning)).toEqual([
      3, 2,
    ]);
    expect(
      await counts(two, events, '?from=2026-10-10&to=2026-10-10&timezone=Asia/Tokyo', beginning),
    ).toEqual([3, 2]);
    // The last thirty days, when nothing is said.
    expect(await counts(two, ['a:/cart@0'], '', NOW - 29 * DAY)).toEqual([1, 0]);
    expect(await counts(two, ['a:/cart@0'], '', NOW - 31 * DAY)).toEqual([0, 0]);
    expect(await counts(two, ['a:/cart@0'], '?days=40', NOW - 31 * DAY)).toEqual([1, 0]);
  });

  it('one event for one step only', async () => {
    const twice = [page('/a'), page('/a'), page('/', 'starts_with')];
    expect(await counts(twice, ['a:/a@0', 'b:/a@0', 'b:/a@1', 'c:/a@0', 'c:/a@1', 'c:/x@2'])).toEqual([
      3, 2, 1,
    ]);
    expect(await counts(twice, ['a:/a@0', 'b:/a@0', 'b:/a@0'], '?order=unordered')).toEqual([2, 1, 0]);
  });

  it('what happens in the same millisecond in the order of the steps', async () => {
    expect(await counts(cart, ['a!bought@0', 'a:/pay@0', 'a:/cart@0'])).toEqual([1, 1, 1]);
  });

  it('strictly only what follows at once', async () => {
    const events = [
      'a:/cart@0',
      'a:/pay@1',
      'a!bought@2',
      'b:/cart@0',
      'b:/x@1',
      'b:/pay@2',
      'c:/cart@0',
      'c!click@1',
      'c:/pay@2',
      'd:/cart@0',
      'd!scroll_depth@1',
      'd:/cart@2',
      'd:/pay@3',
    ];
    expect(await counts(cart, events, '?order=strict')).toEqual([4, 2, 1]);
    expect(await counts(cart, events)).toEqual([4, 4, 1]);
  });

  it('in any order when asked so', async () => {
    const events = [
      'a!bought@0',
      'a:/cart@1',
      'a:/pay@2',
      'b:/pay@0',
      'b!bought@3601',
      'b:/cart@3602',
      'c:/cart@0',
      'c:/cart@1',
      'd:/x@0',
    ];
    const body = await stats(cart, events, '?order=unordered&window_hours=1', NOW - 2 * HOUR);
    expect(body.stepBreakdown.map((step: { count: number }) => step.count)).toEqual([3, 2, 1]);
    expect(body.stepBreakdown[1].medianSecondsFromPrevious).toBe(null);
    // An event serves the most specific step.
    const nested = [page('/shop', 'starts_with'), page('/shop/cart')];
    expect(
      await counts(nested, ['a:/shop/cart@0', 'a:/shop/x@1', 'b:/shop/cart@0'], '?order=unordered'),
    ).toEqual([2, 1]);
  });

  it('across sessions, under filters and apart by the session of the first step', async () => {
    const site = await node.createSite();
    const funnel = await create(site.id, cart.slice(0, 2));
    const at = NOW - HOUR;
    const session = (visitor_id: string, name: string, from: object) => (path: string, seconds: number) => ({
      visitor_id,
      session_id: `${visitor_id}-${name}`,
      page: path,
      timestamp: at + seconds * SECOND,
      ...from,
    });
    const mobile = { device: 'Mobile', country_code: 'DE', channel: 'Direct' };
    const desktop = { device: 'Desktop', country_code: 'US', channel: 'Organic Search' };
    const unknown = { device: '', country_code: '', channel: 'Email' };
    const [a1, a2] = [session('a', '1', mobile), session('a', '2', desktop)];
    const [b1, c1, d1] = [session('b', '1', desktop), session('c', '1', unknown), session('d', '1', mobile)];
    await node.store(site.siteId, [
      a1('/cart', 0),
      a2('/pay', 10),
      a2('/cart', 20),
      b1('/cart', 0),
      c1('/cart', 0),
      c1('/pay', 1),
      d1('/pay', 0),
    ]);
    const of = async (query: string) =>
      (await node.as('owner', 'GET', `${funnelsOf(site.id)}/${funnel.id}/stats${query}`)).body;
    const figures = (row: { totalEntries: number; completions: number; conversionRate: number }) => [
      row.totalEntries,
      row.completions,
      row.conversionRate,
    ];
    const rows = async (query: string) =>
      (await of(query)).breakdown.map(
        (row: {
          value: string;
          code?: string;
          totalEntries: number;
          completions: number;
          conversionRate: number;
        }) => [row.value, row.code, ...figures(row)],
      );
    expect(figures(await of(''))).toEqual([3, 2, 66.67]);
    expect(figures(await of('?device=mobile'))).toEqual([1, 1, 100]);
    expect(figures(await of('?device=desktop'))).toEqual([2, 0, 0]);
    expect(figures(await of('?country=Germany&source=direct'))).toEqual([1, 1, 100]);
    expect(figures(await of('?page_path=/pay'))).toEqual([2, 1, 50]);
    expect(await rows('?breakdown=device')).toEqual([
      ['Desktop', undefined, 2, 0, 0],
      ['Mobile', undefined, 1, 1, 100],
      ['Unknown', undefined, 1, 1, 100],
    ]);
    expect(await rows('?breakdown=country')).toEqual([
      ['United States', 'US', 2, 0, 0],
      ['Germany', 'DE', 1, 1, 100],
      ['Unknown', undefined, 1, 1, 100],
    ]);
    expect(await rows('?breakdown=source')).toEqual([
      ['Organic Search', undefined, 2, 0, 0],
      ['Direct', undefined, 1, 1, 100],
      ['Email', undefined, 1, 1, 100],
    ]);
    expect(await rows('?breakdown=source&device=mobile&limit=1')).toEqual([['Direct', undefined, 1, 1, 100]]);
    expect(Check(Stats, await of('?breakdown=country'))).toBe(true);
  });

  it.each([
    '?days=0',
    '?window_hours=0',
    '?window_hours=99999',
    '?window_hours=1.5',
    '?order=random',
    '?breakdown=browser',
    '?timezone=x',
    '?from=2026-01-01',
  ])('nothing for %s', async (query) => {
    const site = await node.createSite();
    const funnel = await create(site.id, cart);
    for (const path of [
      `${funnelsOf(site.id)}/${funnel.id}/stats`,
      `${funnelsOf(site.id)}/${funnel.id}`,
      funnelsOf(site.id),
    ])
      expect((await node.as('owner', 'GET', path + query)).body.code).toBe('invalid_parameter');
  });

  it('what trackers reported of this funnel in the period', async () => {
    const site = await node.createSite();
    const funnel = await create(site.id, cart);
    const report = (event_type: string, i: number, more: object = {}) =>
      encodeRowOf(
        'funnel_events',
        makeFunnelEvent({
          event_id: `${kind.length}${i}`.padStart(32, '0'),
          site_id: site.siteId,
          funnel_id: funnel.id,
          event_type,
          timestamp: NOW - HOUR,
          ...more,
        }),
      );
    await node.events.insertRows(
      'funnel_events',
      [
        report('start', 1),
        report('start', 2),
        report('progress', 3),
        report('conversion', 4),
        report('dropoff', 5),
        report('start', 6, { timestamp: NOW - 40 * DAY }),
        report('start', 7, { funnel_id: 'unknown' }),
      ],
      `tracked ${site.siteId}`,
      Date.now() + 60_000,
    );
    const tracked = { starts: 2, progress: 1, conversions: 1, dropoffs: 1 };
    expect((await node.as('owner', 'GET', `${funnelsOf(site.id)}/${funnel.id}/stats`)).body.tracked).toEqual(
      tracked,
    );
    expect((await node.as('owner', 'GET', funnelsOf(site.id))).body.funnels[0].stats.tracked).toEqual(
      tracked,
    );
  });
});
