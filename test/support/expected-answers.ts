/** What every analytics endpoint must answer, by the naive reference, in the shapes of the contract's section 7. */
import { countryName } from '../../src/metrics/countries.js';
import type { ReferenceData } from './reference-data.js';
import { ReferenceEvents } from './reference-events.js';
import { ReferenceMetrics } from './reference-metrics.js';
import type { ReferenceQuestion } from './reference-period.js';
import type { ReferenceSession } from './reference-sessions.js';

/** Bodies by endpoint, some with a query of their own: `name` or `name?a=b`. */
export type ExpectedAnswers = Readonly<Record<string, (question: ReferenceQuestion) => object>>;

const or = (missing: string, label: (one: ReferenceSession) => string) => (one: ReferenceSession) =>
  label(one) || missing;

/** @param given the site's id in the address; @param canonical its public id */
export function expectedAnswers(data: ReferenceData, given: string, canonical: string): ExpectedAnswers {
  const metrics = new ReferenceMetrics(data);
  const events = new ReferenceEvents(data, metrics);
  const website_id = given;

  const sources = (q: ReferenceQuestion) =>
    metrics
      .breakdown(
        q,
        'source',
        or('Direct', (one) => one.channel),
      )
      .map(({ visitors, ...row }) => ({ ...row, unique_visitors: visitors }));
  const countries = (q: ReferenceQuestion) =>
    metrics
      .breakdown(q, 'label', (one) => `${countryName(one.country)}\0${one.country}`)
      .map(({ label, ...row }) => {
        const [country = '', code = ''] = label.split('\0');
        return { country, code, ...row };
      });
  const resolutions = (q: ReferenceQuestion) =>
    metrics.topItems(
      q,
      or('Unknown', (one) => one.resolution),
    );
  const geolocation = (q: ReferenceQuestion) => {
    const shares = metrics.topItems(q, (one) => `${countryName(one.country)}\0${one.country}`);
    return {
      countries: shares.map(({ name: label, ...row }) => {
        const [name = '', code = ''] = label.split('\0');
        return code === '' ? { name, ...row } : { name, code, ...row };
      }),
      continents: metrics.topItems(
        q,
        or('Unknown', (one) => one.continent),
      ),
      regions: metrics.places(q, (one) => one.region),
      cities: metrics.places(q, (one) => one.city),
    };
  };
  const labelled =
    <K extends 'browser' | 'device' | 'os'>(list: string, key: K) =>
    (q: ReferenceQuestion) => ({
      website_id,
      [list]: metrics.breakdown(
        q,
        key,
        or('Unknown', (one) => one[key]),
      ),
    });
  const properties = (event: string, property: string) => (q: ReferenceQuestion) => ({
    website_id,
    ...events.properties(q, event, property),
  });

  return {
    dashboard: (question) => {
      const short = { ...question, limit: 10 };
      return {
        ...metrics.dashboard(question),
        website_id: canonical,
        live_visitors: metrics.live(question.now),
        top_pages: metrics.topPages(short),
        top_sources: sources(short),
        top_countries: countries(short),
        top_resolutions: resolutions(short),
        geolocation: geolocation(short),
      };
    },
    'daily-stats': (q) => ({ website_id, daily_stats: metrics.dailyStats(q), timezone: q.zone }),
    'hourly-stats': (q) => ({ website_id, hourly_stats: metrics.hourlyStats(q), timezone: q.zone }),
    'top-pages': (q) => ({ website_id, top_pages: metrics.topPages(q) }),
    'top-referrers': (q) => ({
      website_id,
      top_referrers: metrics.breakdown(
        q,
        'referrer',
        or('Direct', (one) => one.referrer),
      ),
    }),
    'top-sources': (q) => ({ website_id, top_sources: sources(q) }),
    'top-countries': (q) => ({ website_id, top_countries: countries(q) }),
    'top-browsers': labelled('top_browsers', 'browser'),
    'top-devices': labelled('top_devices', 'device'),
    'top-os': labelled('top_os', 'os'),
    'top-resolutions': (q) => ({ website_id, top_resolutions: resolutions(q) }),
    'geolocation-breakdown': geolocation,
    'visitor-insights': (q) => ({ website_id, visitor_insights: metrics.visitorInsights(q) }),
    'traffic-summary': (q) => metrics.trafficSummary(q),
    'activity-trends': (q) => ({ website_id: canonical, trends: metrics.activityTrends(q) }),
    'custom-events': (q) => ({ website_id, ...events.customEvents(q) }),
    'page-utm-breakdown?page_path=/pricing': (q) =>
      events.pageUtm({ ...q, page: (page) => page.toLowerCase() === '/pricing' }),
    'event-properties?event=signup': properties('signup', ''),
    'event-properties?event=click&property=price': properties('click', 'price'),
    'event-properties?event=Gr%C3%B6%C3%9Fe&property=text': properties('Größe', 'text'),
    'event-properties?event=click&property=n': properties('click', 'n'),
    'event-properties?event=click&property=long': properties('click', 'long'),
    'event-properties?event=click&property=%D0%BA%D0%BB%D1%8E%D1%87%20%22%E2%98%83%22': properties(
      'click',
      'ключ "☃"',
    ),
    'event-properties?event=click&property=list': properties('click', 'list'),
    'web-vitals': (q) => ({ website_id, web_vitals: events.webVitals(q) }),
    'user-retention': (q) => ({ website_id: canonical, ...events.retention(q) }),
    'live-visitors': (q) => ({ website_id, live_visitors: metrics.live(q.now) }),
  };
}
