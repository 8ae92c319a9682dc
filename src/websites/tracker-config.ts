import { createLookup } from '../storage/cache/lookup.js';
import type { ClickGoal, FunnelRecord, FunnelStore, GoalStore } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';
import type { Site } from './site.js';
import type { SiteNotices } from './site-notices.js';

export interface TrackerConfigOptions {
  readonly goals: Pick<GoalStore, 'withSelector'>;
  readonly funnels: Pick<FunnelStore, 'active'>;
  /** Pages of a site that have heat points; never rejects. */
  readonly trackedPages: (siteId: string) => Promise<readonly string[]>;
  readonly notices: Pick<SiteNotices, 'onChange'>;
  readonly telemetry: Telemetry;
  /** Default 30,000. */
  readonly ttlMs?: number;
  /** Monotonic clock in ms, for tests. */
  readonly now?: () => number;
}

/** How long what is known serves on while the store cannot be reached, as long as the sites themselves do. */
const MAX_STALE_MS = 60 * 60_000;

/** What a tracker asks for at every page load; kept in this process, so that page loads cost no queries. */
export interface TrackerConfigs {
  clickGoals(site: Site): Promise<readonly ClickGoal[]>;
  /** [] when the site has funnels switched off. */
  activeFunnels(site: Site): Promise<readonly FunnelRecord[]>;
  /** Pages that have heat points; [] when the site has heatmaps switched off. */
  trackedPages(site: Site): Promise<readonly string[]>;
}

export function createTrackerConfigs(options: TrackerConfigOptions): TrackerConfigs {
  const { ttlMs = 30_000, telemetry, now = () => performance.now() } = options;
  const limits = { maxEntries: 20_000, ttlMs, staleMs: MAX_STALE_MS, telemetry, now };
  const goals = createLookup({ ...limits, name: 'click_goals', load: options.goals.withSelector });
  const funnels = createLookup({ ...limits, name: 'active_funnels', load: options.funnels.active });
  options.notices.onChange(({ id, siteId }) => {
    goals.drop(id);
    funnels.drop(siteId);
  });
  return {
    clickGoals: (site) => goals.get(site.id),
    activeFunnels: async (site) => (site.funnelEnabled ? funnels.get(site.siteId) : []),
    trackedPages: async (site) => (site.heatmapEnabled ? options.trackedPages(site.siteId) : []),
  };
}
