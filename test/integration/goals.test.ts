import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { atTheSameTime } from '../support/at-the-same-time.js';
import { type ConversionsNode, STORES, startConversions } from './conversions-node.js';

const NOW = Date.parse('2026-11-02T12:00:00.000Z');
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe.each(STORES)('goals on %s', (kind) => {
  let node: ConversionsNode;
  beforeAll(async () => {
    node = await startConversions(kind, NOW);
  });
  afterAll(() => node.stop());

  const goalsOf = (id: string) => `/api/v1/user/websites/${id}/goals`;
  const statsOf = (id: string, query = '') => `/api/v1/analytics/goals-stats/${id}${query}`;
  const create = async (id: string, goal: object) => {
    const { status, body } = await node.as('owner', 'POST', goalsOf(id), goal);
    expect([status, body.message]).toEqual([201, 'Goal created successfully']);
    return body.data;
  };

  it('are created with real times, listed newest first and deleted, under either id of the site', async () => {
    const site = await node.createSite();
    expect((await node.as('owner', 'GET', goalsOf(site.id))).body).toEqual({ data: [] });
    const before = Date.now();
    const first = await create(site.siteId, { name: ' Sign up ', type: 'event', identifier: 'signup' });
    expect(first).toEqual({
      id: expect.stringMatching(UUID),
      websiteId: site.id,
      name: 'Sign up',
      type: 'event',
      identifier: 'signup',
      createdAt: first.updatedAt,
      updatedAt: expect.any(String),
    });
    expect(Math.abs(Date.parse(first.createdAt) - before)).toBeLessThan(60_000);
    const second = await create(site.id, { name: 'Buy', type: 'event', identifier: 'buy', selector: '#buy' });
    expect(second.selector).toBe('#buy');
    expect((await node.as('owner', 'GET', goalsOf(site.siteId))).body.data).toEqual([second, first]);
    const paged = await node.as('owner', 'GET', `${goalsOf(site.id)}?limit=1`);
    expect(paged.body).toMatchObject({ data: [second], next_cursor: expect.any(String) });
    const gone = await node.as('owner', 'DELETE', `${goalsOf(site.id)}/${first.id}`);
    expect([gone.status, gone.body]).toEqual([200, { message: 'Goal deleted successfully' }]);
    expect(await node.as('owner', 'DELETE', `${goalsOf(site.id)}/${first.id}`)).toMatchObject({
      status: 404,
      body: { error: 'Goal not found', code: 'not_found' },
    });
    expect(await node.as('owner', 'DELETE', `${goalsOf(site.id)}/7`)).toMatchObject({
      status: 400,
      body: { error: 'Invalid goal ID' },
    });
    expect((await node.as('owner', 'GET', goalsOf(site.id))).body.data).toEqual([second]);
  });

  it.each([
    { type: 'event', identifier: 'x' },
    { name: 'x', type: 'click', identifier: 'x' },
    { name: 'x', type: 'event' },
    { name: ' ', type: 'event', identifier: 'x' },
    { name: 'x', type: 'event', identifier: ' ' },
    { name: 'x'.repeat(256), type: 'event', identifier: 'x' },
    { name: 'x', type: 'event', identifier: 'x', selector: 'x'.repeat(256) },
  ])('are refused: %#', async (goal) => {
    const site = await node.createSite();
    const { status, body } = await node.as('owner', 'POST', goalsOf(site.id), goal);
    expect([status, body.error]).toEqual([400, body.message]);
    expect((await node.as('owner', 'GET', goalsOf(site.id))).body.data).toEqual([]);
  });

  it('are at most 500 a site', async () => {
    const site = await node.createSite();
    await node.sql.query(
      "INSERT INTO goals (website_id, name, type, identifier) SELECT $1, 'g', 'event', 'e' || n FROM generate_series(1, 499) AS n",
      [site.id],
    );
    const goal = { name: 'last', type: 'event', identifier: 'x' };
    const lock = 'SELECT FROM websites WHERE id = $1 FOR UPDATE';
    const answers = await atTheSameTime(node.databaseUrl, lock, site.id, () =>
      [1, 2, 3].map(() => node.as('owner', 'POST', goalsOf(site.id), goal)),
    );
    expect(answers.map(({ status }) => status).sort()[0]).toBe(201);
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.find(({ status }) => status !== 201)?.body.code).toBe('limit_reached');
    expect((await node.as('owner', 'GET', statsOf(site.id))).body.goals).toHaveLength(500);
  });

  it('belong to the team of their site: viewers read, nobody else sees them', async () => {
    const [mine, other] = [await node.createSite(), await node.createSite()];
    const goal = await create(mine.id, { name: 'Mine', type: 'event', identifier: 'x' });
    const added = { name: 'Added', type: 'event', identifier: 'y' };
    for (const path of [goalsOf(mine.id), statsOf(mine.id)]) {
      expect((await node.as('viewer', 'GET', path)).status).toBe(200);
      expect((await node.as('stranger', 'GET', path)).status).toBe(403);
      expect((await node.call('GET', path)).status).toBe(401);
    }
    for (const who of ['viewer', 'stranger'] as const) {
      expect((await node.as(who, 'POST', goalsOf(mine.id), added)).status).toBe(403);
      expect((await node.as(who, 'DELETE', `${goalsOf(mine.id)}/${goal.id}`)).status).toBe(403);
    }
    // A goal of another site, by somebody who may change both.
    expect((await node.as('owner', 'DELETE', `${goalsOf(other.id)}/${goal.id}`)).status).toBe(404);
    expect((await node.as('editor', 'POST', goalsOf(mine.id), added)).status).toBe(201);
    expect((await node.as('owner', 'GET', goalsOf(mine.id))).body.data).toHaveLength(2);
    expect((await node.as('owner', 'GET', goalsOf('0'.repeat(24)))).status).toBe(404);
  });

  it('with a selector are known to the tracker at once', async () => {
    const site = await node.createSite();
    const config = async () => (await node.call('GET', `/api/v1/tracker/config/${site.siteId}`)).body.goals;
    expect(await config()).toEqual([]);
    const goal = await create(site.id, { name: 'Buy', type: 'event', identifier: 'buy', selector: '#buy' });
    expect(await config()).toEqual([{ id: goal.id, name: 'buy', selector: '#buy' }]);
    await node.as('owner', 'DELETE', `${goalsOf(site.id)}/${goal.id}`);
    expect(await config()).toEqual([]);
  });

  it('show their conversions, also none, in the order of the count', async () => {
    const site = await node.createSite();
    const signup = await create(site.id, { name: 'Sign up', type: 'event', identifier: 'signup' });
    const never = await create(site.id, { name: 'Never', type: 'event', identifier: 'never' });
    const docs = await create(site.id, {
      name: 'Docs',
      type: 'pageview',
      identifier: 'https://shop.example/docs/*',
    });
    const thanks = await create(site.id, { name: 'A thanks', type: 'pageview', identifier: '/thanks/' });
    const view = (visitor_id: string, page: string, ago: number, more = {}) => ({
      visitor_id,
      page,
      timestamp: NOW - ago,
      ...more,
    });
    await node.store(site.siteId, [
      view('a', '/docs', HOUR),
      view('a', '/docs/one', HOUR + 1),
      view('b', '/docs/two', 2 * HOUR, { device: 'Mobile' }),
      view('b', '/documents', 2 * HOUR, { device: 'Mobile' }),
      view('c', '/thanks', HOUR),
      view('d', '/Thanks', HOUR),
      view('old', '/thanks', 8 * DAY),
      { visitor_id: 'a', event_type: 'signup', timestamp: NOW - 10, properties: '{"plan":"pro"}' },
      { visitor_id: 'a', event_type: 'signup', timestamp: NOW - 20, properties: '{"plan":"free"}' },
    ]);
    const { status, body } = await node.as('viewer', 'GET', statsOf(site.id));
    expect([status, body.website_id]).toEqual([200, site.id]);
    const row = (
      goal: { id: string; name: string; type: string; identifier: string },
      count: number,
      unique_visitors: number,
      conversion_rate: number,
    ) => ({
      event_type: goal.name,
      count,
      unique_visitors,
      conversion_rate,
      goal_id: goal.id,
      type: goal.type,
      identifier: goal.identifier,
    });
    expect(body.goals).toEqual([
      row(docs, 3, 2, 50),
      { ...row(signup, 2, 1, 25), sample_properties: { plan: 'pro' } },
      row(thanks, 1, 1, 25),
      row(never, 0, 0, 0),
    ]);
    const longer = await node.as('owner', 'GET', statsOf(site.siteId, '?days=30&timezone=Asia/Kolkata'));
    expect(longer.body.goals.find((goal: { goal_id: string }) => goal.goal_id === thanks.id).count).toBe(2);
    const mobile = await node.as('owner', 'GET', statsOf(site.id, '?device=mobile'));
    expect(mobile.body.goals[0]).toEqual(row(docs, 1, 1, 100));
    const day = await node.as('owner', 'GET', statsOf(site.id, '?from=2026-10-25&to=2026-10-26'));
    expect(day.body.goals[0]).toEqual(row(thanks, 1, 1, 100));
    expect((await node.as('owner', 'GET', statsOf(site.id, '?days=x'))).body.code).toBe('invalid_parameter');
  });

  it('convert by wildcards that mean nothing but wildcards', async () => {
    const site = await node.createSite();
    for (const [name, identifier] of [
      ['percent', '/100%*'],
      ['underscore', '/a_b*'],
      ['backslash', '/a\\*'],
      ['middle', '/shop/*/done'],
      ['all', '*'],
      ['stars', '/s**p/*'],
      ['slow', `${'*a'.repeat(100)}*z`],
    ])
      await create(site.id, { name, type: 'pageview', identifier });
    const pages = [
      '/100%25',
      '/100x',
      '/a_b',
      '/axb',
      '/a\\b',
      '/shop/7/done',
      '/shop/done',
      `/${'a'.repeat(2_000)}`,
    ];
    await node.store(
      site.siteId,
      pages.map((page, i) => ({ visitor_id: `v${i}`, page, timestamp: NOW - HOUR })),
    );
    const { body } = await node.as('owner', 'GET', statsOf(site.id));
    expect(
      Object.fromEntries(
        body.goals.map((goal: { event_type: string; count: number }) => [goal.event_type, goal.count]),
      ),
    ).toEqual({
      percent: 1,
      underscore: 1,
      backslash: 1,
      middle: 1,
      all: 8,
      stars: 2,
      slow: 0,
    });
  });

  it('go with their site', async () => {
    const site = await node.createSite();
    await create(site.id, { name: 'Mine', type: 'event', identifier: 'x' });
    await node.as('owner', 'DELETE', `/api/v1/user/websites/${site.id}`);
    expect((await node.sql.query('SELECT FROM goals WHERE website_id = $1', [site.id])).rowCount).toBe(0);
  });
});
