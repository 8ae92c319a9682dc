import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { until } from './wait.js';

/** A name nobody else uses: letters, digits and underscores, starts with `prefix`. For databases, key prefixes, streams. */
export const freshName = (prefix: string): string => `${prefix}_${randomBytes(6).toString('hex')}`;

async function administer(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

/** How long connections of a database may take to end by themselves, ms. */
const LEAVING_MS = 5_000;

/**
 * Removes a database once its connections are gone: `Pool.end` answers before they are, and a connection that the server
 * ends in that moment is an error that nobody listens to. What was left open is ended by force in the end.
 */
async function dropDatabase(admin: string, name: string): Promise<void> {
  await administer(admin, async (client) => {
    const isLeft = async () => {
      const { rows } = await client.query('SELECT 1 FROM pg_stat_activity WHERE datname = $1 LIMIT 1', [
        name,
      ]);
      return rows.length === 0;
    };
    await until(isLeft, { what: `${name} to be left`, timeoutMs: LEAVING_MS }).catch(() => {});
    await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
  });
}

/** An empty Postgres database of the test's own; `drop` ends its connections and removes it. */
export async function freshPostgres(): Promise<{ url: string; drop(): Promise<void> }> {
  const admin = inject('servers').postgres;
  const name = freshName('test');
  await administer(admin, (client) => client.query(`CREATE DATABASE ${name}`));
  const url = new URL(admin);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => dropDatabase(admin, name) };
}

async function clickhouseCommand(url: string, sql: string): Promise<void> {
  const answer = await fetch(url, { method: 'POST', body: sql });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
}

/** An empty ClickHouse database of the test's own: the server's URL, the database's name. */
export async function freshClickhouse(): Promise<{ url: string; database: string; drop(): Promise<void> }> {
  const url = inject('servers').clickhouse;
  const database = freshName('test');
  await clickhouseCommand(url, `CREATE DATABASE ${database}`);
  return { url, database, drop: () => clickhouseCommand(url, `DROP DATABASE IF EXISTS ${database} SYNC`) };
}
