/** A site's figures as a file: what an owner takes along (contract 14.1). */
import type { Analytics } from './analytics.js';
import type { Asked } from './asked.js';

/** Rows of either list in the JSON form. */
const LIST_LIMIT = 100;

/** The figures of a period and its best pages and sources, at most 100 of each. */
export async function report(analytics: Analytics, asked: Asked) {
  const long = { ...asked, limit: LIST_LIMIT };
  const [{ metrics }, pages, sources] = await Promise.all([
    analytics.dashboard(asked),
    analytics.topPages(long),
    analytics.topSources(long),
  ]);
  return {
    website_id: asked.siteId,
    period_days: asked.period.days,
    metrics,
    top_pages: pages,
    top_sources: sources,
    exported_at: new Date(asked.now).toISOString(),
  };
}

/** The same figures as a table of names and numbers. No text of visitors is in it, so nothing in it can be a formula. */
export async function reportTable(analytics: Analytics, asked: Asked): Promise<string> {
  const { metrics } = await analytics.dashboard(asked);
  const rows = [
    ['Metric', 'Value'],
    ['Total Visitors', metrics.total_visitors],
    ['Unique Visitors', metrics.unique_visitors],
    ['Page Views', metrics.page_views],
    ['Avg Session Duration', metrics.avg_session_time.toFixed(2)],
    ['Bounce Rate', metrics.bounce_rate.toFixed(2)],
  ];
  return `${rows.map((row) => row.join(',')).join('\n')}\n`;
}
