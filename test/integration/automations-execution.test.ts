import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import type { EventRow } from '../../src/events/row-decoder.js';
import { TABLE_COLUMNS } from '../../src/events/tables.js';
import { createRedisCache } from '../../src/storage/cache/redis-cache.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshName, freshPostgres } from '../support/fresh.js';
import { smtpSink } from '../support/smtp-sink.js';
import { until } from '../support/wait.js';
import { isSigned, webhookSink } from '../support/webhook-sink.js';
import { signUp } from './accounts-node.js';
import { type AutomationNode, NEW_DESKTOP, seen, startAutomationNode } from './automations-node.js';

let database: Awaited<ReturnType<typeof freshPostgres>>;
let db: pg.Pool;
let mail: Awaited<ReturnType<typeof smtpSink>>;
let token = '';
const nodes: AutomationNode[] = [];
const closing: (() => Promise<unknown>)[] = [];

const first = (): AutomationNode => {
  const [node] = nodes;
  if (node === undefined) throw new Error('no node is running');
  return node;
};

/** Two nodes with one Redis. Visitors tell by their names what the event store knows of them. */
async function startOne(): Promise<AutomationNode> {
  const cache = await createRedisCache({
    url: inject('servers').redis,
    prefix,
    telemetry: silentTelemetry(),
  });
  const node = await startAutomationNode({
    databaseUrl: database.url,
    cache,
    env: { SMTP_HOST: '127.0.0.1', SMTP_PORT: String(mail.port), AUTOMATION_EXECUTIONS_PER_MINUTE: '100' },
    session: (visitor) => ({
      ...NEW_DESKTOP,
      isNewVisitor: !visitor.includes('returning'),
      pageViews: Number(/views(\d+)/.exec(visitor)?.[1] ?? 1),
      traffic: {
        channel: visitor.includes('social')
          ? 'Organic Social'
          : visitor.includes('paid')
            ? 'Paid Search'
            : 'Direct',
        referrerHost: visitor.includes('social') ? 'news.example' : '',
        utmSource: '',
      },
    }),
  });
  return {
    ...node,
    async stop() {
      await node.stop();
      await cache.close();
    },
  };
}
const prefix = `${freshName('automations')}:`;

