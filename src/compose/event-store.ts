import type { Config } from '../config.js';
import type { HeatStore } from '../heatmaps/heat-store.js';
import type { InstanceStatsStore } from '../metrics/instance-stats.js';
import type { MetricsStore } from '../metrics/metrics-store.js';
import type { PersonalStore } from '../privacy/personal-store.js';
import type { RetentionStore } from '../privacy/retention-store.js';
import type { ReplayStore } from '../replays/replay-store.js';
import { openAdvisoryLocks } from '../storage/advisory-lock.js';
import type { ClickhouseOptions } from '../storage/clickhouse.js';
import type { WithLock } from '../storage/clickhouse-migrations.js';
import { createClickhouseEventStore } from '../storage/events/clickhouse-event-store.js';
import { createClickhouseInstanceStats } from '../storage/events/clickhouse-instance-stats.js';
import { createClickhouseMetrics } from '../storage/events/clickhouse-metrics.js';
import { createClickhouseRetention } from '../storage/events/clickhouse-retention.js';
import type { EventStore } from '../storage/events/event-store.js';
import { createClickhouseHeat } from '../storage/events/heat/clickhouse-heat.js';
import { createPostgresHeat } from '../storage/events/heat/postgres-heat.js';
import { createClickhousePersonal } from '../storage/events/personal/clickhouse-personal.js';
import { createPostgresPersonal } from '../storage/events/personal/postgres-personal.js';
import { createPostgresEventStore } from '../storage/events/postgres-event-store.js';
import { createPostgresInstanceStats } from '../storage/events/postgres-instance-stats.js';
import { createPostgresMetrics } from '../storage/events/postgres-metrics.js';
import { createPostgresRetention } from '../storage/events/postgres-retention.js';
import { createClickhouseReplays } from '../storage/events/replays/clickhouse-replays.js';
import { createPostgresReplays } from '../storage/events/replays/postgres-replays.js';
import { createClickhouseSessionFacts } from '../storage/events/sessions/clickhouse-session-facts.js';
import { createPostgresSessionFacts } from '../storage/events/sessions/postgres-session-facts.js';
import type { SessionFactsStore } from '../storage/events/sessions/session-facts-row.js';
import { createClickhouseImported } from '../storage/events/transfer/clickhouse-imported.js';
import { createClickhouseRaw } from '../storage/events/transfer/clickhouse-raw.js';
import { createPostgresImported } from '../storage/events/transfer/postgres-imported.js';
import { createPostgresRaw } from '../storage/events/transfer/postgres-raw.js';
import type { Telemetry } from '../telemetry.js';
import type { ImportedRows } from '../transfer/imported-rows.js';
import type { RawEventStore } from '../transfer/raw-event.js';
import type { Engines } from './engines.js';
import type { Lifecycle } from './lifecycle.js';

/** Both sides of the event store: what the writer needs and what the figures need. */
export interface EventStores {
  readonly events: EventStore;
  readonly metrics: MetricsStore;
  readonly heat: HeatStore;
  readonly replays: ReplayStore;
  readonly sessionFacts: SessionFactsStore;
  readonly instanceStats: InstanceStatsStore;
  readonly personal: PersonalStore;
  readonly retention: RetentionStore;
  readonly raw: RawEventStore;
  readonly imported: ImportedRows;
}

const MIGRATION_LOCK = 'seentics_clickhouse_migrations';

/**
 * Opens the event store that the engines decided for and brings its schema up to date.
 * @param signal gives up a start that still waits for a server
 */
export async function openEventStores(
  config: Config,
  engines: Engines,
  telemetry: Telemetry,
  lifecycle: Lifecycle,
  signal: AbortSignal,
): Promise<EventStores> {
  const stores =
    engines.clickhouse === null
      ? inPostgres(config, engines, telemetry)
      : inClickhouse(config, engines, engines.clickhouse, telemetry);
  lifecycle.add('event store', stores.events, (it) => it.close());
  lifecycle.add('figures', stores.metrics, (it) => it.close());
  lifecycle.add('heatmaps', stores.heat, (it) => it.close());
  lifecycle.add('replays', stores.replays, (it) => it.close());
  lifecycle.add('personal data', stores.personal, (it) => it.close());
  lifecycle.add('session facts', stores.sessionFacts, (it) => it.close());
  lifecycle.add('figures of the instance', stores.instanceStats, (it) => it.close());
  lifecycle.add('retention', stores.retention, (it) => it.close());
  lifecycle.add('raw events', stores.raw, (it) => it.close());
  lifecycle.add('imported events', stores.imported, (it) => it.close());
  signal.throwIfAborted();
  // What is left waiting then ends when the lifecycle closes the stores.
  await Promise.race([stores.events.migrate(), rejectOnAbort(signal)]);
  return stores;
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

function inPostgres(config: Config, engines: Engines, telemetry: Telemetry): EventStores {
  const options = {
    url: engines.postgresUrl,
    maxConnections: config.DB_MAX_CONNS,
    minConnections: config.DB_MIN_CONNS,
    telemetry,
  };
  return {
    events: createPostgresEventStore(options),
    metrics: createPostgresMetrics({ ...options, maxExecutionMs: config.QUERY_TIMEOUT * 1_000 }),
    heat: createPostgresHeat({ ...options, maxExecutionMs: config.QUERY_TIMEOUT * 1_000 }),
    // Opened when somebody records: it costs nothing until then.
    replays: createPostgresReplays({ ...options, minConnections: 0 }),
    sessionFacts: createPostgresSessionFacts(options),
    instanceStats: createPostgresInstanceStats(options),
    personal: createPostgresPersonal(options),
    retention: createPostgresRetention(options),
    // Opened when somebody exports or imports.
    raw: createPostgresRaw({ ...options, minConnections: 0, maxExecutionMs: config.QUERY_TIMEOUT * 1_000 }),
    imported: createPostgresImported(options),
  };
}

function inClickhouse(
  config: Config,
  engines: Engines,
  clickhouse: ClickhouseOptions,
  telemetry: Telemetry,
): EventStores {
  const withLock = lockIn(engines.postgresUrl, telemetry);
  return {
    events: createClickhouseEventStore({ clickhouse, telemetry, withLock }),
    metrics: createClickhouseMetrics(clickhouse, {
      maxExecutionMs: config.QUERY_TIMEOUT * 1_000,
      carried: {
        telemetry,
        ...(config.LOOK_AHEAD_PERCENT > 0 ? { lookAhead: { share: config.LOOK_AHEAD_PERCENT / 100 } } : {}),
      },
    }),
    heat: createClickhouseHeat(clickhouse, { maxExecutionMs: config.QUERY_TIMEOUT * 1_000 }),
    replays: createClickhouseReplays(clickhouse, { maxExecutionMs: config.QUERY_TIMEOUT * 1_000 }),
    sessionFacts: createClickhouseSessionFacts(clickhouse),
    instanceStats: createClickhouseInstanceStats(clickhouse),
    personal: createClickhousePersonal(clickhouse),
    retention: createClickhouseRetention(clickhouse),
    raw: createClickhouseRaw(clickhouse, { maxExecutionMs: config.QUERY_TIMEOUT * 1_000 }),
    imported: createClickhouseImported(clickhouse),
  };
}

/** Two nodes must not migrate ClickHouse at the same time. */
function lockIn(url: string, telemetry: Telemetry): WithLock {
  return async (work) => {
    const locks = openAdvisoryLocks(url, telemetry);
    try {
      return await locks.run(MIGRATION_LOCK, work);
    } finally {
      await locks.close();
    }
  };
}
