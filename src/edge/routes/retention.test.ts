import { expect, it } from 'vitest';
import type { RetentionRun } from '../../privacy/retention.js';
import { startApp } from '../testing.js';
import { retentionRoutes } from './retention.js';

const DONE: RetentionRun = { startedAt: 0, finishedAt: 0, sites: 1, deleted: new Map(), isComplete: true };

it('a cleanup that has to wait for another is one for all who ask, and keeps nobody waiting for long', async () => {
  const runs: ((run: RetentionRun) => void)[] = [];
  const retention = { run: () => new Promise<RetentionRun>((resolve) => runs.push(resolve)) };
  const routes = retentionRoutes({ retention, websites: { list: async () => [] }, waitMs: 100 });
  const { app, url } = await startApp({ routes });
  const ask = async () => {
    const headers = { authorization: 'Bearer admin' };
    const answer = await fetch(`${url}/api/v1/privacy/cleanup`, { method: 'POST', headers });
    return [answer.status, answer.headers.get('retry-after')];
  };
  expect(await Promise.all([ask(), ask()])).toEqual([
    [503, '60'],
    [503, '60'],
  ]);
  expect(runs).toHaveLength(1);
  runs[0]?.(DONE);
  const next = ask();
  while (runs.length < 2) await new Promise((resolve) => setImmediate(resolve));
  runs[1]?.(DONE);
  expect((await next)[0]).toBe(200);
  await app.close();
});
