import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createMetadataStore } from '../../src/storage/metadata/postgres-store.js';
import { runPostgresMigrations } from '../../src/storage/migrations.js';
import { type Database, openPostgres, type PostgresOptions } from '../../src/storage/postgres.js';
import { silentTelemetry, type Telemetry } from '../../src/telemetry.js';
import { freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';
import { Relay } from './relay.js';

let database: Awaited<ReturnType<typeof freshPostgres>>;
beforeAll(async () => {
  database = await freshPostgres();
});
afterAll(() => database.drop());

const open = (url = database.url, more: Partial<PostgresOptions> = {}) =>
  openPostgres({
    name: 'test',
    url,
    maxConnections: 2,
    minConnections: 0,
    telemetry: silentTelemetry(),
    ...more,
  });

describe('migrations', () => {
  let folder: string;
  let db: Database;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'migrations-'));
    db = open();
  });
  afterEach(async () => {
    await db.query('DROP TABLE IF EXISTS t, test_versions');
    await db.close();
    await rm(folder, { recursive: true });
  });
  const file = (name: string, sql: string) => writeFile(join(folder, name), sql);
  const run = (pool = db.pool) =>
    runPostgresMigrations(pool, { folder, table: 'test_versions', log: silentTelemetry().log });

  it('run in order, once, also when many nodes start at the same time', async () => {
    await file('0002_b.sql', "INSERT INTO t VALUES ('b'); INSERT INTO t VALUES ('c');");
    await file('0001_a.sql', 'CREATE TABLE t (x text)');
    await file('readme.txt', 'no SQL');
    const nodes = Array.from({ length: 6 }, () => open());
    const ran = await Promise.all(nodes.map(({ pool }) => run(pool)));
    expect(ran.flat()).toEqual(['0001_a.sql', '0002_b.sql']);
    expect(await db.query('SELECT x FROM t ORDER BY x')).toEqual([{ x: 'b' }, { x: 'c' }]);
    await file('0003_d.sql', 'DROP TABLE t');
    expect(await run()).toEqual(['0003_d.sql']);
    await Promise.all(nodes.map((node) => node.close()));
  });

  it('leave nothing behind when one fails', async () => {
    await file('0001_a.sql', 'CREATE TABLE t (x text)');
    await file('0002_b.sql', 'CREATE TABLE');
    await expect(run()).rejects.toThrow('syntax error');
    expect(await db.query("SELECT to_regclass('t') AS t, to_regclass('test_versions') AS v")).toEqual([
      { t: null, v: null },
    ]);
    await file('0002_b.sql', 'SELECT 1');
    expect(await run()).toHaveLength(2);
  });

  it('refuse a file that was changed after it had run, but not other line ends', async () => {
    await file('0001_a.sql', 'CREATE TABLE t (\n x text)');
    await run();
    await file('0001_a.sql', 'CREATE TABLE t (\r\n x text)');
    expect(await run()).toEqual([]);
    await file('0001_a.sql', 'CREATE TABLE t (x int)');
    await expect(run()).rejects.toThrow('0001_a.sql was changed');
  });
});

