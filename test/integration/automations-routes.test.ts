import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshPostgres } from '../support/fresh.js';
import { signUp } from './accounts-node.js';
import { type AutomationNode, startAutomationNode } from './automations-node.js';

let database: Awaited<ReturnType<typeof freshPostgres>>;
let node: AutomationNode;
const tokens: Record<string, string> = {};
let site: { id: string; site_id: string };

const SECRET_MARKS = [
  'hook.secret.example',
  'Bearer-hunter2',
  'boss@secret.example',
  'graph-marker',
  'whsec_',
];
const PAYMENT = {
  name: 'Payment',
  description: 'Tell the shop',
  triggerType: 'customEvent',
  triggerConfig: {
    event_name: 'paid',
    frequency: 'always',
    __graph: { nodes: [{ id: 'graph-marker' }], edges: [] },
  },
  actions: [
    {
      actionType: 'webhook',
      actionConfig: {
        url: 'https://hook.secret.example/x',
        headers: { Authorization: 'Bearer-hunter2' },
        actionType: 'webhook',
      },
    },
    { actionType: 'email', actionConfig: { recipient: 'boss@secret.example', subject: 'Hi', body: 'x' } },
  ],
  conditions: [
    { conditionType: 'device', conditionConfig: { device_type: 'desktop', conditionType: 'device' } },
  ],
};

const call = (who: string, method: string, path: string, body?: unknown) =>
  node.call(method, path, {
    ...(tokens[who] === undefined ? {} : { token: tokens[who] }),
    ...(body === undefined ? {} : { body }),
  });
const base = () => `/api/v1/websites/${site.id}/automations`;
const create = async (changes: object = {}) =>
  (await call('owner', 'POST', base(), { ...PAYMENT, ...changes })).body;
const payload = async () => (await node.call('GET', `/api/v1/workflows/site/${site.id}/active`)).body;

beforeAll(async () => {
  database = await freshPostgres();
  node = await startAutomationNode({ databaseUrl: database.url });
  for (const name of ['first', 'owner', 'viewer', 'stranger'])
    tokens[name] = (await signUp(node, `${name}@x.example`)).token;
  site = (await call('owner', 'POST', '/api/v1/user/websites', { name: 'Shop', url: 'https://shop.example' }))
    .body.data;
  await call('owner', 'POST', `/api/v1/user/websites/${site.id}/members`, {
    email: 'viewer@x.example',
    role: 'viewer',
  });
});
afterAll(async () => {
  await node?.stop();
  await database?.drop();
});