beforeAll(async () => {
  [database, mail] = await Promise.all([freshPostgres(), smtpSink()]);
  nodes.push(await startOne(), await startOne());
  db = new pg.Pool({ connectionString: database.url, max: 4 });
  token = (await signUp(first(), 'owner@x.example')).token;
});
afterAll(async () => {
  await Promise.all(nodes.map((node) => node.stop()));
  await db?.end();
  await mail?.close();
  await database?.drop();
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function sink(...args: Parameters<typeof webhookSink>) {
  const opened = await webhookSink(...args);
  closing.push(opened.close);
  return opened;
}

interface Given {
  readonly triggerType?: string;
  readonly triggerConfig?: object;
  readonly conditions?: readonly object[];
  readonly actions?: readonly object[];
}

/** A website of its own with one automation. */
async function automation(url: string, given: Given = {}) {
  const call = first().call;
  const host = `${freshName('s')}.example`.replace('_', '-');
  const site = (await call('POST', '/api/v1/user/websites', { token, body: { name: host, url: host } })).body
    .data;
  const base = `/api/v1/websites/${site.id}/automations`;
  const body = {
    name: 'Test',
    triggerType: 'customEvent',
    triggerConfig: { event_name: 'paid' },
    actions: [{ actionType: 'webhook', actionConfig: { url } }],
    ...given,
  };
  const created = await call('POST', base, { token, body });
  if (created.status !== 201) throw new Error(JSON.stringify(created.body));
  const { id, webhookSecret } = created.body;
  const rows = async () =>
    (
      await db.query(
        'SELECT * FROM automation_executions WHERE automation_id = $1 ORDER BY executed_at, id',
        [id],
      )
    ).rows;
  return {
    id: String(id),
    secret: String(webhookSecret),
    siteId: String(site.site_id),
    uuid: String(site.id),
    base: `${base}/${id}`,
    rows,
    /** Waits until nothing is left to run, and answers the statuses. */
    settled: async (count = 1): Promise<string[]> =>
      until(
        async () => {
          const statuses = (await rows()).map(({ status }) => String(status));
          return statuses.length >= count && !statuses.includes('pending') && statuses;
        },
        { what: `${count} executions to end`, everyMs: 20 },
      ),
  };
}

const paid = (changes: Partial<EventRow> = {}): Partial<EventRow> => ({
  kind: 2,
  event_type: 'paid',
  ...changes,
});

describe('a webhook', () => {
  it('is signed, keyed and told what happened, once however often the event is shown', async () => {
    const { url, calls } = await sink();
    const it = await automation('', {
      actions: [
        {
          actionType: 'webhook',
          actionConfig: {
            url: `${url}/in?plan={{plan}}`,
            headers: { 'X-Own': 'mine' },
            body: { text: 'New: {{plan}} on {{page}}', keep: 1 },
          },
        },
      ],
    });
    const row = seen(it.siteId, paid({ properties: '{"plan":"pro & {{page}}","__proto__":1}' }));
    for (const node of [...nodes, ...nodes]) await node.observer.observe([row]);
    expect(await it.settled()).toEqual(['success']);
    expect(calls).toHaveLength(1);
    const [call] = calls;
    if (call === undefined) throw new Error('nothing came');
    expect(isSigned(call, it.secret)).toBe(true);
    expect(call.path).toBe(`/in?plan=${encodeURIComponent('pro & {{page}}')}`);
    const [execution] = await it.rows();
    expect(call.headers).toMatchObject({ 'idempotency-key': `${execution.id}-0`, 'x-own': 'mine' });
    expect(JSON.parse(call.body)).toMatchObject({
      event_type: 'paid',
      page: '/pricing',
      visitor_id: 'visitor-1',
      properties: { plan: 'pro & {{page}}' },
      automation_id: it.id,
      website_id: it.siteId,
      text: 'New: pro & {{page}} on /pricing',
      keep: 1,
    });
    expect(execution.steps).toBeNull();
    const stats = (await first().call('GET', `${it.base}/stats`, { token })).body;
    expect(stats).toEqual({
      totalExecutions: 1,
      successCount: 1,
      failureCount: 0,
      successRate: 100,
      last30Days: 1,
    });
  });

  it('leaves the event out where that is wanted', async () => {
    const { url, calls } = await sink();
    const action = { actionType: 'webhook', actionConfig: { url, method: 'put', include_payload: false } };
    const it = await automation(url, { actions: [action] });
    await first().show(it.siteId, paid());
    await it.settled();
    expect(calls[0]?.method).toBe('PUT');
    expect(Object.keys(JSON.parse(calls[0]?.body ?? '')).sort()).toEqual([
      'automation_id',
      'automation_name',
      'execution_id',
      'website_id',
    ]);
  });

  it('is tried again under the same key after 503 and a cut connection, and given up after 4xx or too many attempts', async () => {
    const flaky = await sink((_call, n, response) => {
      if (n === 0) response.writeHead(503).end();
      else if (n === 1) response.destroy();
      else response.end('ok');
    });
    const refusing = await sink((_call, _n, response) => response.writeHead(403).end());
    const dead = await sink((_call, _n, response) => response.writeHead(500).end());
    const made = await Promise.all([flaky, refusing, dead].map(({ url }) => automation(url)));
    for (const { siteId } of made) await first().show(siteId, paid());
    const statuses = await Promise.all(made.map((it) => it.settled()));
    expect(statuses).toEqual([['success'], ['failed'], ['failed']]);
    expect(flaky.calls).toHaveLength(3);
    expect(new Set(flaky.calls.map(({ headers }) => headers['idempotency-key'])).size).toBe(1);
    expect([refusing.calls.length, dead.calls.length]).toEqual([1, 4]);
    expect((await made[1]?.rows())?.[0].error_message).toBe('the webhook answered 403');
    expect((await made[0]?.rows())?.[0].results.map(({ outcome }: { outcome: string }) => outcome)).toEqual([
      'again',
      'again',
      'done',
    ]);
  });
});

describe('the other actions of the server', () => {
  it('run in their order, stop at the first failure, and wait across a restart', async () => {
    const { url, calls } = await sink();
    const webhook = (path: string) => ({ actionType: 'webhook', actionConfig: { url: `${url}${path}` } });
    const it = await automation(url, {
      actions: [
        webhook('/1'),
        { actionType: 'wait', actionConfig: { delay_value: '1', delay_unit: 'seconds' } },
        { actionType: 'slack', actionConfig: { webhook_url: `${url}/slack`, message: 'Hi {{who}}' } },
        { actionType: 'email', actionConfig: { recipient: '' } },
        webhook('/never'),
      ],
    });
    const before = Date.now();
    await first().show(it.siteId, paid({ properties: '{"who":"<!channel> & co"}' }));
    await until(async () => (await it.rows())[0]?.next_step === 2, { what: 'the wait', everyMs: 20 });
    const [one, two] = nodes.splice(0);
    await Promise.all([one?.stop(), two?.stop()]);
    nodes.push(await startOne(), await startOne());
    expect(await it.settled()).toEqual(['failed']);
    expect(Date.now() - before).toBeGreaterThan(1_000);
    expect(calls.map(({ path }) => path)).toEqual(['/1', '/slack']);
    expect(JSON.parse(calls[1]?.body ?? '')).toEqual({ text: 'Hi &lt;!channel&gt; &amp; co' });
    expect((await it.rows())[0].error_message).toBe('the email has no recipient');
  });

  it('send mail', async () => {
    const action = {
      actionType: 'email',
      actionConfig: {
        recipient: 'a@b.example; c@d.example',
        subject: 'Paid by {{name}}',
        body: 'Plan: {{plan}}',
      },
    };
    const it = await automation('', { actions: [action] });
    await first().show(it.siteId, paid({ properties: '{"name":"X\\r\\nBcc: evil@e.example","plan":"pro"}' }));
    expect(await it.settled()).toEqual(['success']);
    const sent = mail.mails.at(-1);
    expect(sent?.to).toEqual(['a@b.example', 'c@d.example']);
    expect(sent?.raw).toContain('Subject: Paid by X Bcc: evil@e.example');
    expect(sent?.raw).toContain('Plan: pro');
  });

  it('never send a mail twice: one that a crash interrupted is told as failed, a webhook is repeated', async () => {
    const { url, calls } = await sink();
    const wait = { actionType: 'wait', actionConfig: { delay_value: 1 } };
    const email = { actionType: 'email', actionConfig: { recipient: 'once@b.example' } };
    const mailing = await automation('', { actions: [wait, email] });
    const calling = await automation('', {
      actions: [wait, { actionType: 'webhook', actionConfig: { url } }],
    });
    for (const it of [mailing, calling]) {
      await first().show(it.siteId, paid());
      await until(async () => (await it.rows())[0]?.next_step === 1, { what: 'the wait', everyMs: 10 });
      // What a runner leaves behind that is killed while it runs the second step.
      await db.query('UPDATE automation_executions SET in_flight = true WHERE automation_id = $1', [it.id]);
    }
    expect([await mailing.settled(), await calling.settled()]).toEqual([['failed'], ['success']]);
    expect((await mailing.rows())[0].error_message).toContain('unknown outcome');
    expect((await calling.rows())[0].results).toMatchObject([{ outcome: 'done', repeated: true }]);
    expect(mail.mails.filter(({ to }) => to.includes('once@b.example'))).toEqual([]);
    expect(calls).toHaveLength(1);
  });

  it('are not run any more when the automation is switched off or gone', async () => {
    const { url, calls } = await sink();
    const actions = [
      { actionType: 'wait', actionConfig: { delay_value: 1 } },
      { actionType: 'webhook', actionConfig: { url } },
    ];
    const [off, gone] = [await automation(url, { actions }), await automation(url, { actions })];
    for (const { siteId } of [off, gone]) await first().show(siteId, paid());
    await first().call('POST', `${off.base}/toggle`, { token });
    await first().call('DELETE', gone.base, { token });
    expect(await off.settled()).toEqual(['failed']);
    expect(calls).toEqual([]);
    expect(await gone.rows()).toEqual([]);
  });
});

const goal = async (siteId: string, type: string, identifier: string): Promise<string> => {
  const id = randomUUID();
  await db.query(
    `INSERT INTO goals (id, website_id, name, type, identifier) SELECT $1, id, 'G', $2, $3 FROM websites WHERE site_id = $4`,
    [id, type, identifier, siteId],
  );
  return id;
};

describe('triggers that no tracker notices', () => {
  const click = (properties: object, changes: Partial<EventRow> = {}) => ({
    kind: 2,
    event_type: 'click',
    properties: JSON.stringify(properties),
    ...changes,
  });
  const button = { element_tag: 'BUTTON', element_id: 'buy', element_class: 'big red' };

  it.each<[string, object, Partial<EventRow>[], Partial<EventRow>[]]>([
    [
      'customEvent',
      { event_name: 'paid' },
      [paid()],
      [paid({ event_type: 'Paid' }), { event_type: 'pageview' }],
    ],
    [
      'customEvent',
      { event_name: 'paid', event_key: 'plan', event_value: 'pro' },
      [paid({ properties: '{"plan":"pro"}' })],
      [paid({ properties: '{"plan":"free"}' }), paid()],
    ],
    [
      'customEvent',
      { event_name: 'paid', event_key: 'n', event_value: '5' },
      [paid({ properties: '{"n":5}' })],
      [paid()],
    ],
    ['event', { event_name: 'paid' }, [paid()], [paid({ event_type: 'x' })]],
    [
      'page_exit',
      { url_pattern: '/pri*' },
      [{ kind: 3, event_type: 'page_exit' }],
      [{ kind: 3, event_type: 'page_exit', page: '/' }],
    ],
    ['click', {}, [click({})], [paid()]],
    ['click', { selector: '#buy' }, [click(button)], [click({ ...button, element_id: 'sell' })]],
    [
      'click',
      { selector: 'button.red.big' },
      [click(button)],
      [click({ ...button, element_class: 'redbig' })],
    ],
    [
      'click',
      { selector: 'a, .red' },
      [click(button), click({ element_tag: 'a' })],
      [click({ element_tag: 'p' })],
    ],
    [
      'click',
      { selector: '#buy', url_pattern: '/cart' },
      [click(button, { page: '/cart' })],
      [click(button)],
    ],
    ['click', { selector: 'div > button' }, [], [click(button)]],
  ])('%s %j', async (triggerType, triggerConfig, hits, misses) => {
    const { url, calls } = await sink();
    const it = await automation(url, { triggerType, triggerConfig });
    await first().show(it.siteId, ...misses, ...hits);
    if (hits.length > 0) await it.settled(hits.length);
    expect(await it.rows()).toHaveLength(hits.length);
    expect(calls).toHaveLength(hits.length);
  });

  it.each<[string, string, object, Partial<EventRow>[], Partial<EventRow>[]]>([
    ['event', 'paid', {}, [paid()], [paid({ event_type: 'x' })]],
    [
      'event',
      'paid',
      { min_value: 10 },
      [paid({ properties: '{"value":10}' }), paid({ properties: '{"revenue":"10.5"}' })],
      [paid(), paid({ properties: '{"value":9.99}' })],
    ],
    ['pageview', '/thanks*', {}, [{ page: '/thanks/you' }], [{ page: '/' }, paid({ page: '/thanks' })]],
    ['pageview', '/done', {}, [{ page: '/done' }], [{ page: '/done/x' }]],
  ])('goalCompleted by %s %s %j', async (type, identifier, config, hits, misses) => {
    const { url } = await sink();
    const it = await automation(url);
    const goal_id = await goal(it.siteId, type, identifier);
    await first().call('PUT', it.base, {
      token,
      body: { triggerType: 'goalCompleted', triggerConfig: { goal_id, ...config } },
    });
    await first().show(it.siteId, ...misses, ...hits);
    expect(await it.settled(hits.length)).toHaveLength(hits.length);
  });

  it('funnelComplete and funnelDropoff', async () => {
    const { url } = await sink();
    const funnelId = randomUUID();
    const done = await automation(url, {
      triggerType: 'funnelComplete',
      triggerConfig: { funnel_id: funnelId },
    });
    const left = await automation(url, {
      triggerType: 'funnelDropoff',
      triggerConfig: { funnel_id: funnelId, step: 2 },
    });
    for (const it of [done, left]) {
      const rows = (
        [
          ['start', 1],
          ['conversion', 3],
          ['dropoff', 1],
          ['dropoff', 2],
        ] as const
      ).map(([type, step]) => funnelRow(it.siteId, funnelId, type, step));
      await first().observer.observe([...rows, funnelRow(it.siteId, randomUUID(), 'conversion', 2)]);
      expect(await it.settled()).toEqual(['success']);
    }
    expect((await left.rows())[0].execution_data).toMatchObject({
      event_type: 'funnel_dropoff',
      properties: { step: 2 },
    });
  });

  it('are left alone by imports, events of last week, damaged rows and sites without automations', async () => {
    const { url } = await sink();
    const it = await automation(url);
    const old = seen(it.siteId, paid({ timestamp: Date.now() - 7 * 86_400_000 }));
    const imported = { ...seen(it.siteId, paid()), source: 'import' as const };
    const whole = seen(it.siteId, paid());
    const damaged = { ...whole, bytes: whole.bytes.subarray(0, whole.bytes.byteLength - 5) };
    await first().observer.observe([old, imported, damaged]);
    expect(await it.rows()).toEqual([]);
    const none = '0123456789abcdef01234567';
    expect(first().observer.wants(none)).toBe(true);
    await first().show(none, paid());
    expect(first().observer.wants(none)).toBe(false);
    expect(first().observer.wants(it.siteId)).toBe(true);
  });

  it('follow a change of the automation on every node', async () => {
    const { url } = await sink();
    const it = await automation(url);
    for (const node of nodes) await node.show(it.siteId, paid());
    await first().call('POST', `${it.base}/toggle`, { token });
    await until(() => nodes.every((node) => node.observer.wants(it.siteId)), { what: 'the notice' });
    for (const node of nodes) await node.show(it.siteId, paid());
    expect(nodes.some((node) => node.observer.wants(it.siteId))).toBe(false);
    expect(await it.rows()).toHaveLength(2);
  });
});

function funnelRow(siteId: string, funnelId: string, type: string, step: number) {
  const values: Readonly<Record<string, string | number>> = {
    event_id: randomUUID().replaceAll('-', ''),
    ...{
      timestamp: Date.now(),
      received_at: Date.now(),
      site_id: siteId,
      funnel_id: funnelId,
      visitor_id: 'v',
    },
    ...{ session_id: 's', event_type: type, step_name: '', current_step: step, completed_steps: '[]' },
    ...{ started_at: Date.now(), converted: 0 },
  };
  const parts = TABLE_COLUMNS.funnel_events.map(({ name, type: kind }) => {
    const value = values[name] ?? '';
    if (kind === 'id') return Buffer.from(String(value), 'hex');
    if (kind === 'ms') return Buffer.from(BigInt64Array.of(BigInt(value)).buffer);
    if (kind === 'u16') return Buffer.from(Uint16Array.of(Number(value)).buffer);
    if (kind === 'u8') return Buffer.from(Uint8Array.of(Number(value)).buffer);
    const text = Buffer.from(String(value));
    return Buffer.concat([Uint8Array.of(text.length), text]);
  });
  return { siteId, table: 'funnel_events' as const, source: 'funnel' as const, bytes: Buffer.concat(parts) };
}

describe('conditions', () => {
  const on = (conditionType: string, conditionConfig: object) => [{ conditionType, conditionConfig }];
  const by = (visitor_id: string) => paid({ visitor_id });
  const plan = (value: unknown) => paid({ properties: JSON.stringify({ plan: value }) });

  it.each<[string, object, Partial<EventRow>[], Partial<EventRow>[]]>([
    [
      'device',
      { device_type: 'tablet' },
      [paid({ device: 'Tablet' })],
      [paid({ device: 'Mobile' }), paid({ device: 'Desktop' })],
    ],
    ['device', { device_type: 'mobile' }, [paid({ device: 'Mobile' })], [paid()]],
    [
      'url_param',
      { param_name: 'utm_source', operator: 'equals', param_value: 'x' },
      [paid({ utm_source: 'x' })],
      [paid(), paid({ utm_source: 'xy' })],
    ],
    [
      'url_param',
      { param_name: 'utm_source', operator: 'contains', param_value: 'x' },
      [paid({ utm_source: 'axb' })],
      [paid()],
    ],
    [
      'url_param',
      { param_name: 'gclid', operator: 'exists' },
      [paid({ click_id_name: 'gclid', click_id: '1' })],
      [paid()],
    ],
    ['url_param', { param_name: 'ref', operator: 'exists' }, [], [paid()]],
    ['cookie', { cookie_name: 'c', operator: 'not_exists' }, [], [paid()]],
    [
      'segment',
      { property: 'plan', operator: 'equals', value: 'pro' },
      [plan('pro')],
      [plan('prose'), paid()],
    ],
    [
      'segment',
      { property: 'plan', operator: 'not_equals', value: 'pro' },
      [plan('free'), plan(true)],
      [plan('pro')],
    ],
    ['if', { property: 'plan', operator: 'contains', value: 'ro' }, [plan('pro')], [plan('free')]],
    ['if', { property: 'plan', operator: 'starts_with', value: 'pr' }, [plan('pro')], [plan('a pro')]],
    [
      'if',
      { property: 'country', operator: 'equals', value: 'Germany' },
      [paid({ country_code: 'DE' })],
      [paid({ country_code: 'FR' })],
    ],
    ['page_match', { page: '/a*' }, [paid({ page: '/abc' })], [paid({ page: '/b' })]],
    ['event_property', { key: 'plan', value: 5 }, [plan(5), plan('5')], [plan(6)]],
    ['traffic_source', { source_type: 'any' }, [paid()], []],
  ])('%s %j', async (type, config, hits, misses) => {
    const { url } = await sink();
    const it = await automation(url, { conditions: on(type, config) });
    await first().show(it.siteId, ...misses, ...hits);
    if (hits.length > 0) await it.settled(hits.length);
    expect(await it.rows()).toHaveLength(hits.length);
  });

  it('are decided by what the event store knows, a little later', async () => {
    const { url, calls } = await sink();
    const cases: [string, object, string, string][] = [
      ['visitor', { visitor_type: 'new' }, 'ann', 'returning ann'],
      ['visitor', { visitor_type: 'returning' }, 'returning ann', 'ann'],
      ['page_views', { operator: 'gt', count: 3 }, 'views4', 'views3'],
      ['page_views', { operator: 'lt', count: '3' }, 'views2', 'views3'],
      ['page_views', { operator: 'eq', count: 3 }, 'views3', 'views4'],
      ['traffic_source', { source_type: 'social' }, 'social', 'paid'],
      ['traffic_source', { source_type: 'paid' }, 'paid', 'social'],
      ['traffic_source', { source_type: 'direct' }, 'ann', 'social'],
      ['traffic_source', { source_type: 'custom', custom_value: 'News' }, 'social', 'paid'],
    ];
    const made = await Promise.all(
      cases.map(([type, config]) =>
        automation(url, {
          conditions: on(type, config),
          triggerConfig: { event_name: 'paid', frequency: 'once_per_visitor' },
        }),
      ),
    );
    for (const [i, [, , hit, miss]] of cases.entries())
      await first().show(made[i]?.siteId ?? '', by(hit), by(hit), by(miss));
    const statuses = await Promise.all(made.map((it) => it.settled(3)));
    for (const status of statuses) expect(status.sort()).toEqual(['skipped', 'skipped', 'success']);
    expect(calls).toHaveLength(cases.length);
    const stats = (await first().call('GET', `${made[0]?.base}/stats`, { token })).body;
    expect(stats).toMatchObject({ totalExecutions: 1, last30Days: 1 });
  });
});

describe('frequencies', () => {
  const HOUR = 3_600_000;
  const at = (hoursAgo: number, visitor = 'v', session = 's') =>
    paid({ timestamp: Date.now() - hoursAgo * HOUR, visitor_id: visitor, session_id: session });

  it.each<[string, Partial<EventRow>[], number]>([
    ['always', [at(2), at(1), at(0)], 3],
    ['once_per_session', [at(3), at(2), at(1, 'v', 't'), at(0, 'w', 't')], 2],
    ['once_per_session', [at(2, 'v', ''), at(1, 'v', ''), at(0, 'w', '')], 2],
    ['once_per_visitor', [at(3), at(2, 'v', 't'), at(1, 'w')], 2],
    ['once_per_hour', [at(3), at(2.5), at(1.5), at(0.6), at(0.4, 'w')], 3],
    ['once_per_day', [at(23), at(10), at(0), at(0, 'w')], 2],
  ])('%s', async (frequency, events, count) => {
    const { url } = await sink();
    const it = await automation(url, { triggerConfig: { event_name: 'paid', frequency } });
    for (const [i, event] of events.entries()) await nodes[i % 2]?.show(it.siteId, event);
    expect(await it.settled(count)).toEqual(Array(count).fill('success'));
  });

  it('are free again after a day', async () => {
    const { url } = await sink();
    const it = await automation(url, { triggerConfig: { event_name: 'paid', frequency: 'once_per_day' } });
    await first().show(it.siteId, at(23.9));
    await db.query(
      `UPDATE automation_claims SET claimed_at = claimed_at - interval '7 minutes' WHERE automation_id = $1`,
      [it.id],
    );
    await first().show(it.siteId, at(0));
    expect(await it.settled(2)).toHaveLength(2);
  });

  it.each(['once_per_session', 'once_per_visitor', 'once_per_day', 'once_per_hour'])(
    '%s is exact when 50 events match at once on two nodes',
    async (frequency) => {
      const { url, calls } = await sink();
      const it = await automation(url, { triggerConfig: { event_name: 'paid', frequency } });
      await Promise.all(Array.from({ length: 50 }, (_, i) => nodes[i % 2]?.show(it.siteId, paid())));
      await first().show(it.siteId, ...Array.from({ length: 10 }, () => paid()));
      expect(await it.settled()).toEqual(['success']);
      expect(calls).toHaveLength(1);
    },
  );

  it('have a limit a minute besides, on all nodes together', async () => {
    const { url } = await sink();
    const minute = () => Math.floor(Date.now() / 60_000);
    const withinOneMinute = async () => {
      const it = await automation(url);
      const before = minute();
      await Promise.all(
        nodes.map((node) => node.show(it.siteId, ...Array.from({ length: 80 }, () => paid()))),
      );
      return minute() === before && it;
    };
    const it = await until(withinOneMinute, { what: 'a try that no minute ends in' });
    expect((await it.rows()).length).toBe(100);
    await it.settled(100);
  });
});

describe('execution reports of the tracker', () => {
  const report = (automationId: string, changes: object = {}) => ({
    ...{ automationId, websiteId: 'x', visitorId: 'v', sessionId: 's', status: 'success' },
    ...{ executionData: { page_path: '/a', note: 'n' }, executedAt: new Date().toISOString(), ...changes },
  });
  const send = (website_id: string, executions: object[], headers: Record<string, string> = {}) =>
    first().call('POST', '/api/v1/workflows/execution/batch', { body: { website_id, executions }, headers });

  it('run the actions of the server, once however often they come', async () => {
    const { url, calls } = await sink();
    const it = await automation(url, {
      triggerType: 'pageView',
      triggerConfig: {},
      actions: [
        { actionType: 'modal', actionConfig: { title: 'x' } },
        { actionType: 'webhook', actionConfig: { url } },
      ],
    });
    const one = { ...report(it.id), id: randomUUID() };
    expect(await send(it.uuid, [one])).toMatchObject({
      status: 200,
      body: { status: 'success', count: 1, accepted: 1 },
    });
    expect((await send(it.siteId, [one, { ...one, id: randomUUID() }])).body).toMatchObject({
      count: 2,
      accepted: 0,
    });
    const action = await first().call('POST', '/api/v1/workflows/execution/action', {
      body: { ...one, websiteId: it.siteId },
    });
    expect(action).toMatchObject({ status: 200, body: { status: 'success' } });
    expect(await it.settled()).toEqual(['success']);
    expect(calls).toHaveLength(1);
    expect(JSON.parse(calls[0]?.body ?? '')).toMatchObject({
      event_type: 'pageView',
      page: '/a',
      visitor_id: 'v',
      properties: { note: 'n' },
    });
    expect((await it.rows())[0]).toMatchObject({ website_id: it.siteId, visitor_id: 'v' });
    expect((await it.rows())[0].id).not.toBe(one.id);
    // The page view itself starts nothing more.
    await first().show(it.siteId, {});
    expect(await it.rows()).toHaveLength(1);
  });

  it('count for automations of the browser, and keep to the frequency', async () => {
    const actions = [{ actionType: 'banner', actionConfig: {} }];
    const it = await automation('', {
      triggerType: 'pageView',
      triggerConfig: { frequency: 'once_per_session' },
      actions,
    });
    await send(it.siteId, [
      report(it.id),
      report(it.id, { executedAt: new Date(Date.now() - 1_000).toISOString() }),
      report(it.id, { sessionId: 't', status: 'failed', errorMessage: 'no room' }),
    ]);
    const stats = (await first().call('GET', `${it.base}/stats`, { token })).body;
    expect(stats).toEqual({
      totalExecutions: 2,
      successCount: 1,
      failureCount: 1,
      successRate: 50,
      last30Days: 2,
    });
  });

  it('are believed in nothing', async () => {
    const { url } = await sink();
    const mine = await automation(url, { triggerType: 'pageView', triggerConfig: {} });
    const onServer = await automation(url);
    const far = report(mine.id, { executedAt: '2999-01-01T00:00:00Z' });
    const old = report(mine.id, { executedAt: '2020-01-01T00:00:00Z' });
    const junk = [report(randomUUID()), report('x'), {}, report(mine.id, { visitorId: 1, sessionId: null })];
    expect((await send(mine.siteId, [...junk, old])).body.accepted).toBe(0);
    expect((await send(onServer.siteId, [report(mine.id), report(onServer.id)])).body.accepted).toBe(0);
    expect((await send(mine.siteId, [far])).body.accepted).toBe(1);
    expect((await mine.rows())[0].executed_at.getTime()).toBeLessThanOrEqual(Date.now());
    const evil = { origin: 'https://evil.example' };
    expect(await send(mine.siteId, [report(mine.id)], evil)).toMatchObject({
      status: 200,
      body: { accepted: 0 },
    });
    expect(await send('f'.repeat(24), [report(mine.id)])).toMatchObject({
      status: 200,
      body: { accepted: 0 },
    });
    const single = (websiteId: string, headers: Record<string, string> = {}) =>
      first().call('POST', '/api/v1/workflows/execution/action', {
        body: { ...report(mine.id), websiteId },
        headers,
      });
    expect((await single(mine.siteId, evil)).status).toBe(403);
    expect((await single('f'.repeat(24))).status).toBe(404);
    await first().call('PUT', `/api/v1/user/websites/${mine.uuid}`, {
      token,
      body: { automation_enabled: false },
    });
    expect((await single(mine.siteId)).body.code).toBe('feature_disabled');
    // One bad report costs the others nothing, and what will never be taken is not asked for again.
    const nul = { ...report(onServer.id), visitorId: 'a\0b', executionData: { '\0': '\0' } };
    const mixed = await first().call('POST', '/api/v1/workflows/execution/batch', {
      body: { website_id: onServer.siteId, executions: [null, 5, nul, report(onServer.id)] },
    });
    expect(mixed).toMatchObject({ status: 200, body: { status: 'success', count: 4 } });
    for (const body of [
      {},
      { website_id: onServer.siteId, executions: {} },
      { website_id: 5, executions: [] },
    ])
      expect(await first().call('POST', '/api/v1/workflows/execution/batch', { body })).toMatchObject({
        status: 200,
        body: { status: 'rejected', accepted: 0, code: 'invalid_request' },
      });
    const large = { website_id: onServer.siteId, executions: [], more: 'x'.repeat(1 << 17) };
    expect(await first().call('POST', '/api/v1/workflows/execution/batch', { body: large })).toMatchObject({
      status: 200,
      body: { status: 'rejected', code: 'body_too_large' },
    });
    const many = Array.from({ length: 300 }, (_, i) => report(onServer.id, { visitorId: `v${i}` }));
    expect((await send(onServer.siteId, many)).body).toMatchObject({ count: 300, accepted: 0 });
  });

  it('of tablets are told by the server where only it acts', async () => {
    const { url } = await sink();
    const it = await automation(url, {
      triggerType: 'pageView',
      triggerConfig: {},
      conditions: [{ conditionType: 'device', conditionConfig: { device_type: 'tablet' } }],
    });
    const [workflow] = (await first().call('GET', `/api/v1/workflows/site/${it.siteId}/active`)).body
      .workflows;
    expect(workflow.conditions).toEqual([]);
    const desktop = {
      'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0',
    };
    const tablet = {
      'user-agent':
        'Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1',
    };
    expect((await send(it.siteId, [report(it.id)], desktop)).body.accepted).toBe(0);
    expect((await send(it.siteId, [report(it.id)], tablet)).body.accepted).toBe(1);
  });
});

describe('retention', () => {
  it('removes old executions and claims that are over; the figures go on counting', async () => {
    const { url } = await sink();
    const it = await automation(url, { triggerConfig: { event_name: 'paid', frequency: 'once_per_hour' } });
    await first().show(it.siteId, paid());
    await it.settled();
    await db.query(
      `UPDATE automation_executions SET executed_at = now() - interval '91 days' WHERE automation_id = $1`,
      [it.id],
    );
    await db.query(`UPDATE automation_claims SET expires_at = now() WHERE automation_id = $1`, [it.id]);
    expect(await first().metadata.executions.expire(90 * 86_400_000, 1_000)).toBeGreaterThanOrEqual(2);
    expect(await it.rows()).toEqual([]);
    expect(
      (await db.query('SELECT 1 FROM automation_claims WHERE automation_id = $1', [it.id])).rows,
    ).toEqual([]);
    const stats = (await first().call('GET', `${it.base}/stats`, { token })).body;
    expect(stats).toEqual({
      totalExecutions: 1,
      successCount: 1,
      failureCount: 0,
      successRate: 100,
      last30Days: 0,
    });
  });

  it('forgets a visitor', async () => {
    const { url } = await sink();
    const it = await automation(url, {
      triggerConfig: { event_name: 'paid', frequency: 'once_per_visitor' },
    });
    await first().show(it.siteId, paid(), paid({ visitor_id: 'other' }));
    await it.settled(2);
    await first().metadata.executions.deleteVisitor(it.siteId, 'visitor-1');
    expect((await it.rows()).map(({ visitor_id }) => visitor_id)).toEqual(['other']);
    const claims = await db.query('SELECT visitor_id FROM automation_claims WHERE automation_id = $1', [
      it.id,
    ]);
    expect(claims.rows).toEqual([{ visitor_id: 'other' }]);
  });
});
