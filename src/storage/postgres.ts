import pg from 'pg';
import { Gauge, type Registry } from 'prom-client';
import { AppError } from '../errors.js';
import type { Logger, Telemetry } from '../telemetry.js';
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

/** A bounded connection pool that speaks the product's errors. */
export interface Database extends Queryable {
  readonly pool: pg.Pool;
  /** Commits what `work` did, or rolls it all back when it throws. */
  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T>;
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
}

/** Opens a pool; connects at the first query. */
export function openPostgres(options: PostgresOptions): Database {
  const { log } = options.telemetry;
  const maxWaiting = options.maxWaiting ?? 1_000;
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.maxConnections,
    min: Math.min(options.minConnections, options.maxConnections),
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 60_000,
    statement_timeout: options.statementTimeoutMs ?? 15_000,
    idle_in_transaction_session_timeout: 60_000,
    application_name: `seentics-${options.name}`,
    keepAlive: true,
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
    transaction: (work) => run(() => inTransaction(pool, work)),
    ping: () => run(async () => void (await pool.query('SELECT 1'))),
    close: () => (pool.ended || pool.ending ? Promise.resolve() : pool.end()),
  };
}

async function inTransaction<T>(pool: pg.Pool, work: (tx: Queryable) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  // A connection that breaks while checked out reports here too; the running query rejects as well.
  const ignore = () => {};
  client.on('error', ignore);
  let broken = false;
  try {
    await client.query('BEGIN');
    const result = await work({
      query: async (text, values = []) =>
        (await client.query<Record<string, unknown>>(text, [...values])).rows,
    });
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {
      broken = true;
    });
    throw error;
  } finally {
    client.off('error', ignore);
    client.release(broken);
  }
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
  await waitFor(options, () => database.pool.query('SELECT 1'));
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
    /connection terminated|timeout exceeded when trying to connect|not queryable|client was closed|server closed/i.test(
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
