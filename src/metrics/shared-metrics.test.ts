import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { silentTelemetry } from '../telemetry.js';
import type { MetricsStore, Scope, Totals } from './metrics-store.js';
import { type SharedMetricsOptions, shareMetrics } from './shared-metrics.js';

const TOTALS: Totals = { views: 1, visitors: 1, sessions: 1, bounces: 0, durationMs: 0, sessionViews: 1 };

/** A store whose totals are answered by hand. */
function manualStore() {
  const asked: { scope: Scope; signal: AbortSignal; answer(): void; fail(): void }[] = [];
  const never = () => Promise.reject(new Error('not asked for in this test'));
  const store: MetricsStore = {
    totals: (scope, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
        asked.push({ scope, signal, answer: () => resolve(TOTALS), fail: () => reject(new Error('broken')) });
      }),
    returningVisitors: never,
    timeline: never,
    breakdown: never,
    breakdowns: never,
    places: never,
    pages: never,
    eventTypes: never,
    oneEventType: never,
    countEventTypes: never,
    eventTimeline: never,
    properties: never,
    propertyValues: never,
    webVitals: never,
    cohorts: never,
    live: never,
    goals: never,
    funnel: never,
    trackedFunnels: never,
    close: () => Promise.resolve(),
  };
  return { store, asked };
}

const scope = (siteId: string): Scope => ({ siteId, from: 0, to: 1, filters: [] });
const wait = () => new AbortController().signal;

function setUp(options: Omit<SharedMetricsOptions, 'telemetry'> = {}) {
  const { store, asked } = manualStore();
  return { shared: shareMetrics(store, { telemetry: silentTelemetry(), ...options }), asked };
}

describe('shareMetrics', () => {
  it('asks once for equal questions at the same time and a moment after, and again for others', async () => {
    const { shared, asked } = setUp();
    const both = Promise.all([shared.totals(scope('a'), wait()), shared.totals(scope('a'), wait())]);
    await turn();
    expect(asked).toHaveLength(1);
    asked[0]?.answer();
    expect(await both).toEqual([TOTALS, TOTALS]);
    expect(await shared.totals(scope('a'), wait())).toEqual(TOTALS);
    expect(asked).toHaveLength(1);
    void shared.totals(scope('b'), wait());
    await turn();
    expect(asked).toHaveLength(2);
  });

  it('ends a question when the last caller has left, not before, and lets a newcomer ask anew', async () => {
    const { shared, asked } = setUp();
    const callers = [new AbortController(), new AbortController()];
    const answers = callers.map(({ signal }) => shared.totals(scope('a'), signal));
    await turn();
    callers[0]?.abort(new Error('gone'));
    await expect(answers[0]).rejects.toThrow('gone');
    expect(asked[0]?.signal.aborted).toBe(false);
    callers[1]?.abort(new Error('gone, too'));
    await expect(answers[1]).rejects.toThrow('gone, too');
    expect(asked[0]?.signal.aborted).toBe(true);
    const later = shared.totals(scope('a'), wait());
    await turn();
    asked[1]?.answer();
    expect(await later).toEqual(TOTALS);
  });

  it('forgets failures', async () => {
    const { shared, asked } = setUp();
    const failed = shared.totals(scope('a'), wait());
    await turn();
    asked[0]?.fail();
    await expect(failed).rejects.toThrow('broken');
    const again = shared.totals(scope('a'), wait());
    await turn();
    asked[1]?.answer();
    expect(await again).toEqual(TOTALS);
  });

  it('lets only so many through, makes some wait and refuses the rest', async () => {
    const { shared, asked } = setUp({ concurrency: 1, queueLimit: 1 });
    const first = shared.totals(scope('a'), wait());
    const second = shared.totals(scope('b'), wait());
    await turn();
    await expect(shared.totals(scope('c'), wait())).rejects.toMatchObject({ code: 'overloaded' });
    expect(asked.map((one) => one.scope.siteId)).toEqual(['a']);
    asked[0]?.answer();
    await first;
    await turn();
    expect(asked.map((one) => one.scope.siteId)).toEqual(['a', 'b']);
    asked[1]?.answer();
    expect(await second).toEqual(TOTALS);
  });

  it('keeps an answer as long as it is young, counted from when it was asked for', async () => {
    const { shared, asked } = setUp({ ttlMs: 20 });
    const first = shared.totals(scope('a'), wait());
    const start = performance.now();
    while (performance.now() < start + 25) await turn();
    asked[0]?.answer();
    await first;
    void shared.totals(scope('a'), wait());
    await turn();
    expect(asked).toHaveLength(2);
  });

  it('keeps no place for who has left', async () => {
    const { shared, asked } = setUp({ concurrency: 1, queueLimit: 2 });
    const first = shared.totals(scope('a'), wait());
    const caller = new AbortController();
    const left = [scope('b'), scope('c')].map((one) => shared.totals(one, caller.signal));
    await turn();
    caller.abort(new Error('gone'));
    for (const one of left) await expect(one).rejects.toThrow('gone');
    const second = shared.totals(scope('d'), wait());
    await turn();
    asked[0]?.answer();
    await first;
    await turn();
    asked[1]?.answer();
    expect(await second).toEqual(TOTALS);
  });

  it('serves sites in turn and refuses one that asks too much, not the others', async () => {
    const { shared, asked } = setUp({ concurrency: 1, queueLimit: 4 });
    const ask = (siteId: string, to: number) => shared.totals({ ...scope(siteId), to }, wait());
    const taken = [ask('noisy', 1), ask('noisy', 2), ask('noisy', 3)];
    await turn();
    await expect(ask('noisy', 4)).rejects.toMatchObject({ code: 'overloaded' });
    taken.push(ask('quiet', 1));
    for (let i = 0; i < 4; i++) {
      await turn();
      asked[i]?.answer();
      await turn();
    }
    await Promise.all(taken);
    expect(asked.map((one) => one.scope.siteId)).toEqual(['noisy', 'noisy', 'quiet', 'noisy']);
  });

  it('drops a question from the queue when its caller leaves', async () => {
    const { shared, asked } = setUp({ concurrency: 1 });
    const first = shared.totals(scope('a'), wait());
    const caller = new AbortController();
    const second = shared.totals(scope('b'), caller.signal);
    await turn();
    caller.abort(new Error('gone'));
    await expect(second).rejects.toThrow('gone');
    asked[0]?.answer();
    await first;
    await turn();
    expect(asked).toHaveLength(1);
    const third = shared.totals(scope('c'), wait());
    await turn();
    asked[1]?.answer();
    expect(await third).toEqual(TOTALS);
  });
});
