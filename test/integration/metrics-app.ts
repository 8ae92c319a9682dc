/** The analytics routes over HTTP with a clock that stands, before one store. */
import { createApp } from '../../src/edge/app.js';
import { createRateLimiter } from '../../src/edge/rate-limit.js';
import type { AnyRoute } from '../../src/edge/route.js';
import { analyticsRoutes } from '../../src/edge/routes/analytics.js';
import { Analytics } from '../../src/metrics/analytics.js';
import type { HeatPointTotals } from '../../src/metrics/event-reports.js';
import type { MetricsStore } from '../../src/metrics/metrics-store.js';
import { shareMetrics } from '../../src/metrics/shared-metrics.js';
import { createMemoryCache } from '../../src/storage/cache/memory-cache.js';
import { silentTelemetry } from '../../src/telemetry.js';
import type { Site } from '../../src/websites/site.js';

/** UUID of the first site. */
export const UUID = '0b7b9ad0-5f0c-4c55-8f0e-1f2a3b4c5d6e';

const site = (siteId: string): Site => ({
  id: UUID,
  siteId,
  ownerId: UUID,
  name: 'Example',
  host: 'example.com',
  isActive: true,
  respectDoNotTrack: false,
  cutAddress: false,
  storeAddress: false,
  allowRawDataExport: false,
  allowedHosts: [],
  automationEnabled: false,
  funnelEnabled: false,
  heatmapEnabled: false,
  replayEnabled: false,
  replaySamplingRate: 0,
  heatmapIncludePatterns: null,
  heatmapExcludePatterns: null,
  replayIncludePatterns: null,
  replayExcludePatterns: null,
});

/** No point anywhere. */
export const NO_HEAT: HeatPointTotals = {
  typeTotals: () => Promise.resolve({ rage_click: 0, dead_click: 0 }),
};

export interface MetricsApp {
  readonly routes: readonly AnyRoute[];
  /** GET of `name/id?query` beneath `/api/v1/analytics/`. */
  get(path: string): Promise<{ readonly status: number; readonly body: unknown }>;
  close(): Promise<void>;
}

/** @param clock ms since epoch; @param siteIds the sites that there are; the first one has a UUID, too */
export async function openMetricsApp(
  store: MetricsStore,
  clock: number,
  siteIds: readonly string[],
  heat: HeatPointTotals = NO_HEAT,
): Promise<MetricsApp> {
  const telemetry = silentTelemetry();
  const sites = new Map(siteIds.map((id) => [id, site(id)]));
  const [first = ''] = siteIds;
  sites.set(UUID, site(first));
  // What is stored does not change: one answer to equal questions keeps tests short.
  const analytics = new Analytics(shareMetrics(store, { telemetry, ttlMs: 60_000, liveTtlMs: 60_000 }), heat);
  const routes = analyticsRoutes({ analytics, clock: () => clock });
  const cache = createMemoryCache({ telemetry });
  const limits = { ingest: 0, auth: 0, api: 0, admin: 0, internal: 0 };
  const rateLimiter = createRateLimiter({ cache, telemetry, limits });
  const app = createApp({
    telemetry,
    routes,
    rateLimiter,
    cors: { allowedOrigins: [], production: true },
    trustedProxies: { trust: [] },
    authenticate: async () => ({ kind: 'account', userId: UUID, email: 'a@example.com', role: 'user' }),
    resolveSite: async (id) => sites.get(id) ?? null,
    authorize: (_principal, _site, action) => action === 'read',
  });
  const base = `http://127.0.0.1:${await app.listen(0, '127.0.0.1')}/api/v1/analytics`;
  return {
    routes,
    async get(path) {
      const response = await fetch(`${base}/${path}`, { headers: { authorization: 'Bearer x' } });
      const body: unknown = await response.json();
      return { status: response.status, body };
    },
    async close() {
      await app.close();
      await rateLimiter.close();
      await cache.close();
    },
  };
}
