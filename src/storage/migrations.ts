import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import type { Logger } from '../telemetry.js';
import { within } from './postgres.js';

export interface MigrationOptions {
  /** Folder of `NNNN_name.sql` files; they run in the order of their names. */
  readonly folder: string | URL;
  /** Version table, e.g. `seentics_meta_migrations`; also names the lock, so that two sets do not wait for one another. */
  readonly table: string;
  readonly log: Logger;
  /** A table that these files make: where it is before any of them ran, it is another program's, and nothing is touched. */
  readonly ownTable?: string;
}

/**
 * Brings a Postgres schema up to date: every file that the version table does not know runs once, all in one transaction under an
 * advisory lock, so that any number of nodes may start at the same time and a failing file leaves nothing behind.
 * @returns names of the files that ran
 * @throws Error when a file that has run was changed since (write a new one instead), or the database is another program's
 */
export async function runPostgresMigrations(
  pool: Pick<pg.Pool, 'connect'>,
  options: MigrationOptions,
): Promise<string[]> {
  if (!/^[a-z_]{1,60}$/.test(options.table)) throw new Error(`not a table name: ${options.table}`);
  const files = await readMigrations(options.folder);
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query('SET LOCAL statement_timeout = 0');
    // Bound to the transaction, so it works behind connection poolers and cannot outlive a crash.
    const lock = 'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))';
    await client.query(within(Number.POSITIVE_INFINITY, lock, [options.table]));
    await client.query(
      `CREATE TABLE IF NOT EXISTS ${options.table} (
         name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`,
    );
    const applied = await appliedMigrations(client, options.table);
    if (options.ownTable !== undefined && applied.size === 0) await refuseForeign(client, options.ownTable);
    const ran: string[] = [];
    for (const file of files) {
      const known = applied.get(file.name);
      if (known === file.checksum) continue;
      if (known !== undefined) throw new Error(`migration ${file.name} was changed after it had run`);
      await client.query(within(Number.POSITIVE_INFINITY, file.sql));
      await client.query(`INSERT INTO ${options.table} (name, checksum) VALUES ($1, $2)`, [
        file.name,
        file.checksum,
      ]);
      ran.push(file.name);
    }
    await client.query('COMMIT');
    if (ran.length > 0) options.log.info({ table: options.table, ran }, 'Postgres schema brought up to date');
    client.release();
    return ran;
  } catch (error) {
    // The transaction and the lock end with the connection.
    client.release(true);
    throw error;
  }
}

async function refuseForeign(client: pg.PoolClient, table: string): Promise<void> {
  const { rows } = await client.query(
    'SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1',
    [table],
  );
  if (rows.length === 0) return;
  throw new Error(
    `the Postgres database has a table ${table} of another program: rename it (ALTER TABLE ${table} RENAME TO original_${table}), or keep ` +
      'events in ClickHouse (coming from the original: docs/operations.md)',
  );
}

async function readMigrations(folder: string | URL) {
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

async function appliedMigrations(client: pg.PoolClient, table: string): Promise<Map<string, string>> {
  const { rows } = await client.query<Record<string, unknown>>(`SELECT name, checksum FROM ${table}`);
  return new Map(rows.map((row) => [String(row.name), String(row.checksum)]));
}
