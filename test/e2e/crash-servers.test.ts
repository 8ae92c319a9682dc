import { existsSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, onTestFailed, test } from 'vitest';
import { Api, type Site } from '../support/api.js';
import { type ClickhouseServer, startClickhouse } from '../support/engines/clickhouse.js';
import { type NatsServer, startNats } from '../support/engines/nats.js';
import { freshName, freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';
import { pause, until } from '../support/wait.js';
import { expectEachOnce, storedByPage } from './counted.js';
import { Load } from './load.js';

const rounds = 5;
/** How long a server is away in the tests of an outage. */
const outageMs = Number(process.env.OUTAGE_SECONDS ?? 10) * 1_000;

describe('on servers: Postgres, Redis, NATS, ClickHouse, S3', () => {
  const clickhouseDatabase = 'crash';
  let guard: Guard;
  let nats: NatsServer;
  let clickhouse: ClickhouseServer;
  let postgres: Awaited<ReturnType<typeof freshPostgres>>;
  let program: Program;
  let settings: Record<string, string>;
  let api: Api;
  let sites = 0;

  beforeAll(async () => {
    guard = await Guard.start();
    const { programs, redis, s3 } = inject('servers');
    [nats, clickhouse, postgres] = await Promise.all([
      startNats(guard, programs.nats),
      startClickhouse(guard),
      freshPostgres(),
    ]);
    settings = {
      DATABASE_URL: postgres.url,
      REDIS_URL: `${redis}/9`,
      NATS_URL: nats.url,
      CLICKHOUSE_URL: clickhouse.url,
      CLICKHOUSE_DB: clickhouseDatabase,
      S3_ENDPOINT: s3.endpoint,
      S3_BUCKET_REPLAYS: freshName('crash').replaceAll('_', '-'),
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
      JWT_SECRET: freshName('a secret that is long enough for production use'),
    };
    program = await Program.start(guard, { dataDir: join(guard.directory, 'data'), env: settings });
    api = await Api.register(() => program.url);
  });

  beforeEach(() => onTestFailed(() => program.showLog()));

  afterAll(async () => {
    await program?.stop();
    await guard?.stop();
    await postgres?.drop();
  });

  const newLoad = async (seed: number): Promise<{ site: Site; load: Load }> => {
    const site = await api.createSite(`shop-${++sites}.example`);
    return { site, load: new Load({ url: () => program.url, site, seed }) };
  };

  const counted = (site: Site, load: Load) =>
    expectEachOnce(api, site, load, () => storedByPage(clickhouse.url, clickhouseDatabase, site.siteId));

  test(`P1 P2 P3: kill -9 of program, NATS and ClickHouse in turn, ${rounds} rounds under load: each accepted event counts once`, async () => {
    const { site, load } = await newLoad(20_251);
    load.start();
    for (let round = 1; round <= rounds; round++) {
      await load.progress(60);
      await program.kill9();
      await program.restart();

      await load.progress(60);
      await nats.process.end('SIGKILL');
      await load.progress(20);
      await nats.restart();

      await load.progress(60);
      await clickhouse.process.end('SIGKILL');
      await load.progress(100);
      if (round % 2 === 0) await program.kill9(); // With a block that was not yet stored.
      await clickhouse.restart();
      if (round % 2 === 0) await program.restart();
    }
    await load.progress(60);
    await Promise.all([nats.process.end('SIGKILL'), clickhouse.process.end('SIGKILL'), program.kill9()]);
    await Promise.all([nats.restart(), clickhouse.restart()]);
    await program.restart();
    await load.progress(60);
    await load.stop();
    expect(load.repeatedAfterFailure).toBeGreaterThan(0);
    await counted(site, load);
  }, 400_000);

  test(`P1 P2: ClickHouse away for ${outageMs / 1_000} s costs nothing but delay`, async () => {
    const { site, load } = await newLoad(20_252);
    load.start();
    await load.progress(30);
    await clickhouse.process.end('SIGTERM');
    const before = load.answered;
    await pause(outageMs);
    expect(load.answered).toBeGreaterThan(before);
    await clickhouse.restart();
    await load.progress(30);
    await load.stop();
    expect(load.repeatedAfterFailure).toBe(0);
    await counted(site, load);
    expect((await api.books(site)).stored).toBe(load.accepted.size);
  }, 150_000);

  test(`P1 P2: NATS away for ${outageMs / 1_000} s costs nothing but delay, and the disk spool survives kill -9`, async () => {
    const { site, load } = await newLoad(20_253);
    load.start();
    await load.progress(30);
    await nats.process.end('SIGTERM');
    const before = load.answered;
    await pause(outageMs);
    expect(load.answered).toBeGreaterThan(before);
    expect(load.repeatedAfterFailure).toBe(0);
    await program.kill9(); // What was accepted meanwhile is in the spool of this node and nowhere else.
    // A node that got NATS has a local log from before. Here it holds the same once more, which counts once.
    const data = join(guard.directory, 'data');
    await cp(join(data, 'spool'), join(data, 'stream'), { recursive: true });
    await mkdir(join(data, 'recordings'));
    await nats.restart();
    await program.restart();
    await load.progress(30);
    await load.stop();
    await counted(site, load);
    await until(() => !existsSync(join(data, 'stream')) && !existsSync(join(data, 'recordings')), {
      what: 'the former streams to be taken over',
    });
  }, 150_000);

  test('P1 P3: two nodes share the work, take over from each other after kill -9, and what was sent to both counts once', async () => {
    const other = await Program.start(guard, { dataDir: join(guard.directory, 'other'), env: settings });
    const site = await api.createSite(`shop-${++sites}.example`);
    let turn = 0;
    const load = new Load({ url: () => (turn++ % 2 === 0 ? program.url : other.url), site, seed: 20_255 });
    load.start();
    for (const node of [other, program]) {
      await load.progress(60);
      await node.kill9();
      await load.progress(60);
      await node.restart();
    }
    await load.progress(60);
    await load.stop();
    await counted(site, load);
    await other.stop();
  }, 200_000);
});