describe('automations of a website', () => {
  it('are kept as the builder sends them and answered in its shape', async () => {
    const { status, body } = await call('owner', 'POST', base(), PAYMENT);
    expect(status).toBe(201);
    expect(body).toMatchObject({ ...PAYMENT, websiteId: site.site_id, isActive: true, warnings: [] });
    expect(body.actions.map(({ orderIndex }: { orderIndex: number }) => orderIndex)).toEqual([0, 1]);
    expect(body.actions[0].automationId).toBe(body.id);
    expect(Math.abs(Date.parse(body.createdAt) - Date.now())).toBeLessThan(60_000);
    expect('stats' in body).toBe(false);
    const got = (await call('owner', 'GET', `${base()}/${body.id}`)).body;
    const zeros = { totalExecutions: 0, successCount: 0, failureCount: 0, successRate: 0, last30Days: 0 };
    expect(got).toEqual({ ...body, stats: zeros });
    expect((await call('owner', 'GET', `${base()}/${body.id}/stats`)).body).toEqual(zeros);
    const list = (await call('owner', 'GET', base().replace(site.id, site.site_id))).body;
    expect(list.total).toBe(list.automations.length);
    expect(list.automations[0]).toEqual(got);
  });

  it('change in what is sent and nothing else', async () => {
    const { id, webhookSecret, createdAt } = await create();
    const put = (body: object) => call('owner', 'PUT', `${base()}/${id}`, body);
    const renamed = (await put({ name: 'Other', conditions: [] })).body;
    expect(renamed).toMatchObject({
      name: 'Other',
      description: PAYMENT.description,
      conditions: [],
      createdAt,
    });
    expect(renamed.actions).toHaveLength(2);
    expect(Date.parse(renamed.updatedAt)).toBeGreaterThan(Date.parse(createdAt));
    expect((await put({ isActive: false })).body.isActive).toBe(false);
    expect((await call('owner', 'POST', `${base()}/${id}/toggle`)).body).toMatchObject({ isActive: true });
    const rotated = (await call('owner', 'POST', `${base()}/${id}/rotate-secret`)).body.webhookSecret;
    expect(rotated).toMatch(/^whsec_[0-9a-f]{64}$/);
    expect(rotated).not.toBe(webhookSecret);
    expect((await call('owner', 'DELETE', `${base()}/${id}`)).status).toBe(204);
    for (const [method, path] of [
      ['GET', ''],
      ['PUT', ''],
      ['DELETE', ''],
      ['POST', '/toggle'],
      ['GET', '/stats'],
    ] as const)
      expect(
        (await call('owner', method, `${base()}/${id}${path}`, method === 'PUT' ? {} : undefined)).status,
      ).toBe(404);
  });

  it('are shown to members without the secret, changed by owners only, and unknown to strangers and other sites', async () => {
    const { id } = await create();
    const seen = await call('viewer', 'GET', `${base()}/${id}`);
    expect(seen.status).toBe(200);
    expect('webhookSecret' in seen.body).toBe(false);
    expect(JSON.stringify((await call('viewer', 'GET', base())).body)).not.toContain('whsec_');
    for (const [who, status] of [
      ['viewer', 403],
      ['stranger', 403],
      ['nobody', 401],
    ] as const) {
      for (const [method, path] of [
        ['PUT', ''],
        ['DELETE', ''],
        ['POST', '/toggle'],
        ['POST', '/rotate-secret'],
      ] as const)
        expect(
          (await call(who, method, `${base()}/${id}${path}`, method === 'PUT' ? {} : undefined)).status,
        ).toBe(status);
      expect((await call(who, 'POST', base(), PAYMENT)).status).toBe(status);
    }
    const other = (
      await call('owner', 'POST', '/api/v1/user/websites', { name: 'B', url: 'https://b.example' })
    ).body.data;
    expect((await call('owner', 'GET', `/api/v1/websites/${other.id}/automations/${id}`)).status).toBe(404);
    expect((await call('owner', 'GET', `${base()}/not-a-uuid`)).status).toBe(404);
  });

  it.each([
    ['an unknown trigger', { triggerType: 'magic' }, 'unknown_type'],
    ['an unknown condition', { conditions: [{ conditionType: 'constructor' }] }, 'unknown_type'],
    ['an unknown action', { actions: [{ actionType: 'rm' }] }, 'unknown_type'],
    ['no action', { actions: [] }, 'invalid_request'],
    ['too many actions', { actions: Array(21).fill({ actionType: 'wait' }) }, 'invalid_request'],
    ['too many conditions', { conditions: Array(21).fill({ conditionType: 'device' }) }, 'invalid_request'],
    [
      'a trigger config that does not fit',
      { triggerType: 'scroll', triggerConfig: { percentage: 'deep' } },
      'invalid_request',
    ],
    ['an unknown frequency', { triggerConfig: { frequency: 'sometimes' } }, 'invalid_request'],
    ['a config that is too large', { triggerConfig: { __graph: 'x'.repeat(70_000) } }, 'invalid_request'],
    [
      'configs that are too large together',
      {
        actions: Array(5).fill({
          ...{ actionType: 'webhook' },
          actionConfig: { url: 'https://x.example', note: 'x'.repeat(60_000) },
        }),
      },
      'invalid_request',
    ],
    [
      'a recipient chosen by visitors',
      { actions: [{ actionType: 'email', actionConfig: { to: '{{email}}' } }] },
      'invalid_request',
    ],
    [
      'a host chosen by visitors',
      { actions: [{ actionType: 'webhook', actionConfig: { url: 'https://{{x}}/' } }] },
      'invalid_request',
    ],
    [
      'another scheme',
      { actions: [{ actionType: 'webhook', actionConfig: { url: 'file:///etc/passwd' } }] },
      'invalid_request',
    ],
    [
      'our own header',
      {
        actions: [
          { actionType: 'webhook', actionConfig: { url: 'https://x.example', headers: { Host: 'y' } } },
        ],
      },
      'invalid_request',
    ],
  ])('are refused with %s', async (_what, changes, code) => {
    const { status, body } = await call('owner', 'POST', base(), { ...PAYMENT, ...changes });
    expect([status, body.code]).toEqual([400, code]);
  });

  it('take the words of the original API, and texts that no database takes as they are', async () => {
    const body = await create({
      name: 'half a pair \ud800',
      triggerType: 'event',
      triggerConfig: { event_name: 'x', note: 'half \udc00' },
      actions: [
        { actionType: 'script', actionConfig: { code: 'x' } },
        { actionType: 'email', actionConfig: { to: 'a@b.example' } },
      ],
      conditions: [
        { conditionType: 'page_match', conditionConfig: { page: '/x' } },
        { conditionType: 'event_property', conditionConfig: { key: 'n', value: 1 } },
      ],
    });
    expect(body).toMatchObject({ name: 'half a pair ', triggerConfig: { note: 'half �' } });
    expect(body.warnings).toEqual(['the tracker does not notice this trigger, so it cannot run: script']);
  });

  it('are at most 200 a site, also when asked for at once', async () => {
    const full = (
      await call('owner', 'POST', '/api/v1/user/websites', { name: 'F', url: 'https://f.example' })
    ).body.data;
    const add = () => call('owner', 'POST', `/api/v1/websites/${full.id}/automations`, PAYMENT);
    for (let i = 0; i < 19; i++) await Promise.all(Array.from({ length: 10 }, add));
    const last = await Promise.all(Array.from({ length: 15 }, add));
    expect(last.filter(({ status }) => status === 201)).toHaveLength(10);
    expect(last.find(({ status }) => status !== 201)?.body.code).toBe('limit_reached');
  });

  it('are at most 2 MiB a site together, unless they become less', async () => {
    const site = (
      await call('owner', 'POST', '/api/v1/user/websites', { name: 'L', url: 'https://l.example' })
    ).body.data;
    const base = `/api/v1/websites/${site.id}/automations`;
    const large = (count: number) =>
      Array.from({ length: count }, () => ({
        actionType: 'script',
        actionConfig: { code: 'x', note: 'y'.repeat(60_000) },
      }));
    const add = (count: number) => call('owner', 'POST', base, { ...PAYMENT, actions: large(count) });
    const answers = await Promise.all(Array.from({ length: 9 }, () => add(4)));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(8);
    expect(answers.find(({ status }) => status !== 201)?.body.code).toBe('limit_reached');
    const change = (actions: object) =>
      call('owner', 'PUT', `${base}/${answers.find(({ status }) => status === 201)?.body.id}`, { actions });
    expect((await change(large(3))).status).toBe(200);
    for (let i = 0; i < 3; i++) expect((await add(1)).status).toBe(201);
    expect((await change(large(4))).body.code).toBe('limit_reached');
    expect((await call('owner', 'GET', base)).body.total).toBe(11);
    // What is too much already, as in a database of the original, may become less.
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query(
      `UPDATE automations SET trigger_config = jsonb_build_object('note', repeat('z', 1000000)) WHERE website_id = $1`,
      [site.site_id],
    );
    await client.end();
    expect((await change(large(2))).status).toBe(200);
    expect((await change(large(3))).body.code).toBe('limit_reached');
  });

  it('go with their website', async () => {
    const gone = (
      await call('owner', 'POST', '/api/v1/user/websites', { name: 'G', url: 'https://g.example' })
    ).body.data;
    const { id } = (await call('owner', 'POST', `/api/v1/websites/${gone.id}/automations`, PAYMENT)).body;
    await call('owner', 'DELETE', `/api/v1/user/websites/${gone.id}`);
    expect(await node.metadata.automations.find(gone.site_id, id)).toBeNull();
  });
});

