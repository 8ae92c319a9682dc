/** The read endpoints of contract section 7. What the numbers mean: metrics.md and docs/metrics-notes.md. */
import Type, { type TProperties } from 'typebox';
import { AppError } from '../../errors.js';
import type { Analytics } from '../../metrics/analytics.js';
import { type Asked, ask } from '../../metrics/asked.js';
import { FILTER_FIELDS } from '../../metrics/filters.js';
import { type AnalyticsQuery, hasDates, ofOwnTime, ofTwicePeriod } from '../../metrics/parameters.js';
import { type AnyRoute, siteRoute } from '../route.js';
import * as body from './analytics-bodies.js';

export interface AnalyticsRoutesOptions {
  readonly analytics: Analytics;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
}

const Params = Type.Object({ website_id: Type.String({ description: 'UUID or public site id' }) });
const text = (description: string) => Type.Optional(Type.String({ description }));

/** Texts, so that what is wrong with them is told by the domain, with one code. */
export const ANALYTICS_PARAMETERS = {
  days: text('1 to 3650: from local midnight of today - (days - 1) days until now'),
  from: text('YYYY-MM-DD, local, inclusive; wins over days'),
  to: text('YYYY-MM-DD, local, inclusive'),
  timezone: text('IANA name, default UTC'),
  limit: text('1 to 1000, default 10'),
  ...Object.fromEntries(
    FILTER_FIELDS.map((field) => [
      field,
      text('Filter: value, a,b (any), !value (not), ~text (contains); \\, \\! \\~ are the signs themselves'),
    ]),
  ),
};
const eventParameters = {
  event: text('Type of custom events; required'),
  property: text('Whose values are wanted; without it the names of all properties are answered'),
};

const LONGEST_HOURLY_DAYS = 31;

type ReportQuery = AnalyticsQuery & { readonly event?: string; readonly property?: string };

