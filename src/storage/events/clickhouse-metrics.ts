import { ClickHouseError, type ClickHouseSettings } from '@clickhouse/client';
import { AppError } from '../../errors.js';
import type { SessionAttribute } from '../../metrics/filters.js';
import type {
  BreakdownRow,
  BucketCounts,
  CohortRow,
  EventTypeRow,
  MetricsStore,
  PageOrder,
  PageRow,
  Scope,
  Totals,
} from '../../metrics/metrics-store.js';
import { type Clickhouse, type ClickhouseOptions, openClickhouse, reasonOf } from '../clickhouse.js';
import {
  breakdownSql,
  cohortsSql,
  eventTimelineSql,
  eventTypesSql,
  liveSql,
  pagesSql,
  returningSql,
  timelineSql,
  totalsSql,
} from './metrics/clickhouse-queries.js';
import { onSlots, type RowSource, type Sql } from './metrics/clickhouse-rows.js';
import {
  cohortRows,
  eventTypeRow,
  fillBuckets,
  fillNumbers,
  numbers,
  textAndNumbers,
} from './metrics/result-rows.js';

export interface ClickhouseMetricsOptions {
  /** A query that takes longer is ended by the server; default 15,000. */
  readonly maxExecutionMs?: number;
  /** Memory of one query in bytes; default 1 GiB. */
  readonly maxMemoryBytes?: number;
  /** Reads raw events even where the rollup has the answer: for tests that compare the two. */
  readonly rawOnly?: boolean;
}

/** Opens a client of its own for the figures, so that they never wait for the sockets of the inserts. */
export function createClickhouseMetrics(
  clickhouse: ClickhouseOptions,
  options: ClickhouseMetricsOptions = {},
): MetricsStore {
  return new ClickhouseMetrics(openClickhouse({ requestTimeoutMs: 30_000, ...clickhouse }), options);
}

/** Figures from ClickHouse: from the session rollup where the asked instants allow it, else from raw events; the same answer. */
export class ClickhouseMetrics implements MetricsStore {
  private readonly settings: ClickHouseSettings;

  constructor(
    private readonly clickhouse: Clickhouse,
    private readonly options: ClickhouseMetricsOptions = {},
  ) {
    const memory = options.maxMemoryBytes ?? 1024 ** 3;
    this.settings = {
      // Nothing but reading; the limits below cannot be lifted by the query itself.
      readonly: '2',
      max_execution_time: (options.maxExecutionMs ?? 15_000) / 1_000,
      timeout_overflow_mode: 'throw',
      max_memory_usage: String(memory),
      // Spills to disk instead of failing.
      max_bytes_before_external_group_by: String(Math.floor(memory / 2)),
      // The query ends when its connection does, and that ends when the caller of the API leaves.
      cancel_http_readonly_queries_on_client_close: 1,
      // Hashes find no place in the index; trying takes ten times as long as the query.
      use_index_for_in_with_subqueries: 0,
      output_format_json_quote_64bit_integers: 0,
      // All rows of a site are on one shard.
      ...(clickhouse.cluster === undefined
        ? {}
        : { distributed_product_mode: 'local', optimize_skip_unused_shards: 1 }),
    };
  }

  async totals(scope: Scope, signal: AbortSignal): Promise<Totals> {
    const [row] = await this.rows(totalsSql(scope, this.source([scope.from])), signal);
    const [views, visitors, sessions, bounces, durationMs, sessionViews] = numbers(row, 6);
    return { views, visitors, sessions, bounces, durationMs, sessionViews };
  }

  async returningVisitors(scope: Scope, signal: AbortSignal): Promise<number> {
    const [row] = await this.rows(returningSql(scope, this.source([scope.from])), signal);
    return numbers(row, 1)[0];
  }

  async timeline(scope: Scope, starts: readonly number[], signal: AbortSignal): Promise<BucketCounts[]> {
    const rows = await this.rows(timelineSql(scope, starts, this.source([scope.from, ...starts])), signal);
    return fillBuckets(
      inSeconds(starts),
      rows.map((row) => numbers(row, 5)),
    );
  }