describe('what the tracker gets', () => {
  beforeAll(async () => {
    for (const { id } of (await call('owner', 'GET', base())).body.automations)
      await call('owner', 'DELETE', `${base()}/${id}`);
  });

  it('holds nothing secret, follows every change, and can be kept by its tag', async () => {
    const { id } = await create({ triggerType: 'pageView' });
    await create();
    const answer = await node.call('GET', `/api/v1/workflows/site/${site.id}/active`);
    expect(answer.body.total).toBe(1);
    expect(answer.body.workflows[0]).toMatchObject({
      id,
      websiteId: site.site_id,
      actions: [
        { actionType: 'webhook', actionConfig: {} },
        { actionType: 'email', actionConfig: {} },
      ],
    });
    const text = JSON.stringify(answer.body);
    for (const mark of [...SECRET_MARKS, 'userId', '__graph']) expect(text).not.toContain(mark);
    const again = await node.call('GET', `/api/v1/workflows/site/${site.id}/active`, {
      headers: { 'if-none-match': answer.headers.get('etag') ?? '' },
    });
    expect(again.status).toBe(304);
    await call('owner', 'POST', `${base()}/${id}/toggle`);
    expect(await payload()).toEqual({ workflows: [], total: 0 });
    await call('owner', 'POST', `${base()}/${id}/toggle`);
    await call('owner', 'PUT', `/api/v1/user/websites/${site.id}`, { automation_enabled: false });
    expect(await payload()).toEqual({ workflows: [], total: 0 });
    await call('owner', 'PUT', `/api/v1/user/websites/${site.id}`, { automation_enabled: true });
    expect((await payload()).total).toBe(1);
    const foreign = { headers: { origin: 'https://evil.example' } };
    expect((await node.call('GET', `/api/v1/workflows/site/${site.id}/active`, foreign)).status).toBe(403);
    expect((await node.call('GET', `/api/v1/workflows/site/${'f'.repeat(24)}/active`)).status).toBe(404);
    await call('owner', 'DELETE', `${base()}/${id}`);
  });

  it('is in its own words', async () => {
    const { id } = await create({
      triggerType: 'scroll',
      triggerConfig: { percentage: '75', frequency: 'once_per_day', triggerType: 'scroll' },
      actions: [
        { actionType: 'javascript', actionConfig: { code: 'alert(1)', secret: 'Bearer-hunter2' } },
        { actionType: 'redirect', actionConfig: { url: '/thanks', newTab: true } },
      ],
      conditions: [
        { conditionType: 'device', conditionConfig: { device_type: 'mobile' } },
        { conditionType: 'visitor', conditionConfig: { visitor_type: 'returning' } },
        {
          conditionType: 'url_param',
          conditionConfig: { param_name: 'ref', operator: 'equals', param_value: 'x' },
        },
        { conditionType: 'page_views', conditionConfig: { operator: 'gt', count: 3 } },
        { conditionType: 'traffic_source', conditionConfig: { source_type: 'any' } },
        { conditionType: 'cookie', conditionConfig: { cookie_name: 'c', operator: 'not_exists' } },
        { conditionType: 'if', conditionConfig: { property: 'p', operator: 'starts_with', value: 'v' } },
        { conditionType: 'page_match', conditionConfig: { page: '/cart' } },
      ],
    });
    const [workflow] = (await payload()).workflows;
    expect(workflow.triggerType).toBe('scrollDepth');
    expect(workflow.triggerConfig).toEqual({
      percentage: 75,
      depth: 75,
      url_pattern: '/cart',
      frequency: 'once_per_day',
    });
    expect(workflow.actions.map((action: { actionType: string }) => action.actionType)).toEqual([
      'script',
      'redirect',
    ]);
    expect(workflow.actions[0].actionConfig).toEqual({ code: 'alert(1)' });
    const conditions = workflow.conditions.map(
      ({ conditionType, conditionConfig, operator, value }: Record<string, unknown>) => {
        expect(conditionConfig).toMatchObject({ operator, value });
        return [conditionType, operator, value];
      },
    );
    expect(conditions).toEqual([
      ['device', 'eq', 'mobile'],
      ['visitor', 'eq', 'returning'],
      ['url_param', 'eq', 'x'],
      ['page_views', 'gt', 3],
      ['cookie', 'not_exists', ''],
      ['if', 'contains', 'v'],
    ]);
    expect(workflow.conditions[0].conditionConfig.device_type).toBe('mobile');
    expect(workflow.conditions[1].conditionConfig.visitor_status).toBe('returning');
    await call('owner', 'DELETE', `${base()}/${id}`);
  });
});

