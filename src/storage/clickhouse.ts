import {
  type ClickHouseClient,
  ClickHouseError,
  ClickHouseLogLevel,
  type ClickHouseSettings,
  createClient,
} from '@clickhouse/client';
import type { Logger } from '../telemetry.js';
import { waitFor } from './wait-for.js';

export interface ClickhouseOptions {
  /** `http(s)://user:password@host:port/database`; credentials and database are optional. */
  readonly url: string;
  /** Wins over the URL's; default `default`. Letters, digits and underscores. */
  readonly database?: string;
  /** Further request headers, e.g. the key of the embedded engine. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Name of a ClickHouse cluster: tables are replicated and sharded over it. */
  readonly cluster?: string;
  /** Upper limit of open sockets; default 16. */
  readonly maxConnections?: number;
  /** Compress what is sent and received (gzip 1); default off, because inside a data centre CPU is dearer than bandwidth. */
  readonly compression?: boolean;
  /** A request without an answer ends after this time; default 60,000. Requests with a deadline of their own end earlier. */
  readonly requestTimeoutMs?: number;
}

/** A client of one database, and what is needed to speak of it. */
export interface Clickhouse {
  readonly client: ClickHouseClient;
  readonly database: string;
  readonly cluster: string | undefined;
  /** `host:port`, for log lines. */
  readonly address: string;
  /** Throws when the server does not answer. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

/** For every statement on a cluster. */
const ON_CLUSTER: ClickHouseSettings = {
  // What was inserted is on its shard when the answer comes.
  insert_distributed_sync: 1,
  // Shards do not run our INSERT ... SELECT themselves: they know neither the database nor all rows that its conditions ask about.
  parallel_distributed_insert_select: '0',
};

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;

/**
 * Opens a client; connects at the first request.
 * @throws Error when the URL, the database or the cluster has no usable form
 */
export function openClickhouse(options: ClickhouseOptions): Clickhouse {
  const url = new URL(options.url);
  const database =
    options.database ?? (decodeURIComponent(url.pathname.replace(/^\/+|\/+$/g, '')) || 'default');
  for (const name of [database, ...(options.cluster === undefined ? [] : [options.cluster])])
    if (!IDENTIFIER.test(name)) throw new Error(`not a ClickHouse identifier: ${JSON.stringify(name)}`);
  const client = createClient({
    url: `${url.protocol}//${url.host}`,
    username: decodeURIComponent(url.username) || 'default',
    password: decodeURIComponent(url.password),
    database,
    application: 'seentics',
    http_headers: { ...options.headers },
    max_open_connections: options.maxConnections ?? 16,
    request_timeout: options.requestTimeoutMs ?? 60_000,
    compression: options.compression
      ? { request: { codec: 'gzip', level: 1 }, response: true }
      : { request: false, response: false },
    // Below the shortest keep-alive of any supported server (3 s before 23.11), so that no request meets a socket being closed.
    keep_alive: { enabled: true, idle_socket_ttl: 2_500, eagerly_destroy_stale_sockets: true },
    log: { level: ClickHouseLogLevel.OFF },
    clickhouse_settings: options.cluster === undefined ? {} : ON_CLUSTER,
  });
  return {
    client,
    database,
    cluster: options.cluster,
    address: `${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`,
    async ping() {
      const answer = await client.ping({ select: true, abort_signal: AbortSignal.timeout(5_000) });
      if (!answer.success) throw answer.error;
    },
    close: () => client.close(),
  };
}

/**
 * Waits until the server answers queries; says so once and then every 15 s.
 * @throws ClickHouseError when the server answers and waiting cannot help (wrong password), the last failure when aborted
 */
export async function waitForClickhouse(
  { client, address }: Pick<Clickhouse, 'client' | 'address'>,
  log: Logger,
  signal?: AbortSignal,
): Promise<void> {
  const isFinal = (error: unknown) =>
    error instanceof ClickHouseError && AUTHENTICATION_CODES.has(error.code);
  const options = {
    what: 'ClickHouse',
    where: address,
    log,
    isFinal,
    reasonOf,
    ...(signal ? { signal } : {}),
  };
  // Not in the product's database, which may not exist yet.
  await waitFor(options, () =>
    client.command({
      query: 'SELECT 1',
      http_headers: { 'X-ClickHouse-Database': 'system' },
      abort_signal: AbortSignal.timeout(5_000),
    }),
  );
}

/** UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, ACCESS_DENIED, AUTHENTICATION_FAILED. */
const AUTHENTICATION_CODES = new Set(['192', '193', '194', '497', '516']);

/** The first line of a failure, for logs and error messages. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return reasonOf(error.errors[0]);
  if (error instanceof ClickHouseError)
    return `${error.type ?? 'ClickHouse error'} (${error.code}): ${firstLine(error)}`;
  return error instanceof Error ? firstLine(error) : String(error);
}

const firstLine = (error: Error): string => (error.message.split('\n')[0] ?? '').slice(0, 300);
