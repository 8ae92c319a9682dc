import { AppError } from '../../errors.js';
import type {
  FunnelCounts,
  FunnelMetrics,
  FunnelQuestion,
  TrackedCounts,
} from '../../metrics/funnel-metrics.js';
import type { GoalCounts, GoalMatch, GoalMetrics } from '../../metrics/goal-metrics.js';
import type { Scope } from '../../metrics/metrics-store.js';
import { funnelRow, goalRows, orNobody, trackedRow } from './metrics/conversion-rows.js';
import { pagesOfPatterns } from './metrics/page-patterns.js';
import { funnelSql, type PatternPages, pagesSeenSql, trackedFunnelsSql } from './metrics/postgres-funnels.js';
import { goalsSql } from './metrics/postgres-goals.js';
import type { PostgresReader } from './postgres-reader.js';

/** Most distinct pages that patterns are looked for in. */
const MAX_PAGES = 200_000;
const PATTERN_TIME_MS = 10_000;
const NO_PATTERNS: PatternPages = new Map();

/** Goals and funnels from Postgres. */
export class PostgresConversions implements GoalMetrics, FunnelMetrics {
  constructor(private readonly reader: PostgresReader) {}

  async goals(scope: Scope, goals: readonly GoalMatch[], signal: AbortSignal): Promise<GoalCounts[]> {
    if (goals.length === 0) return [];
    return goalRows(await this.reader.rows(goalsSql(scope, goals), signal), goals.length);
  }

  async funnel(scope: Scope, question: FunnelQuestion, signal: AbortSignal): Promise<FunnelCounts[]> {
    const { steps, breakdown } = question;
    const pages = await this.patternPages(scope, question, signal);
    const rows = await this.reader.rows(funnelSql(scope, question, pages), signal);
    return orNobody(
      rows.map((row) => funnelRow(row, steps.length)),
      steps.length,
      breakdown !== undefined,
    );
  }

  async trackedFunnels(
    siteId: string,
    ids: readonly string[],
    from: number,
    to: number,
    signal: AbortSignal,
  ): Promise<TrackedCounts[]> {
    return (await this.reader.rows(trackedFunnelsSql(siteId, ids, from, to), signal)).map(trackedRow);
  }

  private async patternPages(
    scope: Scope,
    { steps, windowMs }: FunnelQuestion,
    signal: AbortSignal,
  ): Promise<PatternPages> {
    const patterns = steps.flatMap((step) => (step.on === 'page' && step.how === 'regex' ? [step.text] : []));
    if (patterns.length === 0) return NO_PATTERNS;
    const rows = await this.reader.rows(pagesSeenSql(scope, windowMs, MAX_PAGES + 1), signal);
    if (rows.length > MAX_PAGES)
      throw new AppError('query_too_expensive', 'The site has too many pages for a funnel with patterns');
    const pages = rows.map(([page]) => String(page));
    return pagesOfPatterns(patterns, pages, PATTERN_TIME_MS, signal);
  }
}
