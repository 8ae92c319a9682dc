import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { silentTelemetry } from '../telemetry.js';
import { EdgeRequest } from './request.js';
import { route } from './route.js';
import { NONE, startApp, type TestApp } from './testing.js';

let test: TestApp | undefined;
afterEach(() => test?.app.close());

const warnings: Error[] = [];
const keep = (warning: Error) => warnings.push(warning);
afterEach(() => {
  process.off('warning', keep);
  warnings.length = 0;
});

describe('the signal of a request', () => {
  it('has room for all the questions of a report', async () => {
    process.on('warning', keep);
    let left = 0;
    test = await startApp({
      telemetry: silentTelemetry(),
      routes: [
        route({
          ...{ method: 'GET', path: '/report', summary: 'A report', tag: 'test' },
          ...{ bucket: 'api', cors: 'api', access: 'public', params: NONE, query: NONE, responses: {} },
          async handle({ request }) {
            const questions = Array.from({ length: 40 }, async () => {
              await once(request.signal, 'abort');
              left++;
            });
            client.abort();
            await Promise.all(questions);
            over();
            return { status: 200, body: {} };
          },
        }),
      ],
    });
    const client = new AbortController();
    let over = (): void => undefined;
    const done = new Promise<void>((resolve) => {
      over = resolve;
    });
    await fetch(`${test.url}/report`, { signal: client.signal }).catch(() => undefined);
    await done;
    expect(left).toBe(40);
    // Warnings are told in a turn of their own.
    await new Promise((resolve) => setImmediate(resolve));
    expect(warnings).toEqual([]);
  });

  it('is aborted from the start when the client has left before it is asked for', () => {
    const request = new EdgeRequest('GET', '/', '', '', '', '', new Map(), null);
    request.abort();
    expect(request.signal.aborted).toBe(true);
  });
});
