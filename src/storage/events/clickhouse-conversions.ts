import type {
  FunnelCounts,
  FunnelMetrics,
  FunnelQuestion,
  TrackedCounts,
} from '../../metrics/funnel-metrics.js';
import type { GoalCounts, GoalMatch, GoalMetrics } from '../../metrics/goal-metrics.js';
import type { Scope } from '../../metrics/metrics-store.js';
import type { ClickhouseReader } from './clickhouse-reader.js';
import { funnelSql, trackedFunnelsSql } from './metrics/clickhouse-funnels.js';
import { goalsSql } from './metrics/clickhouse-goals.js';
import type { RowSource } from './metrics/clickhouse-rows.js';
import { funnelRow, goalRows, orNobody, trackedRow } from './metrics/conversion-rows.js';

/** Goals and funnels from ClickHouse. */
export class ClickhouseConversions implements GoalMetrics, FunnelMetrics {
  /** @param source where the sessions of a scope are read from */
  constructor(
    private readonly reader: ClickhouseReader,
    private readonly source: (scope: Scope) => RowSource,
  ) {}

  async goals(scope: Scope, goals: readonly GoalMatch[], signal: AbortSignal): Promise<GoalCounts[]> {
    if (goals.length === 0) return [];
    return goalRows(await this.reader.rows(goalsSql(scope, goals, this.source(scope)), signal), goals.length);
  }

  async funnel(scope: Scope, question: FunnelQuestion, signal: AbortSignal): Promise<FunnelCounts[]> {
    const { steps, breakdown } = question;
    const rows = await this.reader.rows(funnelSql(scope, question, this.source(scope)), signal);
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
}