/** All reads of a site's figures, for whoever may read the site. */
export function analyticsRoutes({ analytics, clock = Date.now }: AnalyticsRoutesOptions): AnyRoute[] {
  const { behaviour, events } = analytics;
  const report = <T extends TProperties>(
    name: string,
    summary: string,
    answer: Type.TObject<T>,
    defaultDays: number,
    make: (asked: Asked, websiteId: string, query: ReportQuery) => Promise<unknown>,
    more: Readonly<Record<string, ReturnType<typeof text>>> = {},
    heeded: (query: AnalyticsQuery) => AnalyticsQuery = (query) => query,
  ): AnyRoute =>
    siteRoute({
      method: 'GET',
      path: `/api/v1/analytics/${name}/:website_id`,
      summary,
      tag: 'Analytics',
      bucket: 'api',
      cors: 'api',
      access: { site: 'read' },
      siteFrom: { param: 'website_id' },
      params: Params,
      query: Type.Object({ ...ANALYTICS_PARAMETERS, ...more }),
      responses: { 200: answer },
      async handle({ params, query, site, request }) {
        const asked = ask(site.siteId, heeded(query), defaultDays, clock(), request.signal);
        return {
          status: 200,
          body: await make(asked, params.website_id, query),
          headers: { 'Cache-Control': 'private, no-cache' },
        };
      },
    });

  return [
    report(
      'dashboard',
      'The figures of a period beside those of the one before',
      body.Dashboard,
      7,
      (asked) => analytics.dashboard(asked),
    ),
    report(
      'daily-stats',
      'Every day of a period; from 3651 to 7300 days asked for (a comparison), the last 3650',
      body.DailyStats,
      30,
      async (asked, website_id) => ({
        website_id,
        daily_stats: await analytics.dailyStats(asked),
        timezone: asked.timezone,
      }),
      {},
      ofTwicePeriod,
    ),
    report(
      'hourly-stats',
      'Every hour of today, or of the days from and to (at most 31)',
      body.HourlyStats,
      1,
      async (asked, website_id) => ({
        website_id,
        timezone: asked.timezone,
        hourly_stats: await analytics.hourlyStats(ofHours(asked)),
      }),
      {},
      (query) => (hasDates(query) ? query : ofOwnTime(query)),
    ),
    report('top-pages', 'Pages by visitors', body.TopPages, 7, async (asked, website_id) => ({
      website_id,
      top_pages: await analytics.topPages(asked),
    })),
    report(
      'top-referrers',
      'Referring hosts by visitors',
      body.TopReferrers,
      7,
      async (asked, website_id) => ({
        website_id,
        top_referrers: await analytics.topReferrers(asked),
      }),
    ),
    report('top-sources', 'Channels by visitors', body.TopSources, 7, async (asked, website_id) => ({
      website_id,
      top_sources: await analytics.topSources(asked),
    })),
    report('top-countries', 'Countries by visitors', body.TopCountries, 7, async (asked, website_id) => ({
      website_id,
      top_countries: await analytics.topCountries(asked),
    })),
    report(
      'top-browsers',
      'Browser families by visitors',
      body.TopBrowsers,
      7,
      async (asked, website_id) => ({
        website_id,
        top_browsers: await analytics.topBrowsers(asked),
      }),
    ),
    report('top-devices', 'Device kinds by visitors', body.TopDevices, 7, async (asked, website_id) => ({
      website_id,
      top_devices: await analytics.topDevices(asked),
    })),
    report('top-os', 'Operating systems by visitors', body.TopOs, 7, async (asked, website_id) => ({
      website_id,
      top_os: await analytics.topOs(asked),
    })),
    report(
      'top-resolutions',
      'Screen sizes by visitors',
      body.TopResolutions,
      7,
      async (asked, website_id) => ({
        website_id,
        top_resolutions: await analytics.topResolutions(asked),
      }),
    ),
    report('geolocation-breakdown', 'Where visitors are', body.Geolocation, 7, (asked) =>
      analytics.geolocation(asked),
    ),
    report(
      'visitor-insights',
      'New and returning visitors, entry and exit pages',
      body.VisitorInsights,
      7,
      async (asked, website_id) => ({ website_id, visitor_insights: await analytics.visitorInsights(asked) }),
    ),
    report('traffic-summary', 'Totals of a period and their growth', body.TrafficSummary, 7, (asked) =>
      behaviour.trafficSummary(asked),
    ),
    report(
      'activity-trends',
      'The last 24 hours',
      body.ActivityTrends,
      1,
      async (asked) => ({
        website_id: asked.siteId,
        trends: await behaviour.activityTrends(asked),
      }),
      {},
      ofOwnTime,
    ),
    report(
      'custom-events',
      'Custom events and tagged campaigns',
      body.CustomEvents,
      7,
      async (asked, website_id) => ({
        website_id,
        ...(await events.customEvents(asked)),
      }),
    ),
    report(
      'page-utm-breakdown',
      'Campaigns of the sessions that viewed a page',
      body.PageUtm,
      7,
      (asked, _, query) => {
        if (!query.page_path?.trim())
          throw new AppError('invalid_parameter', 'page_path query parameter is required');
        return events.pageUtm(asked);
      },
    ),
    report(
      'event-properties',
      'Properties of a type of custom events, or the values of one of them',
      body.EventProperties,
      7,
      async (asked, website_id, { event, property }) => ({
        website_id,
        ...(await events.eventProperties(asked, event, property)),
      }),
      eventParameters,
    ),
    report(
      'web-vitals',
      'How fast pages were for visitors',
      body.WebVitals,
      7,
      async (asked, website_id) => ({
        website_id,
        web_vitals: await events.webVitals(asked),
      }),
    ),
    report(
      'user-retention',
      'Who came back: after days and by week of first visit',
      body.Retention,
      30,
      async (asked) => ({
        website_id: asked.siteId,
        ...(await behaviour.retention(asked)),
      }),
      {},
      ofWholeSite,
    ),
    report(
      'live-visitors',
      'Visitors of the last five minutes',
      body.LiveVisitors,
      1,
      async (asked, website_id) => ({ website_id, live_visitors: await analytics.live(asked) }),
      {},
      ofWholeSite,
    ),
  ];
}

/** @throws AppError `invalid_parameter` when the dates are too far apart */
function ofHours(asked: Asked): Asked {
  if (asked.period.days <= LONGEST_HOURLY_DAYS) return asked;
  throw new AppError('invalid_parameter', `hours of at most ${LONGEST_HOURLY_DAYS} days can be asked for`);
}

/** What takes neither a period nor filters. */
const ofWholeSite = ({ timezone }: AnalyticsQuery): AnalyticsQuery => ({ timezone });
