/** A node of several processes (`PROCESSES`) is for everybody outside what a node of one is. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Type, { type Static } from 'typebox';
import { Value } from 'typebox/value';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, onTestFailed, test } from 'vitest';
import { Api, type Site } from '../support/api.js';
import { type NatsServer, startNats } from '../support/engines/nats.js';
import { freshClickhouse, freshName, freshPostgres } from '../support/fresh.js';
import { Guard, type Guarded, repositoryRoot } from '../support/guard.js';
import { type ProcessInfo, survivors } from '../support/process-tree.js';
import { Program } from '../support/program.js';
import { until } from '../support/wait.js';
import { expectEachOnce, storedByPage } from './counted.js';
import { Load } from './load.js';

const Ready = Type.Object({
  status: Type.String(),
  parts: Type.Array(
    Type.Object({
      name: Type.String(),
      state: Type.String(),
      detail: Type.Optional(Type.String()),
      backlog: Type.Optional(Type.Number()),
    }),
  ),
});
type Ready = Static<typeof Ready>;

describe('PROCESSES=2 on servers', () => {
  let guard: Guard;
  let nats: NatsServer;
  let clickhouse: Awaited<ReturnType<typeof freshClickhouse>>;
  let postgres: Awaited<ReturnType<typeof freshPostgres>>;
  let settings: Record<string, string>;
  let dataDir: string;
  let program: Program;
  /** One whose second process cannot have its folder. */
  let broken: Guarded;
  let api: Api;
  let sites = 0;

  beforeAll(async () => {
    guard = await Guard.start();
    const { programs, redis, s3 } = inject('servers');
    [nats, clickhouse, postgres] = await Promise.all([
      startNats(guard, programs.nats),
      freshClickhouse(),
      freshPostgres(),
    ]);
    settings = {
      PROCESSES: '2',
      DATABASE_URL: postgres.url,
      REDIS_URL: `${redis}/11`,
      NATS_URL: nats.url,
      CLICKHOUSE_URL: clickhouse.url,
      CLICKHOUSE_DB: clickhouse.database,
      S3_ENDPOINT: s3.endpoint,
      S3_BUCKET_REPLAYS: freshName('processes').replaceAll('_', '-'),
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    };
    const noFolder = join(guard.directory, 'broken');
    await mkdir(noFolder);
    await writeFile(join(noFolder, 'process-2'), 'no folder');
    broken = guard.start('program', process.execPath, [join(repositoryRoot, 'dist/main.js')], {
      env: { ...settings, PATH: process.env.PATH, PORT: '0', DATA_DIR: noFolder },
    });
    dataDir = join(guard.directory, 'data');
    program = await Program.start(guard, { dataDir, env: settings });
    await untilAllServe();
    api = await Api.register(() => program.url);
  });

  beforeEach(() => onTestFailed(() => program.showLog()));

  afterAll(async () => {
    await program?.stop();
    await guard?.stop();
    await postgres?.drop();
    await clickhouse?.drop();
  });

  const newLoad = async (seed: number): Promise<{ site: Site; load: Load }> => {
    const site = await api.createSite(`shop-${++sites}.example`);
    return { site, load: new Load({ url: () => program.url, site, seed, senders: 24 }) };
  };

  const counted = (site: Site, load: Load) =>
    expectEachOnce(api, site, load, () => storedByPage(clickhouse.url, clickhouse.database, site.siteId));

  const ready = async (): Promise<Ready> =>
    Value.Parse(Ready, await (await fetch(`${program.url}/ready`)).json());
  const processes = ({ parts }: Ready) => parts.find(({ name }) => name === 'processes');
  const untilAllServe = () =>
    until(async () => processes(await ready())?.state === 'up', { what: 'all processes to serve' });
  const metrics = async () => (await fetch(`${program.url}/metrics`)).text();
  /** Requests to the event routes that were answered 2xx, by process. */
  const ingested = (text: string): Map<string, number> => {
    const counts = new Map<string, number>();
    const line =
      /^seentics_http_request_duration_seconds_count\{.*route="\/api\/v1\/analytics\/(?:event|batch)".*status="2xx".*process="(\d+)"\} (\d+)$/gm;
    for (const [, process = '', count] of text.matchAll(line))
      counts.set(process, (counts.get(process) ?? 0) + Number(count));
    return counts;
  };
  /** The processes that answer requests, by their number. */
  const members = async (): Promise<Map<number, ProcessInfo>> => {
    const children = await program.children();
    return new Map(
      children.flatMap((child) => {
        const [, number] = /--process=(\d+)\//.exec(child.command) ?? [];
        return number === undefined ? [] : [[Number(number), child] as const];
      }),
    );
  };

  test('says once and in at most ten lines what there is to know, and has a folder a process', async () => {
    await until(async () => (await program.log()).includes('Seentics Core is ready'), {
      what: 'the program to say what there is to know',
    });
    const lines = (await program.log()).split('\n').filter((line) => !/^(\{.*)?$/.test(line));
    expect(lines.length).toBeLessThanOrEqual(10);
    expect(lines.filter((line) => line.startsWith('Seentics Core is ready'))).toHaveLength(1);
    expect(lines).toContain('  processes 2');
    expect((await readdir(dataDir)).sort()).toEqual([
      'jwt-secret',
      'lock',
      'process-1',
      'process-2',
      'reserve',
    ]);
    expect([...(await members()).keys()].sort()).toEqual([1, 2]);
  });

  test('has a parent that loads nothing of what its processes do', async () => {
    const loads = async (pid: number) => /argon2.*\.node$/m.test(await readFile(`/proc/${pid}/maps`, 'utf8'));
    expect(await loads((await members()).get(1)?.pid ?? 0)).toBe(true);
    expect(await loads(program.pid)).toBe(false);
  });

  test('P1 P2 P3: events over many connections reach both processes and count once; whichever is asked answers for both', async () => {
    const { site, load } = await newLoad(30_251);
    load.start();
    let last = new Map<string, number>();
    for (let scrape = 0; scrape < 8; scrape++) {
      await load.progress(40);
      const text = await metrics();
      const now = ingested(text);
      for (const [process, count] of last) expect(now.get(process)).toBeGreaterThanOrEqual(count);
      last = now;
      expect(text).toContain('\nseentics_processes_up 2\n');
      for (const process of [1, 2])
        expect(text).toMatch(`process_resident_memory_bytes{process="${process}"}`);
    }
    await load.stop();
    expect([...last.keys()].sort()).toEqual(['1', '2']);
    const total = [...ingested(await metrics()).values()].reduce((sum, count) => sum + count, 0);
    expect(total).toBe(load.answered);
    await counted(site, load);
  }, 60_000);

  test('P1 P3: kill -9 of a process and then of the parent under load: it comes back, nothing stays, each event counts once', async () => {
    const { site, load } = await newLoad(30_252);
    load.start();
    await load.progress(60);
    const victim = (await members()).get(2);
    if (victim === undefined) return expect.fail('there is no process 2');
    process.kill(victim.pid, 'SIGKILL');
    const oneAway = await until(
      async () => {
        const answer = await ready();
        return processes(answer)?.state === 'degraded' && answer;
      },
      { what: 'the node to say that a process is missing', everyMs: 10 },
    );
    expect(oneAway.status).toBe('ready');
    expect(processes(oneAway)).toEqual({
      ...{ name: 'processes', adapter: 'supervisor', embedded: true, required: true, state: 'degraded' },
      detail: '1 of 2 answer; missing: 2',
    });
    await load.progress(60);
    await untilAllServe();
    expect((await members()).get(2)?.pid).not.toBe(victim.pid);
    expect(await metrics()).toContain('\nseentics_process_restarts_total{process="2"} 1\n');
    await load.progress(60);

    await program.kill9();
    expect(program.lastChildren.length).toBeGreaterThanOrEqual(2);
    // The next start finds the port and the folders free, although the processes of the last one had to end first.
    await program.restart();
    await untilAllServe();
    await until(async () => (await survivors(program.lastChildren)).length === 0, {
      what: 'the processes of the killed parent to be gone',
    });
    await load.progress(60);
    await load.stop();
    await counted(site, load);
  }, 60_000);

  test('P1: SIGTERM drains within 5 s with no child left; what two processes have spooled is taken over by one', async () => {
    const { site, load } = await newLoad(30_254);
    await nats.process.end('SIGTERM');
    load.start();
    await load.progress(100);
    await load.stop();
    expect(load.repeatedAfterFailure).toBe(0);
    const stream = (await ready()).parts.find(({ name }) => name === 'stream');
    expect(stream?.detail).toMatch(
      /process 1: .*[1-9]\d* messages wait in the spool; process 2: .*[1-9]\d* messages wait/,
    );
    expect(await program.stop()).toBeLessThan(5_000);
    expect(program.exitCode).toBe(0);
    expect(await survivors(program.lastChildren)).toEqual([]);
    await nats.restart();
    const alone = await Program.start(guard, {
      ...{ dataDir, port: program.port },
      env: { ...settings, PROCESSES: '1' },
    });
    await counted(site, load);
    await until(
      async () => !existsSync(join(dataDir, 'process-1')) && !existsSync(join(dataDir, 'process-2')),
      {
        what: 'the folders of the processes to be gone',
      },
    );
    await alone.stop();
  }, 60_000);

  test('a process that cannot start for good ends all, with its exit code', async () => {
    await until(() => !broken.running(), { what: 'the program to end' });
    expect(broken.child.exitCode).toBe(1);
    const said = (await readFile(broken.logFile, 'utf8'))
      .split('\n')
      .filter((line) => !/^(\{.*)?$/.test(line));
    expect(said).toEqual([
      expect.stringMatching(/^cannot start: DATA_DIR \(.*process-2\) cannot be written: /),
    ]);
  });
});