  async breakdown(
    scope: Scope,
    attribute: SessionAttribute,
    missing: string,
    limit: number | undefined,
    signal: AbortSignal,
  ): Promise<BreakdownRow[]> {
    const sql = breakdownSql(scope, attribute, missing, limit, this.source([scope.from]));
    return (await this.rows(sql, signal)).map((row) => {
      const { text, counts } = textAndNumbers(row, 4);
      const [views, visitors, sessions, bounces] = counts;
      return { value: text, views, visitors, sessions, bounces };
    });
  }

  async pages(scope: Scope, order: PageOrder, limit: number, signal: AbortSignal): Promise<PageRow[]> {
    const rows = await this.rows(pagesSql(scope, order, limit, this.source([scope.from])), signal);
    return rows.map((row) => {
      const { text, counts } = textAndNumbers(row, 9);
      const [views, visitors, sessions, bounces, entries, exits, entryBounces, timeMs, timed] = counts;
      return { page: text, views, visitors, sessions, bounces, entries, exits, entryBounces, timeMs, timed };
    });
  }

  async eventTypes(scope: Scope, limit: number, signal: AbortSignal): Promise<EventTypeRow[]> {
    const rows = await this.rows(eventTypesSql(scope, limit, this.source([scope.from])), signal);
    return rows.map(eventTypeRow);
  }

  async eventTimeline(scope: Scope, starts: readonly number[], signal: AbortSignal): Promise<number[]> {
    const rows = await this.rows(eventTimelineSql(scope, starts, this.source([scope.from])), signal);
    return fillNumbers(
      inSeconds(starts),
      rows.map((row) => numbers(row, 2)),
    );
  }

  async cohorts(siteId: string, starts: readonly number[], signal: AbortSignal): Promise<CohortRow[]> {
    const rows = await this.rows(cohortsSql(siteId, starts, this.source(starts)), signal);
    return cohortRows(
      inSeconds(starts),
      rows.map((row) => numbers(row, 3)),
    );
  }

  async live(siteId: string, since: number, signal: AbortSignal): Promise<number> {
    const [row] = await this.rows(liveSql(siteId, since), signal);
    return numbers(row, 1)[0];
  }

  close(): Promise<void> {
    return this.clickhouse.close();
  }

  private source(instants: readonly number[]): RowSource {
    return this.options.rawOnly || !onSlots(instants) ? 'raw' : 'rollup';
  }

  private async rows({ text, params }: Sql, signal: AbortSignal): Promise<unknown[][]> {
    try {
      const answer = await this.clickhouse.client.query({
        query: text,
        query_params: { ...params },
        format: 'JSONCompactEachRow',
        clickhouse_settings: this.settings,
        abort_signal: signal,
      });
      return await answer.json<unknown[]>();
    } catch (error) {
      signal.throwIfAborted();
      throw readError(error);
    }
  }
}

const inSeconds = (instants: readonly number[]): number[] => instants.map((at) => Math.floor(at / 1000));

/** MEMORY_LIMIT_EXCEEDED, TOO_MANY_BYTES, TOO_MANY_ROWS, TOO_SLOW, QUERY_WAS_CANCELLED by an administrator. */
const TOO_EXPENSIVE = new Set(['241', '307', '158', '160', '394']);

function readError(error: unknown): AppError {
  if (!(error instanceof ClickHouseError))
    return new AppError('storage_unavailable', 'The event store is not reachable', {
      cause: error,
      retryAfterSeconds: 5,
    });
  if (error.code === '159') return new AppError('timeout', 'The query took too long', { cause: error });
  if (TOO_EXPENSIVE.has(error.code))
    return new AppError('query_too_expensive', 'The query needs more memory than allowed', { cause: error });
  return new AppError('internal', `event store: ${reasonOf(error)}`, { cause: error });
}
