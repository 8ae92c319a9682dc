import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { link, readdir, readFile, stat, unlink, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Disk, realDisk, writeAll } from './disk.js';

const HEARTBEAT_MS = 2_000;
const FOREIGN_WATCH_MS = 7_000;
const FOREIGN_STALE_MS = 60_000;
/** A claim this old may have been taken over meanwhile: it is looked at before it is relied upon. */
const SURE_MS = 5_000;
/** What a crash left of an attempt to claim is removed when it is older. */
const DRAFT_MS = 60_000;

/** An exclusive claim on a directory by this process. */
export interface DirectoryLock {
  /**
   * A process that stood still for long (frozen, or its machine) may have been taken for dead.
   * @throws Error the directory has another owner, so nothing may be changed in it any more
   */
  check(): Promise<void>;
  release(): Promise<void>;
}

export interface LockOptions {
  readonly disk?: Disk;
  /** Called once when another process has taken the directory over. Default: ends the process. */
  readonly onLost?: (error: Error) => void;
  /** How often the claim is renewed and looked at, ms. Default 2,000. */
  readonly heartbeatMs?: number;
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
export async function lockDirectory(directory: string, options: LockOptions = {}): Promise<DirectoryLock> {
  const { disk = realDisk } = options;
  const path = join(directory, 'lock');
  const mine: Holder = {
    token: randomUUID(),
    pid: process.pid,
    start: startTime(process.pid),
    place: place(),
  };
  await claim(disk, path, mine);
  await removeDrafts(directory).catch(() => {});
  return new Held(path, mine.token, options);
}

class Held implements DirectoryLock {
  readonly #heartbeat: NodeJS.Timeout;
  readonly #onLost: (error: Error) => void;
  #sureAt = Date.now();
  #lost: Error | undefined;

  constructor(
    private readonly path: string,
    private readonly token: string,
    { onLost = endProcess, heartbeatMs = HEARTBEAT_MS }: LockOptions,
  ) {
    this.#onLost = onLost;
    this.#heartbeat = setInterval(() => void this.#beat().catch(() => {}), heartbeatMs);
    this.#heartbeat.unref();
  }

  async check(): Promise<void> {
    if (this.#lost === undefined && Math.abs(Date.now() - this.#sureAt) > SURE_MS) await this.#beat();
    if (this.#lost !== undefined) throw this.#lost;
  }

  async release(): Promise<void> {
    clearInterval(this.#heartbeat);
    if ((await readHolder(this.path))?.token === this.token) await unlink(this.path);
  }

  /** A claim that cannot be read is not lost: whoever took it over could have read it. */
  async #beat(): Promise<void> {
    const startedAt = Date.now();
    const holder = await readHolder(this.path);
    // Whoever took it over may be gone again. Without its folder there is nothing left to claim.
    if (holder === undefined) await stat(dirname(this.path));
    if (holder?.token !== this.token) return this.#lose();
    const now = new Date();
    await utimes(this.path, now, now);
    this.#sureAt = startedAt;
  }

  #lose(): void {
    if (this.#lost !== undefined) return;
    clearInterval(this.#heartbeat);
    this.#lost = new Error(`${this.path} was taken over by another process while this one stood still`);
    this.#onLost(this.#lost);
  }
}

/** Thrown where nobody can catch it: whatever this process still holds in memory is the new owner's by now. */
function endProcess(error: Error): void {
  setImmediate(() => {
    throw error;
  });
}

/** Attempts that a crash cut short. */
async function removeDrafts(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!/^lock(\.break)?\.[0-9a-f]{8}-[0-9a-f-]{27}$/.test(name)) continue;
    const path = join(directory, name);
    if (Date.now() - (await heartbeatOf(path)) > DRAFT_MS) await unlink(path).catch(() => {});
  }
}

async function claim(disk: Disk, path: string, mine: Holder): Promise<void> {
  for (;;) {
    if (await tryCreate(disk, path, mine)) return;
    const holder = await readHolder(path);
    if (holder === undefined) continue;
    if (await isAlive(path, holder)) {
      throw new Error(`${path} is held by process ${holder.pid}: only one process can use this directory`);
    }
    await removeStale(disk, path, holder, mine);
  }
}

/** Two processes may find the same dead holder: only the one that claims the right to break the lock removes it. */
async function removeStale(disk: Disk, path: string, dead: Holder, mine: Holder): Promise<void> {
  const right = `${path}.break`;
  await claim(disk, right, mine);
  try {
    if ((await readHolder(path))?.token === dead.token) await unlink(path);
  } finally {
    await unlink(right);
  }
}

/** Creates the lock with its content in one step (`link` fails when the name exists). */
async function tryCreate(disk: Disk, path: string, mine: Holder): Promise<boolean> {
  const draft = `${path}.${mine.token}`;
  const fd = await disk.open(draft, 'w');
  try {
    await writeAll(disk, fd, [Buffer.from(JSON.stringify(mine))], 0).finally(() => disk.close(fd));
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
