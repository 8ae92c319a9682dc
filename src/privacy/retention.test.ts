import { afterEach, describe, expect, it, vi } from 'vitest';
import type { WebsiteRecord } from '../storage/metadata/metadata.js';
import { silentTelemetry } from '../telemetry.js';
import { createRetention, keptSince, type Retention } from './retention.js';
import type { Expiry } from './retention-store.js';

const DAY = 86_400_000;
/** Short, because time that is made to pass passes for whatever else this process still does. */
const CHECK = 60;
const NOW = Date.UTC(2026, 4, 20, 13);

const site = (n: number, dataRetentionDays: number): WebsiteRecord => ({
  ...{ id: `id-${n}`, siteId: n.toString(16).padStart(24, '0'), userId: 'u', name: 'S', url: 's.example' },
  ...{ trackingId: 't', isActive: true, isVerified: false, automationEnabled: true, funnelEnabled: true },
  ...{ heatmapEnabled: true, heatmapIncludePatterns: null, heatmapExcludePatterns: null },
  ...{ replayEnabled: true, replaySamplingRate: 1, replayIncludePatterns: null, replayExcludePatterns: null },
  ...{ settings: { dataRetentionDays }, createdAt: new Date(0), updatedAt: new Date(0) },
});

const opened: Retention[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const retention of opened.splice(0)) await retention.close();
});

function setUp(sites: WebsiteRecord[]) {
  const state = { now: NOW, isComplete: true, away: false };
  const pages: (readonly Expiry[])[] = [];
  const ofNoSite: Expiry[] = [];
  const recordings: string[] = [];
  const executions = [2_000, 7];
  const telemetry = silentTelemetry();
  const retention = createRetention({
    websites: {
      pageOfAll: async (after, limit) => sites.filter(({ siteId }) => siteId > after).slice(0, limit),
    },
    store: {
      async deleteExpired(expiries) {
        if (state.away) throw new Error('away');
        if (expiries[0]?.siteId === '') {
          ofNoSite.push(...expiries);
          return { rows: new Map(), isComplete: true };
        }
        pages.push(expiries);
        return { rows: new Map([['events', expiries.length]]), isComplete: state.isComplete };
      },
    },
    deleteRecordings: async (siteId) => {
      recordings.push(siteId);
      return 0;
    },
    executions: { expireOf: async () => executions.shift() ?? 0 },
    forgetNotes: async () => {},
    lock: (work) => work(),
    telemetry,
    checkMs: CHECK,
    now: () => state.now,
  });
  opened.push(retention);
  return { retention, sites, state, pages, ofNoSite, recordings, telemetry };
}

describe('removal by age', () => {
  it('keeps today and as many UTC days before it as the site wants', () => {
    expect(keptSince(1, NOW)).toBe(Date.UTC(2026, 4, 19));
    expect(keptSince(365, Date.UTC(2026, 4, 20))).toBe(Date.UTC(2025, 4, 20));
    expect(keptSince(36_500, NOW)).toBe(0);
  });

  it('goes through all sites in pages, each with its own days', async () => {
    const { retention, pages, recordings } = setUp(Array.from({ length: 1_203 }, (_, n) => site(n, n + 1)));
    const run = await retention.run(60_000);
    expect(pages.map((page) => page.length)).toEqual([500, 500, 203]);
    expect(pages[2]?.[0]).toEqual({
      siteId: (1000).toString(16).padStart(24, '0'),
      before: keptSince(1_001, NOW),
    });
    expect(recordings).toHaveLength(1_203);
    expect(run).toMatchObject({ sites: 1_203, isComplete: true });
    expect(Object.fromEntries(run.deleted)).toEqual({ events: 1_203, automation_executions: 2_007 });
  });

  it('keeps what is of no site as long as the strictest site wants', async () => {
    const { retention, ofNoSite, recordings } = setUp([site(1, 30), site(2, 7), site(3, 365)]);
    expect(await retention.run(60_000)).toMatchObject({ sites: 3, isComplete: true });
    expect(ofNoSite).toEqual([{ siteId: '', before: keptSince(7, NOW) }]);
    expect(recordings).not.toContain('');
  });

  it('P9: keeps what is of no site no longer than a year when there are no sites, day by day', async () => {
    vi.useFakeTimers();
    const { retention, state, ofNoSite } = setUp([]);
    retention.start();
    await vi.advanceTimersByTimeAsync(1);
    state.now += DAY;
    await vi.advanceTimersByTimeAsync(CHECK);
    expect(ofNoSite).toEqual([
      { siteId: '', before: keptSince(365, NOW) },
      { siteId: '', before: keptSince(365, NOW + DAY) },
    ]);
  });

  it('stops when its time is over, and says so', async () => {
    const { retention, state, recordings, telemetry } = setUp([site(1, 30), site(2, 30)]);
    state.isComplete = false;
    expect(await retention.run(60_000)).toMatchObject({ isComplete: false });
    expect(recordings).toEqual([]);
    state.isComplete = true;
    expect(await retention.run(0)).toMatchObject({ isComplete: false });
    expect(recordings).toEqual([]);
    const metrics = await telemetry.registry.metrics();
    expect(metrics).toContain('seentics_retention_runs_total{outcome="partial"} 2');
    expect(metrics).toContain('seentics_retention_last_success_timestamp_seconds 0');
  });

  it('runs by itself once a day, again when a setting has changed, and again after a failure', async () => {
    vi.useFakeTimers();
    const { retention, sites, state, pages, telemetry } = setUp([site(1, 30)]);
    retention.start();
    await vi.advanceTimersByTimeAsync(1);
    expect(pages).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(3 * CHECK);
    expect(pages).toHaveLength(1);
    sites[0] = site(1, 7);
    await vi.advanceTimersByTimeAsync(CHECK);
    expect(pages).toHaveLength(2);
    state.now += DAY;
    state.away = true;
    await vi.advanceTimersByTimeAsync(CHECK);
    expect(pages).toHaveLength(2);
    expect(await telemetry.registry.metrics()).toContain('seentics_retention_runs_total{outcome="failed"} 1');
    state.away = false;
    await vi.advanceTimersByTimeAsync(CHECK);
    expect(pages).toHaveLength(3);
    await vi.advanceTimersByTimeAsync(CHECK);
    expect(pages).toHaveLength(3);
  });
});
