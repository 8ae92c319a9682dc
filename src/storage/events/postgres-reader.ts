import type pg from 'pg';
import { AppError } from '../../errors.js';
import type { Telemetry } from '../../telemetry.js';
import { type Database, isUnavailable, openPostgres, sqlState } from '../postgres.js';
import type { PgSql } from './metrics/postgres-rows.js';
import { numbers } from './metrics/result-rows.js';

export interface PostgresReaderOptions {
  readonly url: string;
  readonly maxConnections: number;
  readonly minConnections: number;
  readonly telemetry: Telemetry;
  /** A query that takes longer is ended by the server; default 15,000. */
  readonly maxExecutionMs?: number;
  /**
   * Never joins row by row: for queries that join what they have just made, of whose sizes the planner knows nothing. Without it the
   * figures of twenty thousand events take seconds.
   */
  readonly hashJoins?: boolean;
}

/** Runs reading queries that end when their caller leaves. */
export class PostgresReader {
  private readonly pids = new WeakMap<pg.PoolClient, number>();
  private readonly db: Database;
  /** Another pool, so that ending a query never waits for the queries. */
  private readonly canceller: Database;
  private readonly hashJoins: boolean;

  /** @param name metric label of its pools */
  constructor(name: string, options: PostgresReaderOptions) {
    const { maxExecutionMs = 15_000, hashJoins = false, ...rest } = options;
    this.hashJoins = hashJoins;
    this.db = openPostgres({ ...rest, name, statementTimeoutMs: maxExecutionMs });
    this.canceller = openPostgres({ ...rest, name: `${name}_cancel`, maxConnections: 1, minConnections: 0 });
  }

  /**
   * Rows as arrays of values, in the order of the query's columns.
   * @throws AppError `storage_unavailable`, `timeout`, `query_too_expensive`, `overloaded`; the signal's reason when the caller has left
   */
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
    let broken: Error | boolean = true;
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
        const isBroken = sqlState(error) === '' || isUnavailable(error);
        broken = isBroken && error instanceof Error ? error : isBroken;
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
    if (this.hashJoins) await client.query('SET enable_nestloop = off');
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
