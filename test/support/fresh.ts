import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';

/** A name nobody else uses: letters, digits and underscores, starts with `prefix`. For databases, key prefixes, streams. */
export const freshName = (prefix: string): string => `${prefix}_${randomBytes(6).toString('hex')}`;

async function administer(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

/** An empty Postgres database of the test's own; `drop` ends its connections and removes it. */
export async function freshPostgres(): Promise<{ url: string; drop(): Promise<void> }> {
  const admin = inject('servers').postgres;
  const name = freshName('test');
  await administer(admin, `CREATE DATABASE ${name}`);
  const url = new URL(admin);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => administer(admin, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
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
