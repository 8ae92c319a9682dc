import { describe, expect, it } from 'vitest';
import { AppError } from '../errors.js';
import type { FunnelMetrics } from '../metrics/funnel-metrics.js';
import { parseParameters } from '../metrics/parameters.js';
import type { FunnelRecord } from '../storage/metadata/metadata.js';
import { allFunnelStats, funnelStats } from './funnel-stats.js';
import { type FunnelAsked, funnelAsked } from './parameters.js';

const NOW = Date.parse('2026-11-02T12:00:00Z');
const asked: FunnelAsked = funnelAsked(
  { ...parseParameters({}, 30, NOW), siteId: 'site', now: NOW, signal: new AbortController().signal },
  {},
);

const funnelOf = (id: string, steps = 2): FunnelRecord => ({
  id,
  siteId: 'site',
  userId: 'user',
  name: id,
  description: '',
  isActive: true,
  createdAt: new Date(NOW),
  updatedAt: new Date(NOW),
  steps: Array.from({ length: steps }, (_, i) => ({
    id: `${id}-${i}`,
    name: `Step ${i}`,
    order: i,
    stepType: 'event',
    pagePath: null,
    eventType: `${id}`,
    matchType: 'exact',
  })),
});

/** A store in which some funnels, known by the event of their steps, fail. */
function storeOf(failures: Readonly<Record<string, AppError>> = {}) {
  const seen = { running: 0, most: 0, steps: [] as number[] };
  const store: FunnelMetrics = {
    async funnel(_scope, { steps }) {
      seen.most = Math.max(seen.most, ++seen.running);
      await new Promise((resolve) => setImmediate(resolve));
      seen.running--;
      seen.steps.push(steps.length);
      const [first] = steps;
      const failure = first?.on === 'event' ? failures[first.type] : undefined;
      if (failure) throw failure;
      return [{ label: '', steps: steps.map(() => ({ visitors: 3, medianMs: null })) }];
    },
    trackedFunnels: async () => [],
  };
  return { store, seen };
}

describe('statistics of many funnels', () => {
  it('are asked for a few at a time', async () => {
    const { store, seen } = storeOf();
    const funnels = Array.from({ length: 30 }, (_, i) => funnelOf(`f${i}`));
    expect((await allFunnelStats(store, funnels, asked)).size).toBe(30);
    expect(seen.most).toBe(4);
  });

  it.each(['timeout', 'query_too_expensive'] as const)(
    'leave out a funnel that ends with %s',
    async (code) => {
      const { store } = storeOf({ heavy: new AppError(code, 'too much') });
      const stats = await allFunnelStats(store, [funnelOf('heavy'), funnelOf('light')], asked);
      expect([...stats.keys()]).toEqual(['light']);
      await expect(funnelStats(store, funnelOf('heavy'), asked)).rejects.toMatchObject({ code });
    },
  );

  it('fail when the store is away', async () => {
    const { store } = storeOf({ any: new AppError('storage_unavailable', 'away') });
    await expect(allFunnelStats(store, [funnelOf('any')], asked)).rejects.toMatchObject({
      code: 'storage_unavailable',
    });
  });

  it('count the first twenty steps, of what the original let be longer', async () => {
    const { store, seen } = storeOf();
    const { stepBreakdown } = await funnelStats(store, funnelOf('long', 25), asked);
    expect([stepBreakdown.length, seen.steps]).toEqual([20, [20]]);
  });
});