describe('the pool', () => {
  it('rolls a transaction back when its work throws', async () => {
    const db = open();
    await db.query('CREATE TABLE tx (x int)');
    await expect(
      db.transaction(async (tx) => {
        await tx.query('INSERT INTO tx VALUES (1)');
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await db.query('SELECT * FROM tx')).toEqual([]);
    await db.transaction((tx) => tx.query('INSERT INTO tx VALUES ($1)', [2]));
    expect(await db.query('SELECT * FROM tx')).toEqual([{ x: 2 }]);
    await db.close();
  });

  it('refuses what would wait too long in line, and ends slow statements', async () => {
    const db = open(database.url, { maxWaiting: 3, statementTimeoutMs: 300 });
    const slow = Array.from({ length: 5 }, () => db.query('SELECT pg_sleep(10)'));
    const settled = Promise.allSettled(slow);
    await until(() => db.pool.waitingCount === 3, { what: 'the line to fill', everyMs: 5 });
    await expect(db.query('SELECT 1')).rejects.toMatchObject({ code: 'overloaded' });
    for (const outcome of await settled) expect(outcome).toMatchObject({ reason: { code: 'timeout' } });
    expect(await db.query('SELECT 1 AS x')).toEqual([{ x: 1 }]);
    await db.close();
  });

  it('says storage_unavailable while the server is away, and works again after', async () => {
    const relay = await Relay.before(database.url);
    const db = open(relay.through(database.url));
    await db.ping();
    const running = expect(db.query('SELECT pg_sleep(10)')).rejects.toMatchObject({
      code: 'storage_unavailable',
    });
    await until(() => db.pool.totalCount - db.pool.idleCount === 1, { what: 'the query to run', everyMs: 5 });
    relay.closed = true;
    relay.cut();
    await running;
    await expect(db.ping()).rejects.toMatchObject({ code: 'storage_unavailable' });
    await expect(db.transaction((tx) => tx.query('SELECT 1'))).rejects.toMatchObject({
      code: 'storage_unavailable',
    });
    relay.closed = false;
    await db.ping();
    await db.close();
    relay.stop();
  });
});

describe('a host that dies without a word', () => {
  const limits = { statementTimeoutMs: 100, answerMs: 200 };
  let relay: Relay;
  let db: Database;
  beforeEach(async () => {
    relay = await Relay.before(database.url);
    db = open(relay.through(database.url), { ...limits, maxConnections: 4 });
    await Promise.all(Array.from({ length: 4 }, () => db.query('SELECT pg_sleep(0.05)')));
    expect(db.pool.idleCount).toBe(4);
    relay.lose();
  });
  afterEach(async () => {
    await db.close();
    relay.stop();
  });

  it('costs one query its time, and no connection from before is used again', async () => {
    await expect(db.query('SELECT 1')).rejects.toMatchObject({ code: 'storage_unavailable' });
    expect(await db.query('SELECT 1 AS x')).toEqual([{ x: 1 }]);
    expect(await db.transaction((tx) => tx.query('SELECT 2 AS x'))).toEqual([{ x: 2 }]);
    expect(db.pool.totalCount).toBe(1);
  });

  it('fails a transaction after the time of its statements, and the next one works', async () => {
    const running = db.transaction((tx) => tx.query('SELECT 1'));
    await expect(running).rejects.toMatchObject({ code: 'storage_unavailable' });
    const slow = db.transaction(async (tx) => {
      await tx.limitStatements(10_000);
      return tx.query('SELECT 1 AS x FROM pg_sleep(0.5)');
    });
    expect(await slow).toEqual([{ x: 1 }]);
    await expect(db.transaction((tx) => tx.query('SELECT pg_sleep(5)'))).rejects.toMatchObject({
      code: 'timeout',
    });
  });
});

describe('the metadata store at the start', () => {
  const lines: string[] = [];
  const telemetry: Telemetry = {
    log: pino({ level: 'info' }, { write: (line: string) => lines.push(line) }),
    registry: new Registry(),
  };
  const start = (url: string, signal?: AbortSignal) =>
    createMetadataStore({
      url,
      maxConnections: 2,
      minConnections: 0,
      telemetry,
      ...(signal ? { signal } : {}),
    });

  it('waits for a server that is away and says so without credentials', async () => {
    const relay = await Relay.before(database.url);
    relay.closed = true;
    const url = new URL(relay.through(database.url));
    url.password = 'very-secret';
    const starting = start(url.href);
    await until(() => lines.some((line) => line.includes('waiting for Postgres')), { what: 'the line' });
    relay.closed = false;
    const store = await starting;
    await store.ping();
    expect(await store.users.exists()).toBe(false);
    await store.close();
    relay.stop();
    expect(lines.join('')).toContain(`waiting for Postgres at 127.0.0.1:${url.port}`);
    expect(lines.join('')).not.toContain('very-secret');
    expect(lines.filter((line) => line.includes('waiting for'))).toHaveLength(1);
  });

  it('stops waiting when it is told to', async () => {
    const relay = await Relay.before(database.url);
    relay.closed = true;
    const leave = new AbortController();
    const starting = start(relay.through(database.url), leave.signal);
    leave.abort(new Error('stopped'));
    await expect(starting).rejects.toThrow();
    relay.stop();
  });

  it('does not wait for what time cannot cure', async () => {
    const url = new URL(database.url);
    url.pathname = '/no_such_database';
    await expect(start(url.href)).rejects.toThrow('no_such_database');
  });
});
