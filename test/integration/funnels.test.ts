import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ConversionsNode, STORES, startConversions } from './conversions-node.js';
import { encodeRowOf, makeFunnelEvent } from './event-rows.js';
import { bodyOf, event, page, type Step } from './funnel-steps.js';

const NOW = Date.parse('2026-11-02T12:00:00.000Z');
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

describe.each(STORES)('funnels on %s', (kind) => {
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
  it('are made, changed, listed and deleted in the shape of the contract', async () => {
    const site = await node.createSite();
    expect((await node.as('owner', 'GET', funnelsOf(site.id))).body).toEqual({ funnels: [], total: 0 });
    const steps = [event('buy'), page('/cart', 'starts_with')].map((step, i) => ({
      ...step,
      order: 2 - i,
      id: 'mine',
    }));
    const first = await create(site.siteId, steps);
    expect(first).toEqual({
      id: expect.stringMatching(UUID),
      websiteId: site.siteId,
      userId: node.userId('owner'),
      name: 'Checkout',
      description: 'How they buy',
      isActive: true,
      createdAt: first.updatedAt,
      updatedAt: expect.any(String),
      steps: [
        {
          id: expect.stringMatching(UUID),
          funnelId: first.id,
          name: 'Step 2',
          order: 1,
          stepType: 'page_view',
          pagePath: '/cart',
          matchType: 'starts_with',
        },
        {
          id: expect.stringMatching(UUID),
          funnelId: first.id,
          name: 'Step 1',
          order: 2,
          stepType: 'event',
          eventType: 'buy',
          matchType: 'exact',
        },
      ],
    });
    const second = await create(site.id, [page('/'), page('/x')], 'Second');
    const zeros = {
      totalEntries: 0,
      completions: 0,
      conversionRate: 0,
      tracked: { starts: 0, progress: 0, conversions: 0, dropoffs: 0 },
    };
    const list = await node.as('viewer', 'GET', funnelsOf(site.siteId));
    expect(list.body).toMatchObject({
      total: 2,
      funnels: [
        { ...second, stats: zeros },
        { ...first, stats: zeros },
      ],
    });
    const paged = await node.as('viewer', 'GET', `${funnelsOf(site.siteId)}?limit=1`);
    expect(paged.body).toMatchObject({
      total: 2,
      funnels: [{ id: second.id }],
      next_cursor: expect.any(String),
    });
    const one = `${funnelsOf(site.id)}/${first.id}`;
    expect((await node.as('viewer', 'GET', one)).body).toMatchObject({ ...first, stats: zeros });
    const changed = await node.as('editor', 'PUT', one, {
      name: ' New ',
      isActive: false,
      description: null,
    });
    expect(changed.body).toMatchObject({
      id: first.id,
      name: 'New',
      isActive: false,
      description: 'How they buy',
      steps: first.steps,
    });
    expect(changed.body.stats).toBeUndefined();
    expect(changed.body.updatedAt > first.updatedAt).toBe(true);
    const replaced = await node.as('owner', 'PUT', one, {
      steps: bodyOf([page('/a'), page('/b'), page('/c')]).steps,
    });
    expect(replaced.body.steps.map((step: Step) => step.pagePath)).toEqual(['/a', '/b', '/c']);
    const gone = await node.as('owner', 'DELETE', one);
    expect([gone.status, gone.body]).toEqual([204, null]);
    for (const method of ['GET', 'PUT', 'DELETE'])
      expect(await node.as('owner', method, one, method === 'PUT' ? {} : undefined)).toMatchObject({
        status: 404,
        body: { error: 'Funnel not found', code: 'not_found' },
      });
    expect((await node.as('owner', 'GET', `${funnelsOf(site.id)}/no-uuid`)).status).toBe(404);
    expect((await node.sql.query('SELECT FROM funnel_steps WHERE funnel_id = $1', [first.id])).rowCount).toBe(
      0,
    );
  });

  it.each([
    ['one step', [page('/')]],
    ['too many steps', Array.from({ length: 21 }, () => page('/'))],
    ['an unknown step type', [page('/'), { stepType: 'click', pagePath: '/' }]],
    ['an unknown match type', [page('/'), page('/x', 'like')]],
    ['a page step without page', [page('/'), page(' ')]],
    ['an event step without event', [page('/'), { stepType: 'event', pagePath: '/' }]],
    ['a pattern that is none', [page('/'), page('(', 'regex')]],
    ['a pattern that may run for ever', [page('/'), page('(?=a)', 'regex')]],
    ['equal orders', [{ ...page('/'), order: 2 }, page('/x')]],
    ['a nameless step', [page('/'), { ...page('/x'), name: ' ' }]],
    ['a path that is too long', [page('/'), page(`/${'x'.repeat(500)}`)]],
  ])('are refused with %s', async (_, steps) => {
    const site = await node.createSite();
    const { status, body } = await node.as('owner', 'POST', funnelsOf(site.id), bodyOf(steps));
    expect([status, body.error]).toEqual([400, body.message]);
    const funnel = await create(site.id, [page('/'), page('/x')]);
    const change = await node.as('owner', 'PUT', `${funnelsOf(site.id)}/${funnel.id}`, {
      name: 'New',
      steps: bodyOf(steps).steps,
    });
    expect(change.status).toBe(400);
    expect((await node.as('owner', 'GET', `${funnelsOf(site.id)}/${funnel.id}`)).body).toMatchObject({
      name: 'Checkout',
      steps: funnel.steps,
    });
  });

  it('understand the spellings of the tracker', async () => {
    const site = await node.createSite();
    const { steps } = await create(site.id, [
      { stepType: 'pageview', pagePath: '/a', matchType: 'startswith' },
      { stepType: 'page_view', pagePath: '/b', matchType: '' },
    ]);
    expect(steps.map(({ stepType, matchType }: Step) => [stepType, matchType])).toEqual([
      ['page_view', 'starts_with'],
      ['page_view', 'exact'],
    ]);
  });

  it('are at most 200 a site', async () => {
    const site = await node.createSite();
    await node.sql.query(
      "INSERT INTO funnels (website_id, user_id, name) SELECT $1, 'u', 'f' || n FROM generate_series(1, 199) AS n",
      [site.siteId],
    );
    const body = bodyOf([page('/'), page('/x')]);
    const answers = await Promise.all(
      [1, 2, 3].map(() => node.as('owner', 'POST', funnelsOf(site.id), body)),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.find(({ status }) => status !== 201)?.body.code).toBe('limit_reached');
  });

  it('belong to their site: viewers read, strangers nothing, other sites do not know them', async () => {
    const [mine, other] = [await node.createSite(), await node.createSite()];
    const funnel = await create(mine.id, [page('/'), page('/x')]);
    const body = bodyOf([page('/'), page('/x')]);
    const one = `${funnelsOf(mine.id)}/${funnel.id}`;
    for (const path of [funnelsOf(mine.id), one, `${one}/stats`]) {
      expect((await node.as('viewer', 'GET', path)).status).toBe(200);
      expect((await node.as('stranger', 'GET', path)).status).toBe(403);
      expect((await node.call('GET', path)).status).toBe(401);
    }
    for (const who of ['viewer', 'stranger'] as const) {
      expect((await node.as(who, 'POST', funnelsOf(mine.id), body)).status).toBe(403);
      expect((await node.as(who, 'PUT', one, { name: 'Taken' })).status).toBe(403);
      expect((await node.as(who, 'DELETE', one)).status).toBe(403);
    }
    const elsewhere = `${funnelsOf(other.id)}/${funnel.id}`;
    expect((await node.as('owner', 'GET', elsewhere)).status).toBe(404);
    expect((await node.as('owner', 'GET', `${elsewhere}/stats`)).status).toBe(404);
    expect((await node.as('owner', 'PUT', elsewhere, { name: 'Taken' })).status).toBe(404);
    expect((await node.as('owner', 'DELETE', elsewhere)).status).toBe(404);
    expect((await node.as('owner', 'GET', one)).body.name).toBe('Checkout');
  });

  it('are known to the tracker at once, as far as they are active', async () => {
    const site = await node.createSite();
    const active = async () => {
      const { body } = await node.call('GET', `/api/v1/funnels/active?website_id=${site.siteId}`);
      return body.funnels.map((funnel: { name: string }) => funnel.name);
    };
    expect(await active()).toEqual([]);
    const funnel = await create(site.id, [page('/'), page('/x')]);
    const one = `${funnelsOf(site.id)}/${funnel.id}`;
    expect(await active()).toEqual(['Checkout']);
    await node.as('owner', 'PUT', one, { name: 'Renamed' });
    expect(await active()).toEqual(['Renamed']);
    await node.as('owner', 'PUT', one, { isActive: false });
    expect(await active()).toEqual([]);
    await node.as('owner', 'PUT', one, { isActive: true });
    expect(await active()).toEqual(['Renamed']);
    await node.as('owner', 'DELETE', one);
    expect(await active()).toEqual([]);
  });

  it('go with their site, and what was reported of them', async () => {
    const site = await node.createSite();
    const funnel = await create(site.id, [page('/'), page('/x')]);
    const reported = makeFunnelEvent({ site_id: site.siteId, funnel_id: funnel.id });
    await node.events.insertRows(
      'funnel_events',
      [encodeRowOf('funnel_events', reported)],
      site.siteId,
      Date.now() + 60_000,
    );
    const candidate = [
      { table: 'funnel_events', siteId: site.siteId, ids: [Buffer.from(reported.event_id, 'hex')] },
    ] as const;
    expect((await node.events.existingIds(candidate)).size).toBe(1);
    await node.as('owner', 'DELETE', `/api/v1/user/websites/${site.id}`);
    for (const [table, column, value] of [
      ['funnels', 'website_id', site.siteId],
      ['funnel_steps', 'funnel_id', funnel.id],
    ])
      expect((await node.sql.query(`SELECT FROM ${table} WHERE ${column} = $1`, [value])).rowCount).toBe(0);
    expect((await node.events.existingIds(candidate)).size).toBe(0);
  });

  it('go with their site also when they were made while it went', async () => {
    const site = await node.createSite();
    await node.as('owner', 'DELETE', `/api/v1/user/websites/${site.id}`);
    const late = "INSERT INTO funnels (website_id, user_id, name) VALUES ($1, 'u', 'late')";
    await node.sql.query(late, [site.siteId]);
    await node.metadata.websites.markPurged(site.siteId);
    const left = await node.sql.query('SELECT FROM funnels WHERE website_id = $1', [site.siteId]);
    expect(left.rowCount).toBe(0);
  });
});
