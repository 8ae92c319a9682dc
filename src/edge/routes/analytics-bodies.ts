/** Answers of the analytics endpoints: contract section 7 with the additions of section 20. */
import Type, { type TSchema } from 'typebox';

const integer = Type.Integer();
const number = Type.Number();
const string = Type.String();
const percentage = Type.Number({ description: 'Percent, two decimal places' });
const list = <T extends TSchema>(item: T) => Type.Array(item);
const change = Type.Union([Type.Number(), Type.Null()], {
  description: 'Percent, -100 to 1000; null: nothing to compare with',
});

const Metrics = Type.Object({
  page_views: integer,
  total_visitors: Type.Integer({ description: 'Sessions (the name is historical)' }),
  unique_visitors: integer,
  sessions: integer,
  bounce_rate: percentage,
  avg_session_time: Type.Number({ description: 'Seconds' }),
  pages_per_session: number,
});

const row = { views: integer, unique: integer, visitors: integer, bounce_rate: percentage };
const Page = Type.Object({
  page: string,
  ...row,
  avg_time: Type.Number({ description: 'Seconds' }),
  entry_rate: percentage,
  exit_rate: percentage,
});
const Source = Type.Object({
  source: string,
  views: integer,
  unique_visitors: integer,
  unique: integer,
  bounce_rate: percentage,
});
const Country = Type.Object({
  country: string,
  code: Type.String({ description: "ISO 3166-1 alpha-2, '' unknown" }),
  ...row,
});
const TopItem = Type.Object({ name: string, code: Type.Optional(string), count: integer, percentage });
const bucket = { views: integer, unique: integer, sessions: integer, bounce_rate: percentage };

export const Geolocation = Type.Object({
  countries: list(TopItem),
  continents: list(TopItem),
  regions: list(TopItem),
  cities: list(TopItem),
});

export const Dashboard = Type.Object({
  website_id: string,
  date_range: Type.Integer({ description: 'Days' }),
  total_visitors: integer,
  unique_visitors: integer,
  live_visitors: integer,
  page_views: integer,
  session_duration: Type.Number({ description: 'Seconds' }),
  bounce_rate: percentage,
  new_visitors: integer,
  returning_visitors: integer,
  comparison: Type.Object({
    current_period: Metrics,
    previous_period: Metrics,
    total_visitor_change: change,
    visitor_change: change,
    pageview_change: change,
    session_change: change,
    bounce_change: change,
    duration_change: change,
  }),
  metrics: Metrics,
  top_pages: list(Page),
  top_sources: list(Source),
  top_countries: list(Country),
  top_resolutions: list(TopItem),
  geolocation: Geolocation,
});

export const DailyStats = Type.Object({
  website_id: string,
  daily_stats: list(Type.Object({ date: Type.String({ description: 'YYYY-MM-DD' }), ...bucket })),
  timezone: string,
});
export const HourlyStats = Type.Object({
  website_id: string,
  timezone: string,
  hourly_stats: list(
    Type.Object({
      hour: Type.String({ description: 'Local, YYYY-MM-DD HH:00:00' }),
      ...bucket,
      timestamp: Type.String({ format: 'date-time' }),
      hour_label: Type.String({ description: 'Local, HH:MM' }),
    }),
  ),
});
export const TopPages = Type.Object({ website_id: string, top_pages: list(Page) });
export const TopReferrers = Type.Object({
  website_id: string,
  top_referrers: list(Type.Object({ referrer: string, ...row })),
});
export const TopSources = Type.Object({ website_id: string, top_sources: list(Source) });
export const TopCountries = Type.Object({ website_id: string, top_countries: list(Country) });
export const TopBrowsers = Type.Object({
  website_id: string,
  top_browsers: list(Type.Object({ browser: string, ...row })),
});
export const TopDevices = Type.Object({
  website_id: string,
  top_devices: list(Type.Object({ device: string, ...row })),
});
export const TopOs = Type.Object({ website_id: string, top_os: list(Type.Object({ os: string, ...row })) });
export const TopResolutions = Type.Object({ website_id: string, top_resolutions: list(TopItem) });
export const VisitorInsights = Type.Object({
  website_id: string,
  visitor_insights: Type.Object({
    new_visitors: integer,
    returning_visitors: integer,
    avg_session_duration: Type.Number({ description: 'Seconds' }),
    new_visitor_percentage: percentage,
    returning_visitor_percentage: percentage,
    top_entry_pages: list(Type.Object({ page: string, sessions: integer, bounce_rate: percentage })),
    top_exit_pages: list(Type.Object({ page: string, sessions: integer, exit_rate: percentage })),
  }),
});
export const LiveVisitors = Type.Object({ website_id: string, live_visitors: integer });