describe('the test of an automation', () => {
  const automation = {
    trigger: { type: 'customEvent', config: { event_name: 'paid', event_key: 'plan', event_value: 'pro' } },
    conditions: [
      { type: 'device', config: { device_type: 'mobile' } },
      { type: 'url_param', config: { param_name: 'a', operator: 'exists' } },
    ],
    actions: [
      { type: 'webhook', config: { url: 'https://x.example' } },
      { type: 'modal', config: {} },
    ],
  };
  const data = {
    event_type: 'paid',
    properties: { plan: 'pro' },
    deviceType: 'mobile',
    page_url: 'https://s.example/?a=',
  };
  const test = (changes: object, testData: object = data) =>
    call('owner', 'POST', '/api/v1/automations/test', {
      automation: { ...automation, ...changes },
      testData,
    });

  it('really decides', async () => {
    const { status, body } = await test({});
    expect(status).toBe(200);
    expect(body).toMatchObject({
      success: false,
      trigger: { matched: true },
      conditions: { total: 2, passed: 2, failed: 0 },
      actions: {
        total: 2,
        executed: 1,
        details: [{ index: 0, type: 'webhook', wouldRun: true }, { wouldRun: false }],
      },
    });
    expect((await test({ actions: automation.actions.slice(0, 1) })).body.success).toBe(true);
    expect((await test({}, { ...data, deviceType: 'desktop' })).body).toMatchObject({
      conditions: { passed: 1, failed: 1, details: [{ passed: false }, { passed: true }] },
      actions: { executed: 0 },
    });
    expect((await test({}, { ...data, event_type: 'left' })).body.trigger.matched).toBe(false);
    expect((await test({}, { ...data, page_url: 'https://s.example/' })).body.conditions.passed).toBe(1);
    expect((await test({ trigger: { type: 'magic' } })).body.code).toBe('unknown_type');
  });

  it('needs a token, at both addresses', async () => {
    for (const path of ['/api/v1/automations/test', '/api/automations/test']) {
      expect((await node.call('POST', path, { body: { automation } })).status).toBe(401);
      expect((await call('owner', 'POST', path, { automation })).status).toBe(200);
    }
  });
});
