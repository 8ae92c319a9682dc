/** The reports of the analytics endpoints in the contract's shapes (sections 7 and 20), made from counts of a MetricsStore. */
import { type Asked, scopeBefore, scopeOf } from './asked.js';
import { Behaviour } from './behaviour.js';
import { countryName, UNKNOWN } from './countries.js';
import { EventReports, type HeatPointTotals } from './event-reports.js';
import { change, compareBytes, mean, meanSeconds, percent } from './figures.js';
import type { SessionAttribute } from './filters.js';
import type { BreakdownRow, BucketCounts, MetricsStore, PageRow, Totals } from './metrics-store.js';
import { dayStarts, formatDate, hourStarts, wallClockText } from './period.js';

/** Label of a session that came from nowhere known. */
export const DIRECT = 'Direct';
const LIVE_WINDOW_MS = 5 * 60_000;
const SHORT_LIST = 10;

export interface TopItem {
  readonly name: string;
  readonly code?: string;
  readonly count: number;
  /** Share of the whole period's visitors. */
  readonly percentage: number;
}

export class Analytics {
  /** The reports that are about time. */
  readonly behaviour: Behaviour;
  /** The reports that are about events. */
  readonly events: EventReports;

  constructor(
    private readonly store: MetricsStore,
    heat: HeatPointTotals,
  ) {
    this.behaviour = new Behaviour(store);
    this.events = new EventReports(store, heat);
  }

  async dashboard(asked: Asked) {
    const { siteId, period, signal } = asked;
    const scope = scopeOf(asked);
    const short = { ...asked, limit: SHORT_LIST };
    const [totals, before, returning, live, pages, sources, countries, resolutions, geolocation] =
      await Promise.all([
        this.store.totals(scope, signal),
        this.store.totals(scopeBefore(asked), signal),
        this.store.returningVisitors(scope, signal),
        this.live(asked),
        this.topPages(short),
        this.topSources(short),
        this.topCountries(short),
        this.topResolutions(short),
        this.geolocation(short),
      ]);
    const metrics = dashboardMetrics(totals);
    return {
      website_id: siteId,
      date_range: period.days,
      total_visitors: totals.sessions,
      unique_visitors: totals.visitors,
      live_visitors: live,
      page_views: totals.views,
      session_duration: metrics.avg_session_time,
      bounce_rate: metrics.bounce_rate,
      new_visitors: totals.visitors - returning,
      returning_visitors: returning,
      comparison: comparison(metrics, dashboardMetrics(before)),
      metrics,
      top_pages: pages,
      top_sources: sources,
      top_countries: countries,
      top_resolutions: resolutions,
      geolocation,
    };
  }

  /** Every day of the period, ascending. */
  async dailyStats(asked: Asked) {
    const counts = await this.store.timeline(scopeOf(asked), dayStarts(asked.period), asked.signal);
    return counts.map((bucket, i) => ({
      date: formatDate(asked.period.firstDay + i),
      ...bucketFigures(bucket),
    }));
  }

  /** Every local hour of the period's days, ascending. */
  async hourlyStats(asked: Asked) {
    const { zone } = asked.period;
    const starts = hourStarts(asked.period);
    const counts = await this.store.timeline(scopeOf(asked), starts, asked.signal);
    return counts.map((bucket, i) => {
      const start = starts[i] ?? 0;
      const [date = '', time = ''] = wallClockText(zone, start).split('T');
      return {
        hour: `${date} ${time.slice(0, 2)}:00:00`,
        ...bucketFigures(bucket),
        timestamp: new Date(start).toISOString(),
        hour_label: time,
      };
    });
  }

  async topPages(asked: Asked) {
    const rows = await this.store.pages(scopeOf(asked), 'visitors', asked.limit, asked.signal);
    return rows.map((row) => ({
      page: row.page,
      views: row.views,
      unique: row.visitors,
      visitors: row.visitors,
      bounce_rate: percent(row.bounces, row.sessions),
      avg_time: meanSeconds(row.timeMs, row.timed),
      entry_rate: percent(row.entries, row.sessions),
      exit_rate: percent(row.exits, row.sessions),
    }));
  }

  async topReferrers(asked: Asked) {
    const rows = await this.breakdown(asked, 'referrer_host', DIRECT);
    return rows.map((row) => ({ referrer: row.value, ...rowFigures(row) }));
  }

  /** Channels, by the rule of metrics.md "Attributes". */
  async topSources(asked: Asked) {
    const rows = await this.breakdown(asked, 'channel', DIRECT);
    return rows.map((row) => ({
      source: row.value,
      views: row.views,
      unique_visitors: row.visitors,
      unique: row.visitors,
      bounce_rate: percent(row.bounces, row.sessions),
    }));
  }

  async topCountries(asked: Asked) {
    const rows = await this.countries(asked);
    return rows
      .slice(0, asked.limit)
      .map(({ name, code, row }) => ({ country: name, code, ...rowFigures(row) }));
  }

  async topBrowsers(asked: Asked) {
    const rows = await this.breakdown(asked, 'browser', UNKNOWN);
    return rows.map((row) => ({ browser: row.value, ...rowFigures(row) }));
  }

  async topDevices(asked: Asked) {
    const rows = await this.breakdown(asked, 'device', UNKNOWN);
    return rows.map((row) => ({ device: row.value, ...rowFigures(row) }));
  }

  async topOs(asked: Asked) {
    const rows = await this.breakdown(asked, 'os', UNKNOWN);
    return rows.map((row) => ({ os: row.value, ...rowFigures(row) }));
  }

