import { chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { type Guard, type Guarded, run, untilServing } from '../guard.js';
import { freePort } from '../ports.js';

/** Postgres refuses to run as root; an unprivileged account that exists everywhere will do. */
async function unprivileged(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    const ids = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]).catch(() => undefined);
    if (ids) return { uid: Number(ids[0]), gid: Number(ids[1]) };
  }
  throw new Error('neither a user "postgres" nor "nobody" to run Postgres as');
}

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

/** A Postgres of its own with an empty data directory; no fsync, for it holds test data only. */
export async function startPostgres(guard: Guard, bin: string): Promise<{ url: string; process: Guarded }> {
  const account = await unprivileged();
  const owner = account ?? {};
  const port = await freePort();
  const directory = join(guard.directory, `postgres-${port}`);
  await mkdir(directory, { mode: 0o700 });
  if (account) await chown(directory, account.uid, account.gid);
  const env = { ...process.env, LC_ALL: 'C', PGDATA: directory };
  const how = ['-D', directory, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
  await run(join(bin, 'initdb'), how, { ...owner, env });
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
  const server = guard.start(
    'postgres',
    join(bin, 'postgres'),
    ['-D', directory, '-p', `${port}`, ...flags],
    {
      ...owner,
      env,
      cwd: directory,
    },
  );
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  await untilServing(server, 'Postgres to answer', () => postgresAnswers(url));
  return { url, process: server };
}
