import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { chmod, mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from './wait.js';

/** The checkout's root. */
export const repositoryRoot = fileURLToPath(new URL('../..', import.meta.url));

/** A process that a `Guard` watches. */
export interface Guarded {
  readonly pid: number;
  readonly child: ChildProcess;
  /** File with everything it wrote to standard output and error. */
  readonly logFile: string;
  /** Whether the process has not ended. */
  running(): boolean;
  /** Sends the signal to the process alone and waits until it is gone (at most 20 s). */
  end(signal?: 'SIGTERM' | 'SIGKILL' | 'SIGINT'): Promise<void>;
}

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly uid?: number;
  readonly gid?: number;
  /** `pipe`: the process sees the end of its standard input when we die. Default `ignore`. */
  readonly stdin?: 'pipe' | 'ignore';
  /** What the guard ends it with: SIGKILL for programs whose orderly end is slow and of no use. Default SIGTERM. */
  readonly endWith?: 'SIGTERM' | 'SIGKILL';
}

/**
 * Starts processes and temporary directories that cannot outlive this process: a separate guard process ends them when its
 * standard input closes, which it does on `stop()` and equally when this process is killed.
 */
export class Guard {
  readonly directory: string;
  readonly #guard: ChildProcess;
  #count = 0;

  private constructor(directory: string, guard: ChildProcess) {
    this.directory = directory;
    this.#guard = guard;
  }

  static async start(): Promise<Guard> {
    const directory = await mkdtemp(join(tmpdir(), 'seentics-test-'));
    await chmod(directory, 0o755); // Postgres runs as another user beneath it.
    const script = fileURLToPath(new URL('./guard-process.mjs', import.meta.url));
    const guard = spawn(process.execPath, [script], {
      cwd: repositoryRoot,
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    guard.unref();
    guard.stdin?.on('error', () => {});
    const self = new Guard(directory, guard);
    self.#order('directory', directory);
    endWithParent();
    return self;
  }

  #order(order: 'watch' | 'gone' | 'directory', ...values: readonly (string | number)[]): void {
    this.#guard.stdin?.write(`${[order, ...values].join('\t')}\n`);
  }

  /** Starts a program in its own process group; it is ended with this guard at the latest. */
  start(name: string, command: string, args: readonly string[], options: StartOptions = {}): Guarded {
    const logFile = join(this.directory, `${++this.#count}-${name}.log`);
    const spawnOptions: SpawnOptions = {
      cwd: options.cwd ?? repositoryRoot,
      env: options.env ?? process.env,
      detached: true,
      stdio: [options.stdin ?? 'ignore', 'pipe', 'pipe'],
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.gid === undefined ? {} : { gid: options.gid }),
    };
    const child = spawn(command, args, spawnOptions);
    const log = createWriteStream(logFile);
    log.on('error', () => {}); // The guard may have removed the directory already.
    child.stdout?.pipe(log, { end: false });
    child.stderr?.pipe(log, { end: false });
    child.stdin?.on('error', () => {});
    const { pid } = child;
    if (pid === undefined) throw new Error(`cannot start ${command}`);
    this.#order('watch', pid, options.endWith ?? 'SIGTERM');
    let over = false;
    child.on('error', () => {});
    child.once('exit', () => {
      over = true;
      // Its group may have members left, so the guard keeps watching unless it is empty.
      if (!groupExists(pid)) this.#order('gone', pid);
    });
    child.once('close', () => log.end());
    return {
      pid,
      child,
      logFile,
      running: () => !over,
      end: async (signal = 'SIGTERM') => {
        if (!over) child.kill(signal);
        await until(() => over, {
          what: `${name} (process ${pid}) to end on ${signal}`,
          timeoutMs: 20_000,
          everyMs: 5,
        });
      },
    };
  }

  /** Ends every process started here, removes the temporary directory, returns when both are done. */
  async stop(): Promise<void> {
    if (this.#guard.exitCode !== null) return;
    const exited = once(this.#guard, 'exit');
    this.#guard.ref();
    this.#guard.stdin?.end();
    await exited;
  }
}

let endsWithParent = false;

/** A vitest worker whose parent was killed must go too; only then do its guards see their input end. */
function endWithParent(): void {
  if (process.connected && !endsWithParent) process.once('disconnect', () => process.exit(1));
  endsWithParent = true;
}

function groupExists(pid: number): boolean {
  try {
    process.kill(-pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Runs a program to its end and returns its standard output; throws with its standard error when it fails. */
export async function run(
  command: string,
  args: readonly string[],
  options: {
    readonly uid?: number;
    readonly gid?: number;
    readonly env?: NodeJS.ProcessEnv;
    readonly timeoutMs?: number;
  } = {},
): Promise<string> {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: options.timeoutMs ?? 60_000,
    env: options.env ?? process.env,
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
  });
  let out = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const [code, signal] = await once(child, 'close');
  if (code !== 0)
    throw new Error(`${command} ${args.join(' ')}: ended with ${code ?? signal}\n${errors.slice(-2_000)}`);
  return out;
}

/** The end of a process's log, for error messages. */
export const logTail = async (process: Guarded, chars = 2_000): Promise<string> =>
  (await readFile(process.logFile, 'utf8').catch(() => '')).slice(-chars);

/** Like `until`, but gives up at once with the log's end when the process dies meanwhile. */
export async function untilServing(
  process: Guarded,
  what: string,
  probe: () => Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  let died = false;
  await until(
    async () => {
      died = !process.running();
      return died || (await probe());
    },
    { what, timeoutMs, everyMs: 20 },
  );
  if (died) throw new Error(`${what}: the process ended\n${await logTail(process)}`);
}
