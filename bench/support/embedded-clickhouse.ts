import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clickhouse, openClickhouse } from '../../src/storage/clickhouse.js';
import type { Program } from '../../test/support/program.js';

export interface ProgramClickhouse {
  readonly clickhouse: Clickhouse;
  readonly pid: number;
}

/** A client of the engine inside a running program. @param database what the program's CLICKHOUSE_DB says */
export async function clickhouseOf(
  program: Program,
  dataDir: string,
  database: string,
): Promise<ProgramClickhouse> {
  const config = await readFile(join(dataDir, 'clickhouse/config.xml'), 'utf8');
  const [, header, key] = /<headers><([\w-]+)>(\w+)</.exec(config) ?? [];
  const child = (await program.children()).find(({ command }) => command.includes('--http_port='));
  const port = /--http_port=(\d+)/.exec(child?.command ?? '')?.[1];
  if (header === undefined || key === undefined || child === undefined || port === undefined)
    throw new Error('the program has no embedded ClickHouse');
  const url = `http://127.0.0.1:${port}`;
  return {
    clickhouse: openClickhouse({ url, database, headers: { [header]: key }, requestTimeoutMs: 600_000 }),
    pid: child.pid,
  };
}

/** Rows of a query as arrays of values. */
export async function rowsOf({ client }: Clickhouse, query: string): Promise<unknown[][]> {
  const answer = await client.query({ query, format: 'JSONCompactEachRow' });
  return answer.json<unknown[]>();
}
