import type { SessionFacts, SessionFactsSource } from '../../../automations/session-facts.js';
import { numbers } from '../metrics/result-rows.js';

export interface SessionFactsStore extends SessionFactsSource {
  close(): Promise<void>;
}

/**
 * @param row events, page views, first time (ms), then of the first page view channel, referrer host and UTM source, then of the first
 * event device, country, browser and system
 */
export function sessionFactsOf(row: readonly unknown[] | undefined): {
  readonly session: Omit<SessionFacts, 'isNewVisitor'>;
  /** ms since epoch; null: nothing is stored of the session. */
  readonly startedAt: number | null;
} {
  const [events, pageViews, startedAt] = numbers(row?.slice(0, 3), 3);
  const [channel = '', referrerHost = '', utmSource = '', device = '', country = '', browser = '', os = ''] =
    (row ?? []).slice(3).map(String);
  return {
    session: {
      pageViews,
      traffic: pageViews === 0 ? null : { channel, referrerHost, utmSource },
      ...{ device, country, browser, os },
    },
    startedAt: events === 0 ? null : startedAt,
  };
}
