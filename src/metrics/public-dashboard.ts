/** The body of a public dashboard (contract 18.5), put together from reports. */
import type { Analytics } from './analytics.js';
import type { Asked } from './asked.js';
import { periodOf } from './period.js';

/**
 * Reports of the period beside those of the one before; hours are today's. Lists keep the rows of their own endpoints and have
 * the names that the share pages read besides; the wrapper objects are what their charts unwrap.
 * @param websiteId what the answer calls the site
 */
export async function publicDashboard(analytics: Analytics, asked: Asked, websiteId: string) {
  const { period, timezone, now } = asked;
  const today = { ...asked, period: periodOf({ days: 1 }, period.zone, now) };
  const [dashboard, days, hours, pages, referrers, countries, devices, geolocation, vitals] =
    await Promise.all([
      analytics.dashboard(asked),
      analytics.dailyStats(asked),
      analytics.hourlyStats(today),
      analytics.topPages(asked),
      analytics.topReferrers(asked),
      analytics.topCountries(asked),
      analytics.topDevices(asked),
      analytics.geolocation(asked),
      analytics.events.webVitals(asked),
    ]);
  const { live_visitors, total_visitors, unique_visitors, page_views, session_duration, bounce_rate } =
    dashboard;
  return {
    website_id: websiteId,
    date_range: dashboard.date_range,
    live_visitors,
    total_visitors,
    unique_visitors,
    page_views,
    session_duration,
    bounce_rate,
    comparison: dashboard.comparison,
    daily_stats: { website_id: websiteId, daily_stats: days, timezone },
    hourly_stats: { website_id: websiteId, hourly_stats: hours, timezone },
    top_pages: { website_id: websiteId, top_pages: pages },
    top_sources: { website_id: websiteId, top_referrers: referrers.map(withPageViews) },
    top_countries: { website_id: websiteId, top_countries: countries.map(withPageViews) },
    top_devices: { website_id: websiteId, top_devices: devices.map(withPageViews) },
    geolocation,
    web_vitals: vitals,
  };
}

const withPageViews = <T extends { readonly views: number }>(row: T) => ({ ...row, page_views: row.views });
