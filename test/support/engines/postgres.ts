import { chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { runAs } from '../../../src/storage/embedded/run-as.js';
import { type Guard, type Guarded, run, untilServing } from '../guard.js';
import { freePort } from '../ports.js';

/** Whether a Postgres answers under the URL. */
export async function postgresAnswers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

/** A Postgres of its own, as another user where this one is root, with an empty data directory; no fsync, for it holds test data only. */
export async function startPostgres(guard: Guard, bin: string): Promise<{ url: string; process: Guarded }> {
  const port = await freePort();
  const directory = join(guard.directory, `postgres-${port}`);
  await mkdir(directory, { mode: 0o700 });
  const user = await runAs(join(bin, 'postgres'), directory);
  if (user.uid !== undefined && user.gid !== undefined) await chown(directory, user.uid, user.gid);
  const env = { ...process.env, LC_ALL: 'C', PGDATA: directory };
  const how = ['-D', directory, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
  const initdb = user.wrap(join(bin, 'initdb'), how);
  await run(initdb.command, initdb.args, { ...initdb, env });
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: 300,
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
    jit: 'off', // As the embedded one has it; compiling costs more than queries of small tables.
  };
  const flags = Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  const { command, args, ...owner } = user.wrap(join(bin, 'postgres'), [
    '-D',
    directory,
    '-p',
    `${port}`,
    ...flags,
  ]);
  const server = guard.start('postgres', command, args, { ...owner, env, cwd: directory });
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  await untilServing(server, 'Postgres to answer', () => postgresAnswers(url));
  return { url, process: server };
}
