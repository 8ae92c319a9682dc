import { join } from 'node:path';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { Api, type Site } from '../support/api.js';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';
import { until } from '../support/wait.js';

const Refusal = Type.Object({ error: Type.String(), message: Type.String(), code: Type.String() });

const event = (page: string, more: object = {}) => ({
  event_type: 'pageview',
  visitor_id: 'visitor-1',
  session_id: 'session-1',
  page,
  page_view_id: page,
  user_agent:
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
  timestamp: new Date().toISOString(),
  ...more,
});

describe('bad input gets a clear answer and costs no neighbour', () => {
  let guard: Guard;
  let program: Program;
  let api: Api;
  let site: Site;
  let pid: number;

  beforeAll(async () => {
    guard = await Guard.start();
    program = await Program.start(guard, {
      dataDir: join(guard.directory, 'data'),
      env: { FLUSH_INTERVAL_MS: '50' },
    });
    pid = program.pid;
    api = await Api.register(() => program.url);
  });

  // A site of its own for each test: nothing is known of its figures yet, so they need not become old before they change.
  beforeEach(async () => {
    onTestFailed(() => program.showLog());
    site = await api.createSite('shop.example');
  });

  afterAll(async () => {
    await program?.stop();
    await guard?.stop();
  });

  const post = async (path: string, body: string | Buffer, headers: Record<string, string> = {}) => {
    const answer = await fetch(`${program.url}/api/v1/analytics/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: 'https://shop.example', ...headers },
      body,
    });
    const text = await answer.text();
    const json: unknown = JSON.parse(text);
    return { status: answer.status, json };
  };

  const batch = (events: readonly unknown[], more: object = {}) =>
    JSON.stringify({ siteId: site.siteId, domain: 'shop.example', events, ...more });

  /** A good event still gets in and is, beside some others of the test, the only page view. */
  const neighbourIsCounted = async (others: { views?: number; events?: number } = {}) => {
    const { views = 0, events = views } = others;
    const { status } = await post('event', JSON.stringify({ website_id: site.id, ...event('/good') }));
    expect(status).toBe(201);
    await api.booked(site, 1 + events);
    await until(async () => (await api.dashboard(site)).page_views > views, { what: 'the page view' });
    expect((await api.dashboard(site)).page_views).toBe(1 + views);
    expect(program.running && program.pid === pid).toBe(true);
  };

  const refused = (answer: { status: number; json: unknown }) => {
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect(answer.json).toSatisfy((json: unknown) => Value.Check(Refusal, json));
  };

  /** The tracker repeats a batch for ever unless it is answered 2xx, so a refusal for good is one that says so in its body. */
  const batchRefused = (answer: { status: number; json: unknown }) => {
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({ status: 'rejected', events_count: 0 });
    expect(answer.json).toSatisfy((json: unknown) => Value.Check(Refusal, json));
  };

  const bodies: Record<string, () => string> = {
    'broken JSON': () => '{"website_id": "',
    'an empty body': () => '',
    'a number': () => '7',
    'an array': () => '[]',
    null: () => 'null',
    'JSON that is nested 50,000 deep': () => '['.repeat(50_000),
  };
  for (const [name, body] of Object.entries(bodies)) {
    test(`${name} instead of an event or a batch`, async () => {
      refused(await post('event', body()));
      batchRefused(await post('batch', body()));
      await neighbourIsCounted();
    });
  }

  test('an event of an unknown site, of no site, and of the wrong types', async () => {
    for (const website of [
      '0'.repeat(24),
      '00000000-0000-4000-8000-000000000000',
      'nonsense',
      undefined,
      7,
      null,
    ]) {
      refused(await post('event', JSON.stringify({ ...event('/x'), website_id: website })));
    }
    for (const wrong of [{ visitor_id: 7 }, { page: {} }, { timestamp: [] }, { timestamp: 'yesterday' }]) {
      const answer = await post(
        'event',
        JSON.stringify({ website_id: site.id, ...event('/x'), ...wrong, event_type: 'odd' }),
      );
      if (answer.status >= 300) refused(answer);
    }
    await neighbourIsCounted();
  });

  test('a foreign origin', async () => {
    const body = JSON.stringify({ website_id: site.id, ...event('/stolen') });
    refused(await post('event', body, { origin: 'https://thief.example' }));
    batchRefused(await post('batch', batch([event('/stolen')]), { origin: 'https://thief.example' }));
    await neighbourIsCounted();
  });

  test('a body over the limit', async () => {
    const answer = await post(
      'batch',
      batch([event('/big', { properties: { text: 'x'.repeat(12 * 1024 * 1024) } })]),
    ).catch(
      () => undefined, // The connection may be cut before the body is through.
    );
    if (answer) batchRefused(answer);
    await neighbourIsCounted();
  });

  test('a batch of 10,000 events', async () => {
    const events = Array.from({ length: 10_000 }, (_, index) => ({
      visitor_id: 'v',
      event_type: 'odd',
      page: `/${index}`,
    }));
    const answer = await post('batch', batch(events));
    if (answer.status >= 300) refused(answer);
    await neighbourIsCounted({ events: 1_000 });
  });

  test('P4: strange texts, dates and keys inside a batch leave the good events of the batch alone', async () => {
    const strange = [
      event('/nul\u0000byte', { page_title: '\u0000' }),
      event('/surrogate/\ud800', { page_title: 'lone \udfff' }),
      event('/year-1', { timestamp: '0001-01-01T00:00:00Z' }),
      event('/year-9999', { timestamp: '9999-12-31T23:59:59Z' }),
      event('/long-agent', { user_agent: 'x'.repeat(300_000) }),
      event('/deep', { properties: JSON.parse(`${'{"a":'.repeat(500)}1${'}'.repeat(500)}`) }),
      7,
      null,
      'text',
      [],
      {},
    ];
    const events = [event('/first'), ...strange.map((one) => odd(one)), event('/last')];
    const proto = batch(events).replace(
      '"event_type":"odd"',
      '"__proto__":{"admin":true},"constructor":{},"event_type":"odd"',
    );
    const answer = await post('batch', proto);
    expect(answer.status).toBe(201);
    expect(answer.json).not.toHaveProperty('admin');
    await neighbourIsCounted({ views: 2 });
  });

  test('P5: 20,000 different event names', async () => {
    for (let part = 0; part < 40; part++) {
      const events = Array.from({ length: 500 }, (_, index) => ({
        visitor_id: 'visitor-1',
        session_id: 'session-1',
        event_type: `name-${part}-${index}`,
        page: '/names',
      }));
      expect((await post('batch', batch(events))).status).toBe(201);
    }
    await neighbourIsCounted({ events: 20_000 });
    const metrics = await (await fetch(`${program.url}/metrics`)).text();
    expect(metrics.split('\n').length).toBeLessThan(3_000);
  });
});

/** The same as a custom event, so that whether it is stored or rejected makes no difference to the page views. */
function odd(value: unknown): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? { ...value, event_type: 'odd' }
    : value;
}
