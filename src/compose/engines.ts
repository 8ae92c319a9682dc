/** Decides for each part whether a configured server or the embedded engine is used, and starts the latter. */
import { join } from 'node:path';
import type { Config } from '../config.js';
import type { ClickhouseOptions } from '../storage/clickhouse.js';
import { clickhouseLibrary, startEmbeddedClickhouse } from '../storage/embedded/clickhouse.js';
import { startEmbeddedPostgres } from '../storage/embedded/postgres.js';
import { addressOf } from '../storage/postgres.js';
import type { Telemetry } from '../telemetry.js';

/** Time an engine gets to end; all of shutdown must fit into five seconds. */
const STOP_GRACE_MS = 1_500;

export interface Engines {
  readonly postgresUrl: string;
  /** null: events are kept in Postgres. */
  readonly clickhouse: ClickhouseOptions | null;
  /** How each part runs, for the start message: name, `embedded` or address. */
  readonly parts: readonly PartChoice[];
  stop(): Promise<void>;
}

export interface PartChoice {
  readonly part: string;
  readonly embedded: boolean;
  readonly where: string;
}

interface Stoppable {
  stop(graceMs: number): Promise<void>;
}

/** @throws Error when an embedded engine cannot start */
export async function startEngines(config: Config, telemetry: Telemetry): Promise<Engines> {
  const running: Stoppable[] = [];
  const stop = async () => {
    await Promise.allSettled(running.map((engine) => engine.stop(STOP_GRACE_MS)));
  };
  const keep = <T extends Stoppable>(engine: T): T => {
    running.push(engine);
    return engine;
  };
  const results = await Promise.allSettled([
    choosePostgres(config, telemetry, keep),
    chooseEventStore(config, telemetry, keep),
  ]);
  const failed = results.find((result) => result.status === 'rejected');
  const [postgres, events] = results;
  if (failed || postgres.status === 'rejected' || events.status === 'rejected') {
    await stop();
    throw failed?.reason;
  }
  return {
    postgresUrl: postgres.value.url,
    clickhouse: events.value.clickhouse,
    parts: [postgres.value.choice, events.value.choice],
    stop,
  };
}

type Keep = <T extends Stoppable>(engine: T) => T;

async function choosePostgres(
  config: Config,
  telemetry: Telemetry,
  keep: Keep,
): Promise<{ url: string; choice: PartChoice }> {
  if (config.DATABASE_URL !== undefined) {
    return { url: config.DATABASE_URL, choice: postgresChoice('metadata', config) };
  }
  const engine = keep(await startEmbeddedPostgres(join(config.DATA_DIR, 'postgres'), telemetry));
  return { url: engine.url, choice: postgresChoice('metadata', config) };
}

function postgresChoice(part: string, { DATABASE_URL: url }: Config): PartChoice {
  if (url === undefined) return { part, embedded: true, where: 'embedded Postgres' };
  return { part, embedded: false, where: `Postgres at ${addressOf(url)}` };
}

async function chooseEventStore(
  config: Config,
  telemetry: Telemetry,
  keep: Keep,
): Promise<{ clickhouse: ClickhouseOptions | null; choice: PartChoice }> {
  const server = clickhouseServer(config, telemetry);
  if (config.EVENT_STORE !== 'postgres' && server !== null) {
    return {
      clickhouse: server,
      choice: { part: 'events', embedded: false, where: `ClickHouse at ${new URL(server.url).host}` },
    };
  }
  const inPostgres = { clickhouse: null, choice: postgresChoice('events', config) };
  if (config.EVENT_STORE === 'postgres') return inPostgres;
  if (clickhouseLibrary() === null) {
    if (config.EVENT_STORE === 'clickhouse') {
      throw new Error(
        'EVENT_STORE=clickhouse, but no server is configured and the embedded engine is not installed here',
      );
    }
    telemetry.log.warn(
      'the embedded ClickHouse is not installed for this platform: events are kept in Postgres',
    );
    return inPostgres;
  }
  const engine = keep(
    await startEmbeddedClickhouse(
      {
        directory: join(config.DATA_DIR, 'clickhouse'),
        memoryLimitBytes: config.EMBEDDED_CLICKHOUSE_MEMORY_MB * 1024 * 1024,
      },
      telemetry,
    ),
  );
  return {
    clickhouse: { url: engine.url, headers: engine.headers, database: config.CLICKHOUSE_DB },
    choice: { part: 'events', embedded: true, where: 'embedded ClickHouse' },
  };
}

/** Ports of the native protocol, and the HTTP ports of the same server. */
const NATIVE_PORTS: Readonly<Record<number, number>> = { 9000: 8123, 9440: 8443 };

/** The configured ClickHouse server, or null when none is. */
export function clickhouseServer(config: Config, { log }: Pick<Telemetry, 'log'>): ClickhouseOptions | null {
  const shared = {
    database: config.CLICKHOUSE_DB,
    ...(config.CLICKHOUSE_CLUSTER === undefined ? {} : { cluster: config.CLICKHOUSE_CLUSTER }),
  };
  if (config.CLICKHOUSE_URL !== undefined) {
    const url = new URL(config.CLICKHOUSE_URL);
    if (url.username === '') url.username = encodeURIComponent(config.CLICKHOUSE_USER);
    if (url.password === '') url.password = encodeURIComponent(config.CLICKHOUSE_PASSWORD);
    return { url: url.href, ...shared };
  }
  if (config.CLICKHOUSE_HOST === undefined) return null;
  const native = NATIVE_PORTS[config.CLICKHOUSE_PORT];
  const port = config.CLICKHOUSE_HTTP_PORT || (native ?? config.CLICKHOUSE_PORT);
  if (native !== undefined && config.CLICKHOUSE_HTTP_PORT === 0) {
    log.info(
      `CLICKHOUSE_PORT=${config.CLICKHOUSE_PORT} is the native protocol, HTTP is spoken here: using port ${port} ` +
        '(CLICKHOUSE_HTTP_PORT or CLICKHOUSE_URL overrule it)',
    );
  }
  const url = new URL(`${port === 8443 ? 'https' : 'http'}://${config.CLICKHOUSE_HOST}:${port}`);
  url.username = encodeURIComponent(config.CLICKHOUSE_USER);
  url.password = encodeURIComponent(config.CLICKHOUSE_PASSWORD);
  return { url: url.href, ...shared };
}
