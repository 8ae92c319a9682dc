import { copyFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest';
import { type Clickhouse, openClickhouse } from '../../src/storage/clickhouse.js';
import { runClickhouseMigrations, type WithLock } from '../../src/storage/clickhouse-migrations.js';
import { freshName } from '../support/fresh.js';
import { repositoryRoot } from '../support/guard.js';
import { freePort } from '../support/ports.js';
import { until } from '../support/wait.js';

describe('ClickHouse migrations', () => {
  const lines: string[] = [];
  const log = pino({ base: null }, { write: (line: string) => void lines.push(line) });
  let folder: string;
  let clickhouse: Clickhouse;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'migrations-'));
    clickhouse = openClickhouse({ url: inject('servers').clickhouse, database: freshName('migrations') });
  });
  afterEach(async () => {
    const body = `DROP DATABASE IF EXISTS ${clickhouse.database} SYNC`;
    await fetch(inject('servers').clickhouse, { method: 'POST', body });
    await clickhouse.close();
    await rm(folder, { recursive: true });
  });

  const put = (name: string, sql: string) => writeFile(join(folder, name), sql);
  const migrate = (withLock?: WithLock) =>
    runClickhouseMigrations(clickhouse, { folder, log, ...(withLock ? { withLock } : {}) });
  const count = async (table: string): Promise<number> => {
    const answer = await clickhouse.client.query({
      query: `SELECT toUInt32(count()) FROM ${table}`,
      format: 'JSONCompactEachRow',
    });
    const [row] = await answer.json<[number]>();
    return row?.[0] ?? Number.NaN;
  };

  it('makes the database, runs each file once and in order, and later ones later', async () => {
    await put(
      '0002_rows.sql',
      "INSERT INTO {{table:notes}} VALUES ('a;b'); INSERT INTO notes VALUES ('c') -- end",
    );
    await put(
      '0001_notes.sql',
      'CREATE TABLE {{table:notes}} (text String) ENGINE = {{engine:MergeTree}} ORDER BY text;',
    );
    expect(await migrate()).toEqual(['0001_notes.sql', '0002_rows.sql']);
    expect(await migrate()).toEqual([]);
    await put('0003_more.sql', "INSERT INTO notes VALUES ('d');");
    expect(await migrate()).toEqual(['0003_more.sql']);
    expect(await count('notes')).toBe(3);
  });

  it('leaves a database alone that has a table of ours from somebody else', async () => {
    const sql = async (body: string) => {
      const answer = await fetch(inject('servers').clickhouse, { method: 'POST', body });
      expect([answer.status, await answer.text()]).toEqual([200, '']);
    };
    const { database } = clickhouse;
    await sql(`CREATE DATABASE ${database}`);
    await sql(`CREATE TABLE ${database}.notes (id UUID) ENGINE = MergeTree ORDER BY id`);
    await put(
      '0001_notes.sql',
      'CREATE TABLE IF NOT EXISTS notes (text String) ENGINE = MergeTree ORDER BY text',
    );
    const owning = () => runClickhouseMigrations(clickhouse, { folder, log, ownTable: 'notes' });
    await expect(owning()).rejects.toThrow(
      `${database} has a table notes of another program: set CLICKHOUSE_DB`,
    );
    await expect(count('schema_migrations')).rejects.toThrow();
    await sql(`DROP TABLE ${database}.notes SYNC`);
    expect([await owning(), await owning()]).toEqual([['0001_notes.sql'], []]);
  });

  it('gives the rollup custom events of before, and gives them once', async () => {
    const own = join(repositoryRoot, 'migrations/clickhouse');
    const copy = async (names: readonly string[]) => {
      for (const name of names) await copyFile(join(own, name), join(folder, name));
    };
    const names = await readdir(own);
    const isLater = (name: string) => name >= '0011_custom_events.sql';
    await copy(names.filter((name) => !isLater(name)));
    await migrate();
    // Of two sessions, a page view among them.
    await clickhouse.client.command({
      query: `INSERT INTO events (event_id, timestamp, site_id, kind, event_type, visitor_id, session_id)
        SELECT toString(number), toDateTime64('2026-10-20 10:00:00', 3, 'UTC') + number, 'site', if(number = 4, 1, 2), 'signup', 'v', toString(number % 2)
        FROM numbers(5)`,
    });
    await copy(names.filter(isLater));
    await migrate();
    await copyFile(join(own, '0011_custom_events.sql'), join(folder, '9999_again.sql'));
    await migrate();
    const answer = await clickhouse.client.query({
      query: `SELECT toUInt32(sum(customs)), toUInt32(sum(length(custom_ts))), toUInt32(sum(page_views)),
        toUInt32(uniqExactArray(custom_ts)), arraySort(groupUniqArrayArray(custom_type)) FROM session_slots`,
      format: 'JSONCompactEachRow',
    });
    expect(await answer.json()).toEqual([[4, 4, 1, 4, ['signup']]]);
  });

  it('goes on at the file that failed, and refuses files that were changed', async () => {
    await put('0001_a.sql', 'CREATE TABLE a (n UInt8) ENGINE = MergeTree ORDER BY n;');
    await put('0002_b.sql', 'CREATE TABLE b (n Unknown) ENGINE = MergeTree ORDER BY n;');
    await expect(migrate()).rejects.toThrow('Unknown');
    await put('0002_b.sql', 'CREATE TABLE b (n UInt8) ENGINE = MergeTree ORDER BY n;');
    expect(await migrate()).toEqual(['0002_b.sql']);
    await put('0001_a.sql', 'CREATE TABLE a (n UInt16) ENGINE = MergeTree ORDER BY n;');
    await expect(migrate()).rejects.toThrow('0001_a.sql was changed');
  });

  it('runs under the lock it is given', async () => {
    await put(
      '0001_a.sql',
      'CREATE TABLE a (n UInt8) ENGINE = MergeTree ORDER BY n; INSERT INTO a VALUES (1);',
    );
    let last: Promise<unknown> = Promise.resolve();
    const withLock: WithLock = (work) => {
      const mine = last.then(work);
      last = mine.catch(() => {});
      return mine;
    };
    const ran = await Promise.all(Array.from({ length: 5 }, () => migrate(withLock)));
    expect(ran.flat()).toEqual(['0001_a.sql']);
    expect(await count('a')).toBe(1);
  });

  it('says what it waits for, and gives up only when told to', async () => {
    const away = openClickhouse({ url: `http://user:secret@127.0.0.1:${await freePort()}`, database: 'x' });
    const stop = new AbortController();
    const waiting = runClickhouseMigrations(away, { folder, log, signal: stop.signal });
    await until(() => lines.some((line) => line.includes(`waiting for ClickHouse at ${away.address}`)), {
      what: 'the log line',
    });
    stop.abort();
    await expect(waiting).rejects.toThrow();
    expect(lines.join()).not.toContain('secret');
    await away.close();
  });

  it('does not wait for a server that refuses the credentials', async () => {
    const url = new URL(inject('servers').clickhouse);
    url.username = 'nobody';
    url.password = 'wrong';
    const refused = openClickhouse({ url: url.href, database: 'x' });
    await expect(runClickhouseMigrations(refused, { folder, log })).rejects.toThrow('nobody');
    await refused.close();
  });

  it('takes identifiers only as names', () => {
    for (const database of ['a b', 'a`b', "a'b", 'a;b', ''])
      expect(() => openClickhouse({ url: 'http://localhost', database })).toThrow(
        'not a ClickHouse identifier',
      );
    expect(() => openClickhouse({ url: 'http://localhost', cluster: "c'" })).toThrow(
      'not a ClickHouse identifier',
    );
    const { database, address } = openClickhouse({ url: 'https://u:p%40ss@ch.example/stats' });
    expect([database, address]).toEqual(['stats', 'ch.example:443']);
  });
});
