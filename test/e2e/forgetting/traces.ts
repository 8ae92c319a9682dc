/** Looks for a text past the program: in the bytes of every file, in every row of every table, in every object. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { inflateEvents } from '../../../src/replays/compression.js';
import type { ObjectStore } from '../../../src/storage/objects/objects.js';

/** Files under a folder that hold the text as it is. One that goes while it is looked for holds nothing any more. */
export async function inFiles(folder: string, marker: string): Promise<string[]> {
  const found: string[] = [];
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = await readFile(path).catch(() => Buffer.alloc(0));
    if (bytes.includes(marker)) found.push(path);
  }
  return found;
}

/** Tables of Postgres with a row that holds the text in any column, as text or as bytes. */
export async function inPostgres(sql: pg.Client, marker: string): Promise<string[]> {
  const { rows } = await sql.query<{ name: string }>(
    `SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) AS name FROM information_schema.tables
     WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')`,
  );
  const found: string[] = [];
  for (const { name } of rows) {
    const { rowCount } = await sql.query(
      `SELECT 1 FROM ${name} AS t WHERE position($1 IN t::text) > 0 OR position($2 IN t::text) > 0 LIMIT 1`,
      [marker, Buffer.from(marker).toString('hex')],
    );
    if (rowCount !== 0) found.push(name);
  }
  return found;
}

/** Runs a statement in ClickHouse and answers its rows. */
export type AskClickhouse = (query: string) => Promise<Record<string, unknown>[]>;

/** Tables of ClickHouse with a row that holds the text in any column. */
export async function inClickhouse(ask: AskClickhouse, marker: string): Promise<string[]> {
  const tables = await ask(
    `SELECT table, groupArray(name) AS columns FROM system.columns
     WHERE database = currentDatabase() AND match(type, 'String') AND table NOT LIKE '%\\_view' GROUP BY table`,
  );
  const found: string[] = [];
  for (const { table, columns } of tables) {
    const names = Array.isArray(columns) ? columns.map(String) : [];
    const any = names.map((name) => `position(toString(${name}), '${marker}') > 0`).join(' OR ');
    if ((await ask(`SELECT 1 FROM ${String(table)} WHERE ${any} LIMIT 1`)).length > 0)
      found.push(String(table));
  }
  return found;
}

/**
 * Parts of ClickHouse whose bytes cannot be asked for by a query: those that are out of use, and those that still hold rows that were
 * deleted. (Columns are compressed, so that looking for the text in their files would prove nothing.)
 */
export async function hiddenParts(ask: AskClickhouse): Promise<string[]> {
  const parts = await ask(
    `SELECT concat(table, ' ', name) AS part FROM system.parts
     WHERE database = currentDatabase() AND (NOT active OR has_lightweight_delete)
       AND table IN (SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'site_id')`,
  );
  return parts.map(({ part }) => String(part));
}

interface IndexedPart {
  readonly key: string;
  readonly offset: number;
  readonly length: number;
  readonly rawBytes: number;
}

/**
 * What recordings hold, decoded; throws when an object holds a byte that is in no part of the index, which nobody could look into.
 * @param parts the index, parts of one chunk each
 */
export async function inObjects(
  objects: Pick<ObjectStore, 'list' | 'get'>,
  prefix: string,
  parts: readonly IndexedPart[],
  marker: string,
): Promise<string[]> {
  const found: string[] = [];
  for await (const key of objects.list(prefix)) {
    const body = Buffer.from((await objects.get(key)) ?? []);
    const own = parts.filter((part) => part.key === key);
    const known = own.reduce((sum, { length }) => sum + length, 0);
    if (known !== body.length) throw new Error(`${key} has ${body.length} bytes, ${known} of them are known`);
    for (const { offset, length, rawBytes } of own) {
      const text = Buffer.from(await inflateEvents(body.subarray(offset, offset + length), rawBytes));
      if (text.includes(marker)) found.push(key);
    }
  }
  return found;
}