  topResolutions(asked: Asked): Promise<TopItem[]> {
    return this.topItems(asked, 'resolution');
  }

  async geolocation(asked: Asked) {
    const [countries, totals, continents, regions, cities] = await Promise.all([
      this.countries(asked),
      this.store.totals(scopeOf(asked), asked.signal),
      this.topItems(asked, 'continent'),
      this.places(asked, 'region'),
      this.places(asked, 'city'),
    ]);
    return {
      countries: countries.slice(0, asked.limit).map(({ name, code, row }) => ({
        name,
        ...(code === '' ? {} : { code }),
        count: row.visitors,
        percentage: percent(row.visitors, totals.visitors),
      })),
      continents,
      regions,
      cities,
    };
  }

  async visitorInsights(asked: Asked) {
    const scope = scopeOf(asked);
    const [totals, returning, entries, exits] = await Promise.all([
      this.store.totals(scope, asked.signal),
      this.store.returningVisitors(scope, asked.signal),
      this.store.pages(scope, 'entries', asked.limit, asked.signal),
      this.store.pages(scope, 'exits', asked.limit, asked.signal),
    ]);
    const fresh = totals.visitors - returning;
    return {
      new_visitors: fresh,
      returning_visitors: returning,
      avg_session_duration: meanSeconds(totals.durationMs, totals.sessions),
      new_visitor_percentage: percent(fresh, totals.visitors),
      returning_visitor_percentage: percent(returning, totals.visitors),
      top_entry_pages: entries.map((row) => ({
        page: row.page,
        sessions: row.entries,
        bounce_rate: percent(row.entryBounces, row.entries),
      })),
      top_exit_pages: exits.map((row) => ({
        page: row.page,
        sessions: row.exits,
        exit_rate: percent(row.exits, row.sessions),
      })),
    };
  }

  /** Distinct visitors with any event received in the last 5 minutes. */
  live({ siteId, now, signal }: Pick<Asked, 'siteId' | 'now' | 'signal'>): Promise<number> {
    return this.store.live(siteId, now - LIVE_WINDOW_MS, signal);
  }

  private breakdown(asked: Asked, attribute: SessionAttribute, missing: string): Promise<BreakdownRow[]> {
    return this.store.breakdown(scopeOf(asked), attribute, missing, asked.limit, asked.signal);
  }

  private async topItems(asked: Asked, attribute: SessionAttribute): Promise<TopItem[]> {
    const [rows, totals] = await Promise.all([
      this.breakdown(asked, attribute, UNKNOWN),
      this.store.totals(scopeOf(asked), asked.signal),
    ]);
    return rows.map((row) => ({
      name: row.value,
      count: row.visitors,
      percentage: percent(row.visitors, totals.visitors),
    }));
  }

  /** Places of the same name in two countries are two rows. */
  private async places(asked: Asked, attribute: 'region' | 'city'): Promise<TopItem[]> {
    const scope = scopeOf(asked);
    const [rows, totals] = await Promise.all([
      this.store.places(scope, attribute, UNKNOWN, asked.limit, asked.signal),
      this.store.totals(scope, asked.signal),
    ]);
    return rows.map((row) => ({
      name: row.value,
      ...(row.countryCode === '' ? {} : { code: row.countryCode }),
      count: row.visitors,
      percentage: percent(row.visitors, totals.visitors),
    }));
  }

  /** All countries: the store knows codes, and the order is by name. */
  private async countries(asked: Asked): Promise<{ name: string; code: string; row: BreakdownRow }[]> {
    const rows = await this.store.breakdown(scopeOf(asked), 'country_code', '', undefined, asked.signal);
    return rows
      .map((row) => ({ name: countryName(row.value), code: row.value, row }))
      .sort(
        (a, b) =>
          b.row.visitors - a.row.visitors || b.row.views - a.row.views || compareBytes(a.name, b.name),
      );
  }
}

function dashboardMetrics(totals: Totals) {
  return {
    page_views: totals.views,
    total_visitors: totals.sessions,
    unique_visitors: totals.visitors,
    sessions: totals.sessions,
    bounce_rate: percent(totals.bounces, totals.sessions),
    avg_session_time: meanSeconds(totals.durationMs, totals.sessions),
    pages_per_session: mean(totals.sessionViews, totals.sessions),
  };
}

type DashboardMetrics = ReturnType<typeof dashboardMetrics>;

function comparison(current: DashboardMetrics, previous: DashboardMetrics) {
  return {
    current_period: current,
    previous_period: previous,
    total_visitor_change: change(current.total_visitors, previous.total_visitors),
    visitor_change: change(current.unique_visitors, previous.unique_visitors),
    pageview_change: change(current.page_views, previous.page_views),
    session_change: change(current.sessions, previous.sessions),
    bounce_change: change(current.bounce_rate, previous.bounce_rate),
    duration_change: change(current.avg_session_time, previous.avg_session_time),
  };
}

function bucketFigures(bucket: BucketCounts) {
  return {
    views: bucket.views,
    unique: bucket.visitors,
    sessions: bucket.sessions,
    bounce_rate: percent(bucket.bounces, bucket.sessions),
  };
}

function rowFigures(row: BreakdownRow | PageRow) {
  return {
    views: row.views,
    unique: row.visitors,
    visitors: row.visitors,
    bounce_rate: percent(row.bounces, row.sessions),
  };
}
