import { setMaxListeners } from 'node:events';
import { AppError } from '../errors.js';
import type { Analytics } from '../metrics/analytics.js';
import { ask } from '../metrics/asked.js';
import { publicDashboard } from '../metrics/public-dashboard.js';
import { createLookup } from '../storage/cache/lookup.js';
import type { Telemetry } from '../telemetry.js';

export interface PublicReportsOptions {
  readonly analytics: Analytics;
  readonly telemetry: Telemetry;
  /** ms since epoch; default the system clock. */
  readonly clock?: () => number;
  /** How long a report serves all who ask for it; default 10,000. */
  readonly ttlMs?: number;
}

export interface ReportQuery {
  readonly days?: string | undefined;
  readonly timezone?: string | undefined;
}

/** The figures of public dashboards, computed once for all who look at the same time. */
export interface PublicReports {
  /**
   * @param name what the answer calls the site
   * @throws AppError `invalid_parameter`; `overloaded` when too many different ones are being computed
   */
  of(siteId: string, name: string, query: ReportQuery): Promise<Awaited<ReturnType<typeof publicDashboard>>>;
}

/** The longest period that may be looked at in public. */
export const MAX_PUBLIC_DAYS = 90;
const DEFAULT_DAYS = 7;
/** One of them asks the event store some fifteen questions, and owners are to get their turns as well. */
const MAX_COMPUTING = 8;

export function createPublicReports(options: PublicReportsOptions): PublicReports {
  const { analytics, telemetry, clock = Date.now, ttlMs = 10_000 } = options;
  const reports = createLookup({
    name: 'public_reports',
    maxEntries: 200,
    maxLoading: MAX_COMPUTING,
    ttlMs,
    telemetry,
    load(key: string) {
      const [siteId = '', name = '', days = '', timezone = ''] = key.split('\n');
      // Computed for all who wait, so nobody's leaving ends it.
      const { signal } = new AbortController();
      setMaxListeners(0, signal);
      return publicDashboard(analytics, ask(siteId, { days, timezone }, DEFAULT_DAYS, clock(), signal), name);
    },
  });
  return {
    async of(siteId, name, { days, timezone }) {
      // What is wrong with the question is told before it takes a place.
      const asked = ask(siteId, { days, timezone }, DEFAULT_DAYS, clock(), new AbortController().signal);
      if (asked.period.days > MAX_PUBLIC_DAYS) {
        throw new AppError('invalid_parameter', `days must be a whole number from 1 to ${MAX_PUBLIC_DAYS}`);
      }
      return reports.get([siteId, name, asked.period.days, asked.timezone].join('\n'));
    },
  };
}
