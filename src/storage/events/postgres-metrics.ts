import type pg from 'pg';
import { AppError } from '../../errors.js';
import type { MetricsStore } from '../../metrics/metrics-store.js';
import type { Telemetry } from '../../telemetry.js';
import { type Database, isUnavailable, openPostgres, sqlState } from '../postgres.js';
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
} from './metrics/postgres-queries.js';
import type { PgSql } from './metrics/postgres-rows.js';
import {
  cohortRows,
  eventTypeRow,
  fillBuckets,
  fillNumbers,
  numbers,
  textAndNumbers,
} from './metrics/result-rows.js';

export interface PostgresMetricsOptions {
  readonly url: string;
  readonly maxConnections: number;
  readonly minConnections: number;
  readonly telemetry: Telemetry;
  /** A query that takes longer is ended by the server; default 15,000. */
  readonly maxExecutionMs?: number;
}

/** Figures from Postgres, always from raw events: the same answers as ClickHouse, not the same speed. */
export function createPostgresMetrics(options: PostgresMetricsOptions): MetricsStore {
  const { maxExecutionMs = 15_000, ...rest } = options;
  const reader = new Reader(
    openPostgres({ ...rest, name: 'figures', statementTimeoutMs: maxExecutionMs }),
    openPostgres({ ...rest, name: 'figures_cancel', maxConnections: 1, minConnections: 0 }),
  );
  return {
    async totals(scope, signal) {
      const [row] = await reader.rows(totalsSql(scope), signal);
      const [views, visitors, sessions, bounces, durationMs, sessionViews] = numbers(row, 6);
      return { views, visitors, sessions, bounces, durationMs, sessionViews };
    },
    async returningVisitors(scope, signal) {
      return numbers((await reader.rows(returningSql(scope), signal))[0], 1)[0];
    },
    async timeline(scope, starts, signal) {
      const rows = await reader.rows(timelineSql(scope, starts), signal);
      return fillBuckets(
        starts,
        rows.map((row) => numbers(row, 5)),
      );
    },
    async breakdown(scope, attribute, missing, limit, signal) {
      const rows = await reader.rows(breakdownSql(scope, attribute, missing, limit), signal);
      return rows.map((row) => {
        const { text, counts } = textAndNumbers(row, 4);
        const [views, visitors, sessions, bounces] = counts;
        return { value: text, views, visitors, sessions, bounces };
      });
    },
    async pages(scope, order, limit, signal) {
      const rows = await reader.rows(pagesSql(scope, order, limit), signal);
      return rows.map((row) => {
        const { text, counts } = textAndNumbers(row, 9);
        const [views, visitors, sessions, bounces, entries, exits, entryBounces, timeMs, timed] = counts;
        return {
          page: text,
          views,
          visitors,
          sessions,
          bounces,
          entries,
          exits,
          entryBounces,
          timeMs,
          timed,
        };
      });
    },
    async eventTypes(scope, limit, signal) {
      return (await reader.rows(eventTypesSql(scope, limit), signal)).map(eventTypeRow);
    },
    async eventTimeline(scope, starts, signal) {
      const rows = await reader.rows(eventTimelineSql(scope, starts), signal);
      return fillNumbers(
        starts,
        rows.map((row) => numbers(row, 2)),
      );
    },
    async cohorts(siteId, starts, signal) {
      const rows = await reader.rows(cohortsSql(siteId, starts), signal);
      return cohortRows(
        starts,
        rows.map((row) => numbers(row, 3)),
      );
    },
    async live(siteId, since, signal) {
      return numbers((await reader.rows(liveSql(siteId, since), signal))[0], 1)[0];
    },
    close: () => reader.close(),
  };
}

/** Runs reading queries that end when their caller leaves. */
class Reader {
  private readonly pids = new WeakMap<pg.PoolClient, number>();

  constructor(
    private readonly db: Database,
    /** Another pool, so that ending a query never waits for the queries. */
    private readonly canceller: Database,
  ) {}

  async rows({ text, values }: PgSql, signal: AbortSignal): Promise<unknown[][]> {
    signal.throwIfAborted();
    try {
      return await this.run(text, values, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw readError(error);
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.db.close(), this.canceller.close()]);
  }

  private async run(text: string, values: readonly unknown[], signal: AbortSignal): Promise<unknown[][]> {
    const client = await this.db.pool.connect();
    // A connection that breaks while checked out reports here too; the running query rejects as well.
    const ignore = () => {};
    client.on('error', ignore);
    let cancelled: Promise<unknown> | undefined;
    let broken = true;
    try {
      const pid = await this.prepare(client);
      signal.throwIfAborted();
      const cancel = () => {
        cancelled = this.canceller.query('SELECT pg_cancel_backend($1)', [pid]).catch(() => {});
      };
      signal.addEventListener('abort', cancel, { once: true });
      try {
        const answer = await client.query<unknown[]>({ text, values: [...values], rowMode: 'array' });
        broken = false;
        return answer.rows;
      } catch (error) {
        broken = sqlState(error) === '' || isUnavailable(error);
        throw error;
      } finally {
        signal.removeEventListener('abort', cancel);
        // The next user of the connection must not be the one that is cancelled.
        await cancelled;
      }
    } finally {
      client.off('error', ignore);
      client.release(broken);
    }
  }

  /** Once a connection: what its statements may do, and the number it is cancelled by. */
  private async prepare(client: pg.PoolClient): Promise<number> {
    const known = this.pids.get(client);
    if (known !== undefined) return known;
    // Compiling costs more than these queries take.
    await client.query('SET default_transaction_read_only = on; SET jit = off; SET work_mem = 65536');
    const { rows } = await client.query<unknown[]>({ text: 'SELECT pg_backend_pid()', rowMode: 'array' });
    const [pid] = numbers(rows[0], 1);
    this.pids.set(client, pid);
    return pid;
  }
}

function readError(error: unknown): unknown {
  if (error instanceof AppError) return error;
  if (isUnavailable(error))
    return new AppError('storage_unavailable', 'The event store is not reachable', {
      cause: error,
      retryAfterSeconds: 5,
    });
  // query_canceled; out_of_memory, disk_full.
  if (sqlState(error) === '57014')
    return new AppError('timeout', 'The query took too long', { cause: error });
  if (/^53[12]00$/.test(sqlState(error)))
    return new AppError('query_too_expensive', 'The query needs more memory than allowed', { cause: error });
  return error;
}
