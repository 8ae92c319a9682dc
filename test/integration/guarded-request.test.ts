import { afterEach, describe, expect, it } from 'vitest';
import { isPublicAddress } from '../../src/net/address-guard.js';
import { createGuardedClient, type GuardedClientOptions } from '../../src/net/guarded-request.js';
import { webhookSink } from '../support/webhook-sink.js';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
async function sink(...args: Parameters<typeof webhookSink>) {
  const opened = await webhookSink(...args);
  closing.push(opened.close);
  return opened;
}

const request = {
  method: 'POST',
  headers: { 'X-Ours': '1' },
  ownHeaders: { Authorization: 'own' },
  body: '{}',
};
const send = (url: string, options: Partial<GuardedClientOptions> = {}) =>
  createGuardedClient({ allowPrivate: false, timeoutMs: 1_000, ...options }).send({ ...request, url });

describe('the guard', () => {
  it('connects to no private address, however it is written or named', async () => {
    const { port, calls } = await sink();
    const hosts = [
      '127.0.0.1',
      'localhost',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '0x7f.1',
      '2130706433',
      '017700000001',
      '0',
    ];
    for (const host of hosts)
      expect(await send(`http://${host}:${port}/`)).toEqual({
        outcome: 'blocked',
        reason: 'the address is not public',
      });
    const named = { resolve: async () => ['127.0.0.1'] };
    expect((await send(`http://inside.example:${port}/`, named)).outcome).toBe('blocked');
    const mixed = { resolve: async () => ['93.184.216.34', '127.0.0.1'] };
    expect((await send(`http://mixed.example:${port}/`, mixed)).outcome).toBe('blocked');
    expect((await send('http://192.168.0.1:6379/')).outcome).toBe('blocked');
    expect(calls).toEqual([]);
  });

  it('connects to the address that was judged, though the name stands for another one by now', async () => {
    const { port, calls } = await sink();
    let asked = 0;
    // What a rebinding name server answers: first a harmless address (nobody is there), then ours.
    const resolve = async () => (asked++ === 0 ? ['192.0.2.1'] : ['127.0.0.1']);
    const result = await send(`http://rebind.example:${port}/`, {
      resolve,
      allowPrivate: true,
      timeoutMs: 300,
    });
    expect(result.outcome).toBe('failed');
    expect(asked).toBe(1);
    expect(calls).toEqual([]);
  });

  it('judges every redirect', async () => {
    const inside = await sink();
    const judged: string[] = [];
    const outside = await sink((_call, _n, response) =>
      response.writeHead(302, { location: `http://inside.example:${inside.port}/` }).end(),
    );
    const resolve = async (host: string) => {
      judged.push(host);
      return host === 'outside.example' ? ['127.0.0.1'] : [];
    };
    expect(
      (await send(`http://outside.example:${outside.port}/`, { resolve, allowPrivate: true })).outcome,
    ).toBe('failed');
    expect(judged).toEqual(['outside.example', 'inside.example']);
    expect(inside.calls).toEqual([]);
  });

  it('follows three redirects, without the owner’s headers to another host, and changes the method as browsers do', async () => {
    const target = await sink();
    const from = await sink(({ path }, _n, response) => {
      const hop = Number(path.slice(1));
      const location = hop < 2 ? `/${hop + 1}` : `${target.url}/end`;
      response.writeHead(hop === 1 ? 303 : 307, { location }).end();
    });
    expect(await send(`${from.url}/0`, { allowPrivate: true })).toMatchObject({
      outcome: 'answered',
      status: 200,
      body: 'ok',
    });
    expect(from.calls.map(({ method, headers }) => [method, headers.authorization])).toEqual([
      ['POST', 'own'],
      ['POST', 'own'],
      ['GET', 'own'],
    ]);
    expect(target.calls).toMatchObject([{ method: 'GET', body: '' }]);
    expect(target.calls[0]?.headers).toMatchObject({ 'x-ours': '1' });
    expect(target.calls[0]?.headers.authorization).toBeUndefined();
    const endless = await sink((_call, _n, response) => response.writeHead(307, { location: '/' }).end());
    expect((await send(endless.url, { allowPrivate: true })).outcome).toBe('blocked');
    expect(endless.calls).toHaveLength(4);
  });

  it('refuses a redirect to this machine', async () => {
    const inside = await sink();
    const outside = await sink(({ path }, _n, response) =>
      response.writeHead(302, { location: `http://${path.slice(1)}:${inside.port}/` }).end(),
    );
    // 127.0.0.1 plays a public server; everything else is judged as it is.
    const isAllowed = (address: string) => address === '127.0.0.1' || isPublicAddress(address);
    for (const host of ['127.0.0.2', '[::1]', '169.254.169.254'])
      expect(await send(`${outside.url}/${host}`, { isAllowed })).toEqual({
        outcome: 'blocked',
        reason: 'the address is not public',
      });
    expect(outside.calls).toHaveLength(3);
    expect(inside.calls).toEqual([]);
  });

  it('waits for no answer longer than its time, and reads no more than it needs', async () => {
    const silent = await sink(() => {});
    expect(await send(silent.url, { allowPrivate: true, timeoutMs: 200 })).toEqual({
      outcome: 'failed',
      reason: 'no answer within 200 ms',
    });
    const endless = await sink((_call, _n, response) => {
      const timer = setInterval(() => response.write('x'.repeat(10_000)), 1);
      response.on('close', () => clearInterval(timer));
    });
    const result = await send(endless.url, { allowPrivate: true });
    expect(result.outcome === 'answered' && result.body.length).toBe(16_384);
    const busy = await sink((_call, _n, response) => response.writeHead(429, { 'retry-after': '7' }).end());
    expect(await send(busy.url, { allowPrivate: true })).toMatchObject({ status: 429, retryAfterMs: 7_000 });
  });
});
