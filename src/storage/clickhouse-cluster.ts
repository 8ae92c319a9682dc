import type { Logger } from '../telemetry.js';
import type { Clickhouse } from './clickhouse.js';

/** What the server must be configured with: what is missing would show as errors or as doubled rows, and late. */
interface Found {
  readonly shards: number;
  readonly replicas: number;
  /** Shards of which the distributed tables would write to each replica. */
  readonly doubling: number;
  readonly macros: readonly string[];
}

/**
 * Looks at the cluster before anything is created on it, and says once what does not hold there (docs/operations.md, "On a ClickHouse cluster").
 * @throws Error when the server does not know it, or it is not set up for replicated tables
 */
export async function checkCluster(clickhouse: Clickhouse, cluster: string, log: Logger): Promise<void> {
  const { shards, replicas, doubling, macros } = await look(clickhouse, cluster);
  const refuse = (reason: string) => new Error(`the ClickHouse cluster ${cluster} cannot be used: ${reason}`);
  if (shards === 0) throw refuse(`${clickhouse.address} has no such cluster in remote_servers`);
  const missing = ['shard', 'replica'].filter((name) => !macros.includes(name));
  if (missing.length > 0)
    throw refuse(`${clickhouse.address} has no macro ${missing.join(' and no macro ')}`);
  if (doubling > 0) throw refuse('its shards need internal_replication, or rows would be stored twice');
  log.warn(
    { cluster, shards, replicas },
    'on a ClickHouse cluster the session rollup is not compared with the events after a crash of a server; see docs/operations.md',
  );
}

async function look({ client }: Clickhouse, cluster: string): Promise<Found> {
  const answer = await client.query({
    query: `SELECT uniqExact(shard_num), toUInt32(count()), uniqExactIf(shard_num, NOT internal_replication),
        (SELECT groupArray(macro) FROM system.macros)
      FROM system.clusters WHERE cluster = {cluster:String}`,
    query_params: { cluster },
    format: 'JSONCompactEachRow',
    clickhouse_settings: { output_format_json_quote_64bit_integers: 0 },
    http_headers: { 'X-ClickHouse-Database': 'system' },
    abort_signal: AbortSignal.timeout(30_000),
  });
  const [row] = await answer.json<[number, number, number, string[]]>();
  const [shards = 0, replicas = 0, doubling = 0, macros = []] = row ?? [];
  return { shards, replicas, doubling, macros };
}
