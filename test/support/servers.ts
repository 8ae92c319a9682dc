import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { s3Answers, startS3 } from './engines/ceph.js';
import { clickhouseAnswers, startClickhouse } from './engines/clickhouse.js';
import { natsAnswers, startNats } from './engines/nats.js';
import { postgresAnswers, startPostgres } from './engines/postgres.js';
import { redisAnswers, startRedis } from './engines/redis.js';
import { type Guard, repositoryRoot } from './guard.js';
import { ensureInstalled, programPath } from './installed.js';

/** Addresses of the real servers that the tests use: `inject('servers')`. */
export interface TestServers {
  /** URL of a superuser's connection; tests take a database of their own with `freshPostgres`. */
  readonly postgres: string;
  /** Shared by all tests: use a key prefix from `freshName`. */
  readonly redis: string;
  /** JetStream is on; shared by all tests: use names from `freshName`. */
  readonly nats: string;
  /** HTTP URL, user `default`, no password; tests take a database of their own with `freshClickhouse`. */
  readonly clickhouse: string;
  readonly s3: { readonly endpoint: string; readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Path of the browser. */
  readonly chromium: string;
  /** Paths of programs that a test starts for itself. */
  readonly programs: { readonly nats: string; readonly postgresBin: string };
}

/** Starts all servers at once on free ports with empty temporary data; they end with the guard. */
export async function startServers(guard: Guard, say: (line: string) => void): Promise<TestServers> {
  const installed = await ensureInstalled(say);
  const natsProgram = programPath(installed, 'nats-server');
  const [postgres, redis, nats, clickhouse, s3] = await Promise.all([
    startPostgres(guard, installed.postgresBin),
    startRedis(guard, programPath(installed, 'redis-server')),
    startNats(guard, natsProgram),
    startClickhouse(guard),
    startS3(guard, installed),
  ]);
  return {
    postgres: postgres.url,
    redis: redis.url,
    nats: nats.url,
    clickhouse: clickhouse.url,
    s3,
    chromium: programPath(installed, 'chromium'),
    programs: { nats: natsProgram, postgresBin: installed.postgresBin },
  };
}

/** Where a kept-alive instance of this checkout says what it serves. */
export const stateFile = join(
  tmpdir(),
  `seentics-test-servers-${createHash('sha256').update(repositoryRoot).digest('hex').slice(0, 16)}.json`,
);

export const publishServers = (servers: TestServers) =>
  writeFile(stateFile, JSON.stringify(servers), { mode: 0o600 });

export const withdrawServers = () => rm(stateFile, { force: true });

/** The servers of a kept-alive instance (`npm run test:servers`) if all of them answer. */
export async function keptAliveServers(): Promise<TestServers | undefined> {
  const text = await readFile(stateFile, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const servers: TestServers = JSON.parse(text);
  const answers = await Promise.all([
    postgresAnswers(servers.postgres),
    redisAnswers(servers.redis),
    natsAnswers(servers.nats),
    clickhouseAnswers(servers.clickhouse),
    s3Answers(servers.s3.endpoint),
  ]);
  return answers.every(Boolean) ? servers : undefined;
}
