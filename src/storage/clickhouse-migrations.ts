import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Logger } from '../telemetry.js';
import { type Clickhouse, waitForClickhouse } from './clickhouse.js';
import { checkCluster } from './clickhouse-cluster.js';
import { renderMigration, splitStatements } from './clickhouse-sql.js';

/** Runs `work` while no other node runs something under the same lock. */
export type WithLock = <T>(work: () => Promise<T>) => Promise<T>;

export interface ClickhouseMigrationOptions {
  /** Folder of `NNNN_name.sql` files; they run in the order of their names. */
  readonly folder: string | URL;
  readonly log: Logger;
  /** ClickHouse has no locks, so the caller brings one (an advisory lock of the metadata store). */
  readonly withLock?: WithLock;
  readonly signal?: AbortSignal;
  /** A table that these files make: where it is before any of them ran, it is another program's, and nothing is touched. */
  readonly ownTable?: string;
}

const VERSIONS = 'schema_migrations';

/** DDL on a cluster waits for its hosts; a mutation of a big table takes its time. The client must allow it as well. */
export const STATEMENT_TIMEOUT_MS = 600_000;

/**
 * Waits for the server, creates the database when it is missing, and runs each file that the version table does not know once.
 * A file that fails half way runs again as a whole at the next start: its statements must allow that.
 * @returns names of the files that ran
 * @throws Error when a file that has run was changed since (write a new one instead), the cluster cannot be used, or the database is
 * another program's
 */
export async function runClickhouseMigrations(
  clickhouse: Clickhouse,
  options: ClickhouseMigrationOptions,
): Promise<string[]> {
  await waitForClickhouse(clickhouse, options.log, options.signal);
  if (clickhouse.cluster !== undefined) await checkCluster(clickhouse, clickhouse.cluster, options.log);
  const withLock: WithLock = options.withLock ?? ((work) => work());
  const files = await readMigrations(options.folder);
  return withLock(async () => {
    await createDatabase(clickhouse);
    if (options.ownTable !== undefined) await refuseForeign(clickhouse, options.ownTable);
    await createVersionTable(clickhouse);
    const applied = await appliedMigrations(clickhouse);
    const ran: string[] = [];
    for (const file of files) {
      const known = applied.get(file.name);
      if (known === file.checksum) continue;
      if (known !== undefined) throw new Error(`migration ${file.name} was changed after it had run`);
      for (const statement of splitStatements(renderMigration(file.sql, clickhouse.cluster)))
        await run(clickhouse, statement);
      await remember(clickhouse, file);
      ran.push(file.name);
    }
    if (ran.length > 0)
      options.log.info({ database: clickhouse.database, ran }, 'ClickHouse schema brought up to date');
    return ran;
  });
}

interface MigrationFile {
  readonly name: string;
  readonly sql: string;
  readonly checksum: string;
}

async function readMigrations(folder: string | URL): Promise<MigrationFile[]> {
  const path = typeof folder === 'string' ? folder : fileURLToPath(folder);
  const names = (await readdir(path)).filter((name) => name.endsWith('.sql')).sort();
  return Promise.all(
    names.map(async (name) => {
      // A checkout may have changed the line ends; that is no change of the migration.
      const sql = (await readFile(`${path}/${name}`, 'utf8')).replaceAll('\r\n', '\n');
      return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

async function createDatabase(clickhouse: Clickhouse): Promise<void> {
  // A user who may not create databases still starts when an administrator has made it.
  const headers = { 'X-ClickHouse-Database': 'system' };
  const { client, database } = clickhouse;
  const found = await client.query({
    query: 'SELECT 1 FROM system.databases WHERE name = {name:String}',
    query_params: { name: database },
    format: 'JSONCompactEachRow',
    http_headers: headers,
  });
  if ((await found.json()).length > 0) return;
  // The name is an identifier (checked by openClickhouse); placeholders cannot stand here on a cluster.
  const onCluster = renderMigration('{{on_cluster}}', clickhouse.cluster);
  await client.command({
    query: `CREATE DATABASE IF NOT EXISTS \`${database}\` ${onCluster}`,
    http_headers: headers,
  });
}

async function refuseForeign({ client, database }: Clickhouse, table: string): Promise<void> {
  const answer = await client.query({
    query:
      'SELECT name FROM system.tables WHERE database = {database:String} AND name IN {names:Array(String)}',
    query_params: { database, names: [table, VERSIONS] },
    format: 'JSONCompactEachRow',
  });
  const names = (await answer.json<[string]>()).flat();
  if (!names.includes(table) || names.includes(VERSIONS)) return;
  throw new Error(
    `the ClickHouse database ${database} has a table ${table} of another program: set CLICKHOUSE_DB to a name of its own ` +
      '(coming from the original: docs/operations.md)',
  );
}

/** On a cluster every node of every shard is a replica of this one table, so that it does not matter which one is asked. */
async function createVersionTable(clickhouse: Clickhouse): Promise<void> {
  const engine =
    clickhouse.cluster === undefined
      ? 'MergeTree'
      : "ReplicatedMergeTree('/clickhouse/tables/{uuid}/all', '{shard}-{replica}')";
  const onCluster = renderMigration('{{on_cluster}}', clickhouse.cluster);
  await run(
    clickhouse,
    `CREATE TABLE IF NOT EXISTS ${VERSIONS} ${onCluster}
       (name String, checksum String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = ${engine} ORDER BY name`,
  );
}

async function appliedMigrations({ client }: Clickhouse): Promise<Map<string, string>> {
  const answer = await client.query({
    query: `SELECT name, checksum FROM ${VERSIONS}`,
    format: 'JSONCompactEachRow',
  });
  const rows = await answer.json<[string, string]>();
  return new Map(rows);
}

async function remember({ client }: Clickhouse, { name, checksum }: MigrationFile): Promise<void> {
  await client.insert({
    table: VERSIONS,
    columns: ['name', 'checksum'],
    values: [[name, checksum]],
    format: 'JSONCompactEachRow',
    clickhouse_settings: { async_insert: 0 },
  });
}

async function run({ client }: Clickhouse, statement: string): Promise<void> {
  await client.command({
    query: statement,
    abort_signal: AbortSignal.timeout(STATEMENT_TIMEOUT_MS),
    clickhouse_settings: { wait_end_of_query: 1, alter_sync: '2', mutations_sync: '2' },
  });
}
