import { ClickHouseError, type ClickHouseSettings } from '@clickhouse/client';
import { AppError } from '../../errors.js';
import { Turns } from '../../metrics/turns.js';
import { type Clickhouse, reasonOf } from '../clickhouse.js';
import { rowsOf } from '../clickhouse-body.js';
import type { Sql } from './metrics/clickhouse-rows.js';

export interface ClickhouseReaderOptions {
  /** A query that takes longer is ended by the server; default 15,000. */
  readonly maxExecutionMs?: number;
  /** Memory of one query in bytes; default 1 GiB. */
  readonly maxMemoryBytes?: number;
  /** Queries that run at the same time; default all. */
  readonly concurrency?: number;
}

/** Queries that may wait for their turn. */
const MAX_WAITING = 1_024;

/** Whose turn a query takes: of the site that it is about. */
const siteOf = ({ site }: Sql['params']): string => (typeof site === 'string' ? site : '');

/** Runs reading queries with limits of time and memory that end when their caller leaves. */
export class ClickhouseReader {
  private readonly settings: ClickHouseSettings;
  private readonly turns: Turns;

  constructor(
    private readonly clickhouse: Clickhouse,
    options: ClickhouseReaderOptions = {},
  ) {
    const memory = options.maxMemoryBytes ?? 1024 ** 3;
    this.turns = new Turns(options.concurrency ?? Number.POSITIVE_INFINITY, MAX_WAITING);
    this.settings = {
      // Nothing but reading; the limits below cannot be lifted by the query itself.
      readonly: '2',
      max_execution_time: (options.maxExecutionMs ?? 15_000) / 1_000,
      timeout_overflow_mode: 'throw',
      max_memory_usage: String(memory),
      // Spills to disk instead of failing.
      max_bytes_before_external_group_by: String(Math.floor(memory / 4)),
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

  /** Name of the cluster, when there is one. */
  get cluster(): string | undefined {
    return this.clickhouse.cluster;
  }

  /** Queries are under way. */
  get isBusy(): boolean {
    return this.turns.running > 0;
  }

  /**
   * Copies rows into a table that serves as a scratch pad, under the same limits.
   * @throws AppError as `rows`
   */
  async copy({ text, params }: Sql, signal: AbortSignal): Promise<void> {
    const { readonly: _, ...settings } = this.settings;
    try {
      await this.turns.take(siteOf(params), signal, () =>
        this.clickhouse.client.command({
          query: text,
          query_params: { ...params },
          clickhouse_settings: { ...settings, async_insert: 0, wait_end_of_query: 1 },
          abort_signal: signal,
          use_multipart_params_auto: true,
        }),
      );
    } catch (error) {
      throwIfEnded(signal);
      throw error instanceof AppError ? error : readError(error);
    }
  }

  /**
   * Rows as arrays of values, in the order of the query's columns.
   * @throws AppError `storage_unavailable`, `timeout`, `query_too_expensive`, `overloaded`; the signal's reason when the caller has left
   */
  async rows({ text, params }: Sql, signal: AbortSignal): Promise<unknown[][]> {
    throwIfEnded(signal);
    try {
      return await this.turns.take(siteOf(params), signal, async () => {
        const answer = await this.clickhouse.client.query({
          query: text,
          query_params: { ...params },
          format: 'JSONCompactEachRow',
          clickhouse_settings: this.settings,
          abort_signal: signal,
          // Lists of sessions are longer than an URL may be.
          use_multipart_params_auto: true,
        });
        return rowsOf<unknown[]>(answer, signal);
      });
    } catch (error) {
      throwIfEnded(signal);
      throw error instanceof AppError ? error : readError(error);
    }
  }

  close(): Promise<void> {
    return this.clickhouse.close();
  }
}

/** @throws the signal's reason; AppError `timeout` when that is the end of a time limit */
function throwIfEnded({ aborted, reason }: AbortSignal): void {
  if (!aborted) return;
  if (reason instanceof DOMException && reason.name === 'TimeoutError')
    throw new AppError('timeout', 'The query took too long', { cause: reason });
  throw reason;
}

/** MEMORY_LIMIT_EXCEEDED, TOO_MANY_BYTES, TOO_MANY_ROWS, TOO_SLOW, QUERY_WAS_CANCELLED by an administrator. */
const TOO_EXPENSIVE = new Set(['241', '307', '158', '160', '394']);

/** What a failed call of the server means to a caller of the API. */
export function readError(error: unknown): AppError {
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
