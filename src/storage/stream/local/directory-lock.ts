import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { link, readFile, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const HEARTBEAT_MS = 2_000;
const FOREIGN_WATCH_MS = 7_000;
const FOREIGN_STALE_MS = 60_000;

/** An exclusive claim on a directory by this process. */
export interface DirectoryLock {
  release(): Promise<void>;
}

interface Holder {
  readonly token: string;
  readonly pid: number;
  /** Start time of the process, so that a reused pid is not taken for the holder; '' where the system does not tell. */
  readonly start: string;
  /** Where pids mean the same: host, boot and pid namespace. */
  readonly place: string;
}

/**
 * Claims the directory for this process. A claim left by a dead process is taken over: at once when it ran in the same pid namespace
 * (pid and start time tell), else after the claim's heartbeat stood still for some seconds.
 * @throws Error another living process holds it
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const path = join(directory, 'lock');
  const mine: Holder = {
    token: randomUUID(),
    pid: process.pid,
    start: startTime(process.pid),
    place: place(),
  };
  await claim(path, mine);
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {});
  }, HEARTBEAT_MS);
  heartbeat.unref();
  return {
    async release() {
      clearInterval(heartbeat);
      if ((await readHolder(path))?.token === mine.token) await unlink(path);
    },
  };
}

async function claim(path: string, mine: Holder): Promise<void> {
  for (;;) {
    if (await tryCreate(path, mine)) return;
    const holder = await readHolder(path);
    if (holder === undefined) continue;
    if (await isAlive(path, holder)) {
      throw new Error(`${path} is held by process ${holder.pid}: only one process can use this directory`);
    }
    await removeStale(path, holder, mine);
  }
}

/** Two processes may find the same dead holder: only the one that claims the right to break the lock removes it. */
async function removeStale(path: string, dead: Holder, mine: Holder): Promise<void> {
  const right = `${path}.break`;
  await claim(right, mine);
  try {
    if ((await readHolder(path))?.token === dead.token) await unlink(path);
  } finally {
    await unlink(right);
  }
}

/** Creates the lock with its content in one step (`link` fails when the name exists). */
async function tryCreate(path: string, mine: Holder): Promise<boolean> {
  const draft = `${path}.${mine.token}`;
  await writeFile(draft, JSON.stringify(mine), { mode: 0o600 });
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  } finally {
    await unlink(draft);
  }
}

async function readHolder(path: string): Promise<Holder | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
  const nobody: Holder = { token: text, pid: 0, start: '', place: '' };
  try {
    const value: unknown = JSON.parse(text);
    return isHolder(value) ? value : nobody;
  } catch {
    return nobody;
  }
}

function isHolder(value: unknown): value is Holder {
  return (
    typeof value === 'object' &&
    value !== null &&
    'token' in value &&
    typeof value.token === 'string' &&
    'pid' in value &&
    typeof value.pid === 'number' &&
    'start' in value &&
    typeof value.start === 'string' &&
    'place' in value &&
    typeof value.place === 'string'
  );
}

async function isAlive(path: string, holder: Holder): Promise<boolean> {
  if (holder.place === place() && holder.start !== '') return startTime(holder.pid) === holder.start;
  const first = await heartbeatOf(path);
  if (Date.now() - first > FOREIGN_STALE_MS) return false;
  const until = Date.now() + FOREIGN_WATCH_MS;
  while (Date.now() < until) {
    await sleep(500);
    if ((await heartbeatOf(path)) !== first) return true;
  }
  return false;
}

async function heartbeatOf(path: string): Promise<number> {
  try {
    return (await stat(path)).mtimeMs;
  } catch {
    return 0;
  }
}

/** Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat); '' when it is gone or the system has no /proc. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const isZombie = fields[0] === 'Z' || fields[0] === 'X';
    return isZombie ? '' : (fields[19] ?? '');
  } catch {
    return '';
  }
}

function place(): string {
  const parts = [hostname()];
  try {
    parts.push(readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim());
    parts.push(readlinkSync('/proc/self/ns/pid'));
  } catch {
    // No /proc: the heartbeat decides.
  }
  return parts.join(' ');
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
