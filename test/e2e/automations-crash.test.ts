import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';
import { until } from '../support/wait.js';
import { webhookSink } from '../support/webhook-sink.js';

const account = { name: 'Test', email: 'owner@shop.example', password: 'correct horse battery' };

describe('automations in the program', () => {
  let guard: Guard;
  let program: Program;
  let token = '';

  beforeAll(async () => {
    guard = await Guard.start();
    program = await Program.start(guard, {
      dataDir: join(guard.directory, 'data'),
      env: { ALLOW_PRIVATE_WEBHOOKS: 'true', AUTOMATION_TIMEOUT: '2s' },
    });
    await send('POST', 'user/auth/register', account);
    const { email, password } = account;
    token = (await send('POST', 'user/auth/login', { email, password })).data.tokens.access_token;
  });
  beforeEach(() => onTestFailed(() => program.showLog()));
  afterAll(async () => {
    await program?.stop();
    await guard?.stop();
  });

  async function send(method: string, path: string, body?: unknown) {
    const answer = await fetch(`${program.url}/api/v1/${path}`, {
      method,
      headers: {
        'content-type': 'application/json',
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text);
  }

  test('P1 P3: an event starts its webhook, which kill -9 interrupts; it is finished once under the same key', async () => {
    // The first call hangs, so that the program dies in the middle of it.
    const sink = await webhookSink((_call, n, response) => {
      if (n > 0) response.end('ok');
    });
    const site = (await send('POST', 'user/websites', { name: 'Shop', url: 'https://shop.example' })).data;
    const base = `websites/${site.id}/automations`;
    const { id } = await send('POST', base, {
      name: 'Paid',
      triggerType: 'customEvent',
      triggerConfig: { event_name: 'paid', frequency: 'once_per_visitor' },
      actions: [
        { actionType: 'webhook', actionConfig: { url: `${sink.url}/1` } },
        { actionType: 'wait', actionConfig: { delay_value: 1, delay_unit: 'seconds' } },
        { actionType: 'webhook', actionConfig: { url: `${sink.url}/2` } },
      ],
    });
    const event = { event_type: 'paid', page: '/x', properties: { plan: 'pro' } };
    const batch = {
      siteId: site.site_id,
      domain: 'shop.example',
      events: [1, 2, 3].map((n) => ({
        ...event,
        visitor_id: 'v',
        session_id: `s${n}`,
        timestamp: new Date().toISOString(),
      })),
    };
    await fetch(`${program.url}/api/v1/analytics/batch`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0',
      },
      body: JSON.stringify(batch),
    });
    await until(() => sink.calls.length === 1, { what: 'the first webhook' });
    await program.kill9();
    await program.restart();
    const stats = await until(
      async () => {
        const answer = await send('GET', `${base}/${id}/stats`);
        return answer.successCount + answer.failureCount > 0 && answer;
      },
      { what: 'the execution to end', timeoutMs: 60_000 },
    );
    expect(stats).toMatchObject({ totalExecutions: 1, successCount: 1, failureCount: 0 });
    expect(sink.calls.map(({ path }) => path)).toEqual(['/1', '/1', '/2']);
    const keys = sink.calls.map(({ headers }) => headers['idempotency-key']);
    expect(keys[0]).toBe(keys[1]);
    expect(new Set(keys).size).toBe(2);
    expect(JSON.parse(sink.calls[0]?.body ?? '')).toMatchObject({
      event_type: 'paid',
      properties: { plan: 'pro' },
    });
    await sink.close();
  }, 120_000);
});
