import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { Api, type Site } from '../../test/support/api.js';
import { startS3 } from '../../test/support/engines/ceph.js';
import { startClickhouse } from '../../test/support/engines/clickhouse.js';
import { startNats } from '../../test/support/engines/nats.js';
import { startPostgres } from '../../test/support/engines/postgres.js';
import { startRedis } from '../../test/support/engines/redis.js';
import { type Guard, repositoryRoot } from '../../test/support/guard.js';
import { ensureInstalled, programPath } from '../../test/support/installed.js';
import { Program } from '../../test/support/program.js';
import { until } from '../../test/support/wait.js';

/** Something that takes load, with the processes whose CPU counts. */
export interface Target {
  readonly name: string;
  readonly url: string;
  readonly roots: Readonly<Record<string, number>>;
  readonly sites: readonly Site[];
  /** Resolves when everything accepted is in the event store. */
  drained(): Promise<void>;
  /** Page views that the daily figures of all sites show now. */
  counted(): Promise<number>;
  stop(): Promise<void>;
}

const SITES = 20;

/** The bare handler, which stores nothing. */
export async function bareTarget(guard: Guard): Promise<Target> {
  const process_ = guard.start('bare', process.execPath, [
    '--import',
    'tsx',
    join(repositoryRoot, 'bench/support/bare-server.ts'),
  ]);
  const { stdout } = process_.child;
  if (stdout === null) throw new Error('the bare server has no output');
  const [port]: string[] = await once(createInterface({ input: stdout }), 'line');
  return {
    name: 'bare uWebSockets.js',
    url: `http://127.0.0.1:${port}`,
    roots: { handler: process_.pid },
    sites: Array.from({ length: SITES }, (_, i) => ({
      id: `${i}`,
      siteId: `5f5e1000000000000000${String(i).padStart(4, '0')}`,
      host: 'shop.example',
    })),
    drained: async () => undefined,
    counted: async () => 0,
    stop: () => process_.end(),
  };
}

/** The program with everything embedded. */
export async function embeddedTarget(
  guard: Guard,
  env: Readonly<Record<string, string>> = {},
): Promise<Target> {
  const program = await Program.start(guard, {
    dataDir: join(guard.directory, 'embedded'),
    env: { ...LOAD_SETTINGS, ...env },
  });
  return programTarget('embedded', program, {});
}

/** The program on Postgres, Redis, NATS and ClickHouse servers of its own, in as many processes as `PROCESSES` says. */
export async function serversTarget(guard: Guard): Promise<Target> {
  const installed = await ensureInstalled(console.error);
  const { PROCESSES = '1' } = process.env;
  const [postgres, redis, nats, clickhouse] = await Promise.all([
    startPostgres(guard, installed.postgresBin),
    startRedis(guard, programPath(installed, 'redis-server')),
    startNats(guard, programPath(installed, 'nats-server')),
    startClickhouse(guard),
  ]);
  const objects = PROCESSES === '1' ? {} : objectSettings(await startS3(guard, installed));
  const dataDir = join(guard.directory, 'servers');
  await mkdir(dataDir, { recursive: true });
  const program = await Program.start(guard, {
    dataDir,
    env: {
      ...LOAD_SETTINGS,
      ...objects,
      PROCESSES,
      DATABASE_URL: postgres.url,
      REDIS_URL: redis.url,
      NATS_URL: nats.url,
      CLICKHOUSE_URL: clickhouse.url,
      CLICKHOUSE_DB: 'bench',
    },
  });
  if (PROCESSES !== '1') await allServe(program.url);
  return programTarget('on servers', program, {
    nats: nats.process.pid,
    clickhouse: clickhouse.process.pid,
    postgres: postgres.process.pid,
    redis: redis.process.pid,
  });
}

/** Several processes share no folder, although this load keeps no objects. */
const objectSettings = (s3: Awaited<ReturnType<typeof startS3>>) => ({
  S3_ENDPOINT: s3.endpoint,
  AWS_ACCESS_KEY_ID: s3.accessKeyId,
  AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
});

/** No rate limits, and the generator counts as a proxy whose X-Forwarded-For is believed, so that geo look-ups are real. */
const LOAD_SETTINGS = {
  RATE_LIMIT_INGEST: '0',
  RATE_LIMIT_API: '0',
  RATE_LIMIT_AUTH: '0',
  TRUSTED_PROXIES: 'loopback',
};

async function programTarget(
  name: string,
  program: Program,
  servers: Readonly<Record<string, number>>,
): Promise<Target> {
  const api = await Api.register(() => program.url);
  const sites: Site[] = [];
  for (let i = 0; i < SITES; i++) sites.push(await api.createSite(`shop${i}.example`));
  return {
    name,
    url: program.url,
    roots: { program: program.pid, ...servers },
    sites,
    drained: () => drained(program.url),
    counted: async () => {
      let views = 0;
      for (const site of sites) {
        const { daily_stats: days } = await api.get(DailyStats, `analytics/daily-stats/${site.id}?days=2`);
        views += days.reduce((sum, day) => sum + day.views, 0);
      }
      return views;
    },
    stop: async () => {
      await program.stop();
    },
  };
}

const DailyStats = Type.Object({ daily_stats: Type.Array(Type.Object({ views: Type.Number() })) });
const Ready = Type.Object({
  parts: Type.Array(
    Type.Object({ name: Type.String(), state: Type.String(), backlog: Type.Optional(Type.Number()) }),
  ),
});

/** A node is ready when the first of its processes is. */
async function allServe(url: string): Promise<void> {
  await until(
    async () => {
      const answer: unknown = await (await fetch(`${url}/ready`)).json();
      // `auto` may have come to one process, and then there is no such part.
      return (
        Value.Check(Ready, answer) &&
        answer.parts.every(({ name, state }) => name !== 'processes' || state === 'up')
      );
    },
    { what: 'all processes to serve', timeoutMs: 60_000, everyMs: 100 },
  );
}

/** Waits until the stream has nothing left to write. */
async function drained(url: string): Promise<void> {
  await until(
    async () => {
      const answer: unknown = await (await fetch(`${url}/ready`)).json();
      return Value.Check(Ready, answer) && answer.parts.every((part) => (part.backlog ?? 0) === 0);
    },
    { what: 'the stream to be drained', timeoutMs: 60_000, everyMs: 200 },
  );
}