export const TrafficSummary = Type.Object({
  total_page_views: integer,
  total_visitors: integer,
  unique_visitors: integer,
  total_sessions: integer,
  bounce_rate: percentage,
  avg_session_time: number,
  pages_per_session: number,
  growth_rate: percentage,
  visitors_growth_rate: percentage,
  sessions_growth_rate: percentage,
  new_visitors: integer,
  returning_visitors: integer,
  engagement_score: Type.Number({ description: 'Percent of sessions that did not bounce' }),
  retention_rate: Type.Number({ description: 'Percent of visitors who had been there before' }),
});
export const ActivityTrends = Type.Object({
  website_id: string,
  trends: list(
    Type.Object({
      timestamp: Type.String({ format: 'date-time' }),
      visitors: integer,
      page_views: integer,
      events: Type.Integer({ description: 'Custom events' }),
      sessions: integer,
      engagement: Type.Number({ description: 'Page views a session' }),
      label: string,
      hour: string,
      time: Type.String({ format: 'date-time' }),
      users: integer,
      pageViews: integer,
    }),
  ),
});

const sample = Type.Record(Type.String(), Type.Unknown());
const campaigns = <K extends string>(key: K) =>
  list(
    Type.Object({
      ...named(key),
      visits: integer,
      unique_visitors: integer,
      pageviews: Type.Optional(integer),
      sessions: Type.Optional(integer),
    }),
  );
function named(key: string): Record<string, typeof string> {
  return { [key]: string };
}

export const CustomEvents = Type.Object({
  website_id: string,
  top_events: list(
    Type.Object({
      event_type: string,
      count: integer,
      unique_visitors: Type.Optional(
        Type.Integer({ description: 'Absent of clicks that heatmaps counted: rage_click, dead_click' }),
      ),
      sample_properties: sample,
      sample_event: sample,
      common_properties: sample,
    }),
  ),
  timeseries: list(Type.Object({ date: string, count: integer })),
  total_events: integer,
  unique_events: integer,
  utm_performance: Type.Object({
    sources: campaigns('source'),
    mediums: campaigns('medium'),
    campaigns: campaigns('campaign'),
    terms: campaigns('term'),
    content: campaigns('content'),
  }),
});
export const PageUtm = Type.Object({
  sources: campaigns('source'),
  mediums: campaigns('medium'),
  campaigns: campaigns('campaign'),
  terms: campaigns('term'),
  content: campaigns('content'),
});

const share = {
  count: integer,
  unique_visitors: integer,
  percentage: Type.Number({ description: "Share of the type's events" }),
};
export const EventProperties = Type.Object({
  website_id: string,
  event: string,
  property: Type.String({ description: "'' when names were asked for" }),
  count: Type.Integer({ description: 'Events of this type' }),
  unique_visitors: integer,
  properties: list(Type.Object({ name: string, ...share })),
  values: list(
    Type.Object({
      value: string,
      type: Type.Union([Type.Literal('boolean'), Type.Literal('number'), Type.Literal('string')]),
      ...share,
    }),
  ),
});

export const WebVitals = Type.Object({
  website_id: string,
  web_vitals: list(
    Type.Object({
      name: Type.String({ description: 'lcp, inp, cls, fid, fcp or ttfb; in ms, cls without a unit' }),
      avg: number,
      count: integer,
      p75: number,
      p90: number,
      p99: number,
      good: integer,
      needs_improvement: integer,
      poor: integer,
    }),
  ),
});
export const Retention = Type.Object({
  website_id: string,
  date_range: integer,
  total_visitors: integer,
  day_1: percentage,
  day_7: percentage,
  day_30: percentage,
  cohorts: list(
    Type.Object({
      week: Type.String({ description: 'Monday, YYYY-MM-DD' }),
      size: integer,
      retention: Type.Array(percentage, { description: 'Percent active in each later week' }),
    }),
  ),
});
