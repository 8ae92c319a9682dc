import type { AnyRoute } from '../edge/route.js';
import { heatmapRoutes } from '../edge/routes/heatmaps.js';
import type { Intake } from '../enrich/intake.js';
import type { HeatStore } from '../heatmaps/heat-store.js';
import { Heatmaps } from '../heatmaps/heatmaps.js';
import type { Telemetry } from '../telemetry.js';
import type { SiteNotices } from '../websites/site-notices.js';
import type { Lifecycle } from './lifecycle.js';

const SWEEP_MS = 600_000;
/** Paths of a site that its tracker is told. */
const TRACKED_PAGES = 1_000;
const TRACKED_PAGES_MS = 10_000;

/** The routes of heatmaps, and the sweeping of points that came after their page was deleted. */
export function composeHeatmaps(
  store: HeatStore,
  intake: Intake,
  notices: SiteNotices,
  telemetry: Telemetry,
  lifecycle: Lifecycle,
  bodyLimitBytes: number,
): readonly AnyRoute[] {
  const heatmaps = new Heatmaps({ store, telemetry, changed: (site) => notices.changed(site) });
  const sweep = async () => {
    try {
      const pages = await heatmaps.sweep();
      if (pages > 0) telemetry.log.info({ pages }, 'heat points of deleted pages were removed');
    } catch (err) {
      telemetry.log.warn({ err }, 'heat points of deleted pages could not be looked for');
    }
  };
  const timer = setInterval(() => void sweep(), SWEEP_MS);
  timer.unref();
  lifecycle.add('heatmap sweep', timer, async (it) => clearInterval(it));
  return heatmapRoutes({ heatmaps, intake, bodyLimitBytes });
}

/** What the tracker is told about the pages of a site that have heat points. */
export function trackedPagesOf(store: HeatStore): (siteId: string) => Promise<readonly string[]> {
  return (siteId) => store.trackedPages(siteId, TRACKED_PAGES, AbortSignal.timeout(TRACKED_PAGES_MS));
}
