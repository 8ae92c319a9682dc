import pg from 'pg';
import { Gauge, type Registry } from 'prom-client';
import { AppError } from '../errors.js';
import type { Logger, Telemetry } from '../telemetry.js';
import { isSilence, WaryPool } from './postgres-pool.js';
import { waitFor } from './wait-for.js';

/** One row as the driver hands it over; read it with the readers of `row.ts`. */
export type Row = Readonly<Record<string, unknown>>;

export interface Queryable {
  /**
   * Runs one statement with bound parameters.
   * @throws AppError `storage_unavailable` (server away), `timeout` (statement too slow), `overloaded` (too many wait for a connection)
   */
  query(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

export interface Transaction extends Queryable {
  /** Gives each of the statements that follow, and the commit, this time instead of the pool's. */
  limitStatements(ms: number): Promise<void>;
}

/** A bounded connection pool that speaks the product's errors. */
export interface Database extends Queryable {
  readonly pool: pg.Pool;
  /** Commits what `work` did, or rolls it all back when it throws. */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /** Throws when the server does not answer. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

export interface PostgresOptions {
  /** Metric label of the pool, e.g. `metadata`. */
  readonly name: string;
  readonly url: string;
  readonly maxConnections: number;
  /** Connections that stay open when idle. */
  readonly minConnections: number;
  readonly telemetry: Telemetry;
  /** Callers that may wait for a connection before further ones are refused; default 1,000. */
  readonly maxWaiting?: number;
  /** Default 15,000. */
  readonly statementTimeoutMs?: number;
  /** How long after a statement's time-out the server is taken for gone when it has not said so, ms; default 5,000. */
  readonly answerMs?: number;
}

const ANSWER_MS = 5_000;
/** For a statement that has nothing to wait for. */
const PROMPT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 15_000;
const MAX_TIMER_MS = 2 ** 31 - 1;
const KEEP_ALIVE_AFTER_MS = 10_000;

/**
 * Opens a pool; connects at the first query. A server that dies without a word (its host lost power, say) leaves connections that look
 * alive for up to hours: a query that is not answered ends by itself, and then no connection from before it is used again.
 */
export function openPostgres(options: PostgresOptions): Database {
  const { log } = options.telemetry;
  const maxWaiting = options.maxWaiting ?? 1_000;
  const statementTimeoutMs = options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS;
  const answerMs = options.answerMs ?? ANSWER_MS;
  const pool = new WaryPool({
    connectionString: options.url,
    max: options.maxConnections,
    min: Math.min(options.minConnections, options.maxConnections),
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 60_000,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + answerMs,
    idle_in_transaction_session_timeout: 60_000,
    application_name: `seentics-${options.name}`,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
  });
  // An idle connection that breaks is replaced at the next query; without a listener it would end the process.
  pool.on('error', (error) =>
    log.warn({ pool: options.name, err: error.message }, 'Postgres connection lost'),
  );
  measure(options.telemetry.registry, options.name, pool);

  const run = async <T>(work: () => Promise<T>): Promise<T> => {
    if (pool.waitingCount >= maxWaiting) {
      throw new AppError('overloaded', 'Too many requests wait for the database', { retryAfterSeconds: 1 });
    }
    try {
      return await work();
    } catch (error) {
      throw translated(error);
    }
  };

  return {
    pool,
    query: (text, values = []) =>
      run(async () => (await pool.query<Record<string, unknown>>(text, [...values])).rows),
    transaction: (work) => run(() => inTransaction(pool, { statementTimeoutMs, answerMs }, work)),
    ping: () => run(async () => void (await pool.query(within(PROMPT_MS, 'SELECT 1')))),
    close: () => (pool.ended || pool.ending ? Promise.resolve() : pool.end()),
  };
}

async function inTransaction<T>(
  pool: pg.Pool,
  { statementTimeoutMs, answerMs }: Required<Pick<PostgresOptions, 'statementTimeoutMs' | 'answerMs'>>,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  // A connection that breaks while checked out reports here too; the running query rejects as well.
  const ignore = () => {};
  client.on('error', ignore);
  const promptMs = Math.min(PROMPT_MS, statementTimeoutMs + answerMs);
  let timeoutMs = statementTimeoutMs;
  let broken: Error | undefined;
  const query: Queryable['query'] = async (text, values = []) => {
    const statement = within(timeoutMs + answerMs, text, values);
    return (await client.query<Record<string, unknown>>(statement)).rows;
  };
  try {
    await client.query(within(promptMs, 'BEGIN'));
    const result = await work({
      query,
      async limitStatements(ms) {
        await query("SELECT set_config('statement_timeout', $1, true)", [String(ms)]);
        timeoutMs = ms;
      },
    });
    await query('COMMIT');
    return result;
  } catch (error) {
    broken = await rollBack(client, promptMs, error);
    throw error;
  } finally {
    client.off('error', ignore);
    client.release(broken);
  }
}

/** Answers why the connection cannot be used again, when that is so. */
async function rollBack(client: pg.PoolClient, promptMs: number, error: unknown): Promise<Error | undefined> {
  if (error instanceof Error && isSilence(error)) return error;
  try {
    await client.query(within(promptMs, 'ROLLBACK'));
    return undefined;
  } catch (failure) {
    return failure instanceof Error ? failure : new Error('the connection is broken');
  }
}

interface LimitedQuery extends pg.QueryConfig<unknown[]> {
  /** Time for the answer, ms. */
  readonly query_timeout: number;
}

/** A statement that fails when it is not answered within this time. */
export function within(ms: number, text: string, values: readonly unknown[] = []): LimitedQuery {
  // A later moment than timers can hold would be taken for now.
  return { text, values: [...values], query_timeout: Math.min(ms, MAX_TIMER_MS) };
}

/**
 * Waits until the server answers, saying so without credentials.
 * @throws the server's own error when waiting cannot help (wrong password, unknown database), the last failure when aborted
 */
export async function waitForPostgres(
  database: Database,
  url: string,
  log: Logger,
  signal?: AbortSignal,
): Promise<void> {
  const isFinal = (error: unknown) => !isUnavailable(error);
  const options = { what: 'Postgres', where: addressOf(url), log, isFinal, ...(signal ? { signal } : {}) };
  await waitFor(options, () => database.pool.query(within(PROMPT_MS, 'SELECT 1')));
}

/** `host:port` of a connection URL, never its credentials. */
export function addressOf(url: string): string {
  try {
    const { hostname, port } = new URL(url);
    return `${hostname || 'localhost'}:${port || '5432'}`;
  } catch {
    return 'the configured address';
  }
}

/** SQLSTATE of a driver error, '' for others. */
export function sqlState(error: unknown): string {
  return error instanceof pg.DatabaseError ? (error.code ?? '') : '';
}

/** Whether the failure is about reaching the server, so that trying again later can help. */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isUnavailable);
  if (error instanceof pg.DatabaseError) {
    // 08: connection; 57P01-03: shutting down, crashed, starting up; 53300: too many connections; 53400, 25P03: limits and idle time-out.
    return /^(08|57P0[1-3]|53[34]00|25P03)/.test(error.code ?? '');
  }
  if (!(error instanceof Error)) return false;
  const code = 'code' in error ? String(error.code) : '';
  return (
    /^E(CONNREFUSED|CONNRESET|PIPE|HOSTUNREACH|NETUNREACH|TIMEDOUT|NOTFOUND|AI_AGAIN)$/.test(code) ||
    code === 'ENOENT' ||
    /connection terminated|timeout exceeded when trying to connect|query read timeout|not queryable|client was closed|server closed/i.test(
      error.message,
    )
  );
}

function translated(error: unknown): unknown {
  if (isUnavailable(error)) {
    return new AppError('storage_unavailable', 'The database is not reachable', {
      cause: error,
      retryAfterSeconds: 5,
    });
  }
  if (sqlState(error) === '57014') {
    return new AppError('timeout', 'The database took too long', { cause: error });
  }
  return error;
}

const poolsOf = new WeakMap<Registry, Map<string, pg.Pool>>();

function measure(registry: Registry, name: string, pool: pg.Pool): void {
  const known = poolsOf.get(registry);
  if (known) {
    known.set(name, pool);
    return;
  }
  const pools = new Map([[name, pool]]);
  poolsOf.set(registry, pools);
  new Gauge({
    name: 'seentics_postgres_connections',
    help: 'Connections of a Postgres pool by state, and callers waiting for one.',
    labelNames: ['pool', 'state'],
    registers: [registry],
    collect() {
      for (const [label, { totalCount, idleCount, waitingCount }] of pools) {
        this.set({ pool: label, state: 'busy' }, totalCount - idleCount);
        this.set({ pool: label, state: 'idle' }, idleCount);
        this.set({ pool: label, state: 'waiting' }, waitingCount);
      }
    },
  });
}
