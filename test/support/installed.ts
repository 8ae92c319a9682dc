import { existsSync } from 'node:fs';
import { access, constants, readdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { postgresBinaries, restoreSymlinks } from '../../src/storage/embedded/postgres.js';
import { run } from './guard.js';

/** A program of the operating system that the tests need: where to find it and which Debian package brings it. */
export interface Wanted {
  readonly program: string;
  readonly aliases?: readonly string[];
  readonly debianPackage: string;
}

export const wantedPrograms = [
  { program: 'redis-server', debianPackage: 'redis-server' },
  { program: 'nats-server', debianPackage: 'nats-server' },
  { program: 'chromium', aliases: ['chromium-browser', 'google-chrome'], debianPackage: 'chromium' },
  { program: 'radosgw', debianPackage: 'radosgw' },
  { program: 'ceph-mon', debianPackage: 'ceph-mon' },
  { program: 'ceph-osd', debianPackage: 'ceph-osd' },
] as const satisfies readonly Wanted[];

const isExecutable = (path: string) =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );

/** Absolute path of a program on PATH or in the usual system directories, or undefined. */
export async function findProgram(...names: readonly string[]): Promise<string | undefined> {
  const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/sbin'];
  for (const name of names) {
    for (const directory of directories) {
      const path = join(directory, name);
      if (directory !== '' && (await isExecutable(path))) return path;
    }
  }
  return undefined;
}

/** Directory with `initdb` and `postgres`: PATH, Debian's versioned directories (newest first), the npm package. */
export async function findPostgres(): Promise<string | undefined> {
  const debian = '/usr/lib/postgresql';
  const versions = (await readdir(debian).catch(() => [])).sort((a, b) => Number(b) - Number(a));
  const packaged = postgresBinaries();
  if (packaged !== null) await restoreSymlinks(packaged);
  const candidates = [
    ...(process.env.PATH ?? '').split(delimiter).filter((directory) => directory !== ''),
    ...versions.map((version) => join(debian, version, 'bin')),
    ...(packaged === null ? [] : [join(packaged, 'bin')]),
  ];
  for (const directory of candidates) {
    const both = await Promise.all(['initdb', 'postgres'].map((name) => isExecutable(join(directory, name))));
    if (both.every(Boolean)) return directory;
  }
  return undefined;
}

/** Where everything is that the test servers run. */
export interface Installed {
  readonly postgresBin: string;
  readonly programs: ReadonlyMap<string, string>;
}

async function look() {
  const programs = new Map<string, string>();
  const missing: string[] = [];
  for (const wanted of wantedPrograms) {
    const aliases = 'aliases' in wanted ? wanted.aliases : [];
    const path = await findProgram(wanted.program, ...aliases);
    if (path === undefined) missing.push(wanted.debianPackage);
    else programs.set(wanted.program, path);
  }
  const postgresBin = await findPostgres();
  if (postgresBin === undefined) missing.push('postgresql');
  return { programs, postgresBin, missing };
}

/**
 * Finds the programs; as root on Debian or Ubuntu it installs exactly those that are missing, elsewhere it throws with
 * the packages' names. Services that the packages bring are not started (and would not matter: all ports here are free ones).
 */
export async function ensureInstalled(say: (line: string) => void): Promise<Installed> {
  let found = await look();
  if (found.missing.length > 0 && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    say(`test servers: installing ${found.missing.join(', ')}`);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
    const patience = ['-o', 'DPkg::Lock::Timeout=600', '-q'];
    await run('apt-get', [...patience, 'update'], { env, timeoutMs: 300_000 });
    const install = ['install', '-y', '--no-install-recommends', ...found.missing];
    await run('apt-get', [...patience, ...install], { env, timeoutMs: 900_000 });
    found = await look();
  }
  if (found.missing.length > 0 || found.postgresBin === undefined) {
    const names = found.missing.join(' ');
    throw new Error(
      `The tests run against real servers; these are missing: ${names}.\n` +
        `On Debian or Ubuntu: apt-get update && apt-get install -y --no-install-recommends ${names}\n` +
        'Elsewhere install the programs of the same names so that they are on PATH.',
    );
  }
  return { programs: found.programs, postgresBin: found.postgresBin };
}

/** The path of one of `wantedPrograms`. */
export function programPath(
  installed: Installed,
  program: (typeof wantedPrograms)[number]['program'],
): string {
  const path = installed.programs.get(program);
  if (path === undefined) throw new Error(`${program} was not found`);
  return path;
}
