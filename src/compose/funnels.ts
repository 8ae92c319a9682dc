import type { Config } from '../config.js';
import type { AnyRoute } from '../edge/route.js';
import { funnelTrackingRoutes } from '../edge/routes/funnel-tracking.js';
import { funnelRoutes } from '../edge/routes/funnels.js';
import { goalRoutes } from '../edge/routes/goals.js';
import type { Intake } from '../enrich/intake.js';
import { createFunnelService } from '../funnels/funnel-service.js';
import { createGoalService } from '../goals/goal-service.js';
import type { MetricsStore } from '../metrics/metrics-store.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type { SiteNotices } from '../websites/site-notices.js';

/**
 * Goals and funnels: their definitions, their figures, and what trackers report of funnels.
 * @param metrics shared with all other reports
 */
export function composeFunnels(
  config: Pick<Config, 'MAX_EVENT_BODY_BYTES'>,
  metadata: Pick<MetadataStore, 'goals' | 'funnels'>,
  metrics: MetricsStore,
  notices: SiteNotices,
  intake: Intake,
): readonly AnyRoute[] {
  return [
    ...goalRoutes({ goals: createGoalService({ goals: metadata.goals, notices }), metrics }),
    ...funnelRoutes({ funnels: createFunnelService({ funnels: metadata.funnels, notices }), metrics }),
    ...funnelTrackingRoutes({ intake, bodyLimitBytes: config.MAX_EVENT_BODY_BYTES }),
  ];
}
