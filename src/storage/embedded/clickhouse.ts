import { randomBytes } from 'node:crypto';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Telemetry } from '../../telemetry.js';
import { freePort } from './free-port.js';
import { SupervisedChild } from './supervised-child.js';

const KEY_HEADER = 'X-Seentics-Key';
/** A cold page cache makes loading the 560 MB library slow; warm it takes well under a second. */
const START_TIMEOUT_MS = 60_000;

export interface EmbeddedClickhouse {
  readonly url: string;
  /** Headers that open the server; without them it answers nothing but `/ping`. */
  readonly headers: Readonly<Record<string, string>>;
  readonly pid: () => number | undefined;
  stop(graceMs: number): Promise<void>;
}

export interface EmbeddedClickhouseOptions {
  readonly directory: string;
  /** Cap of the engine's own memory accounting. */
  readonly memoryLimitBytes: number;
}

/** Path of the engine library for this platform, or null when its package is not installed or has no build for it. */
export function clickhouseLibrary(): string | null {
  const require = createRequire(import.meta.url);
  const libc = process.platform === 'linux' ? '-gnu' : '';
  try {
    require.resolve('ffi-rs');
    return join(
      dirname(require.resolve(`@chdb/lib-${process.platform}-${process.arch}${libc}/package.json`)),
      'libchdb.so',
    );
  } catch {
    return null;
  }
}

/**
 * Starts ClickHouse as a supervised child process on a free loopback port. The engine insists on a passwordless default user for its
 * own session, so access is closed one layer earlier: the HTTP server routes only requests that carry a random key made for this run.
 */
export async function startEmbeddedClickhouse(
  options: EmbeddedClickhouseOptions,
  telemetry: Telemetry,
): Promise<EmbeddedClickhouse> {
  const library = clickhouseLibrary();
  if (library === null) throw new Error('the embedded ClickHouse engine is not installed for this platform');
  await mkdir(options.directory, { recursive: true, mode: 0o700 });
  const key = randomBytes(24).toString('hex');
  const port = await freePort();
  const configFile = join(options.directory, 'config.xml');
  await writeFile(configFile, engineConfig(options, key), { mode: 0o600 });
  await chmod(configFile, 0o600);
  const url = `http://127.0.0.1:${port}`;
  const child = await SupervisedChild.start(
    {
      name: 'ClickHouse',
      command: process.execPath,
      args: [
        fileURLToPath(new URL('./clickhouse-child.js', import.meta.url)),
        library,
        `--path=${join(options.directory, 'store')}`,
        '--listen_host=127.0.0.1',
        `--http_port=${port}`,
        `--config-file=${configFile}`,
        '--logger.level=error',
      ],
      startTimeoutMs: START_TIMEOUT_MS,
      // Closing standard input makes it wait for idle connections; the signal ends it at once, and what it acknowledged is on disk.
      stopSignal: 'SIGTERM',
      ready: async () => {
        const answer = await fetch(`${url}/?query=SELECT%201`, {
          headers: { [KEY_HEADER]: key },
          signal: AbortSignal.timeout(1_000),
        });
        if (!answer.ok) throw new Error(`ClickHouse answered ${answer.status}`);
        await answer.arrayBuffer();
      },
    },
    telemetry,
  );
  return {
    url,
    headers: { [KEY_HEADER]: key },
    pid: () => child.pid,
    stop: (graceMs) => child.stop(graceMs),
  };
}

/**
 * The low-memory profile: small caches, few background threads, a cap for the whole server, and none of the system log tables, which
 * would grow for ever and cost CPU while idle.
 */
function engineConfig(options: EmbeddedClickhouseOptions, key: string): string {
  return `<clickhouse>
  <max_server_memory_usage>${options.memoryLimitBytes}</max_server_memory_usage>
  <mark_cache_size>67108864</mark_cache_size>
  <primary_index_cache_size>67108864</primary_index_cache_size>
  <index_mark_cache_size>16777216</index_mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <mmap_cache_size>0</mmap_cache_size>
  <compiled_expression_cache_size>16777216</compiled_expression_cache_size>
  <background_pool_size>2</background_pool_size>
  <background_merges_mutations_concurrency_ratio>2</background_merges_mutations_concurrency_ratio>
  <background_schedule_pool_size>4</background_schedule_pool_size>
  <tables_loader_foreground_pool_size>2</tables_loader_foreground_pool_size>
  <tables_loader_background_pool_size>2</tables_loader_background_pool_size>
  <max_concurrent_queries>100</max_concurrent_queries>
  <asynchronous_metrics_update_period_s>60</asynchronous_metrics_update_period_s>
  <merge_tree>
    <merge_selecting_sleep_ms>2000</merge_selecting_sleep_ms>
    <max_bytes_to_merge_at_max_space_in_pool>10737418240</max_bytes_to_merge_at_max_space_in_pool>
    <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>
    <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
    <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
  </merge_tree>
  <http_handlers>
    <rule>
      <url>/ping</url><methods>GET</methods>
      <handler><type>static</type><status>200</status><content_type>text/plain</content_type><response_content>Ok.</response_content></handler>
    </rule>
    <rule>
      <headers><${KEY_HEADER}>${key}</${KEY_HEADER}></headers>
      <handler><type>dynamic_query_handler</type><query_param_name>query</query_param_name></handler>
    </rule>
  </http_handlers>
</clickhouse>
`;
}
