import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { Telemetry } from '../../telemetry.js';

const RESTART_FIRST_MS = 100;
const RESTART_MAX_MS = 5_000;
/** A child that lived this long before it died is restarted without back-off. */
const STABLE_MS = 30_000;
const LOG_TAIL_CHARS = 2_000;

export interface ChildCommand {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Resolves when the engine answers; called again after each restart. Rejecting means "not yet". */
  ready(): Promise<void>;
  /** Budget for one start, ms. */
  readonly startTimeoutMs: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Sent on stop besides closing standard input, for a program that is slow to act on the latter. */
  readonly stopSignal?: NodeJS.Signals;
}

/**
 * Keeps one engine process alive: starts it, restarts it with back-off when it dies, stops it. The child's standard input is a pipe
 * from this process that is never written to: when this process ends in whatever way, the pipe closes and the child ends too.
 * Children get a process group of their own so that Ctrl-C reaches this process alone, which then drains before it stops them.
 */
export class SupervisedChild {
  #process: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #stopping = false;
  #tail = '';
  #startedAt = 0;
  #backoffMs = RESTART_FIRST_MS;

  private constructor(
    private readonly options: ChildCommand,
    private readonly telemetry: Telemetry,
  ) {}

  /** @throws Error with the child's last output when it does not become ready in time */
  static async start(options: ChildCommand, telemetry: Telemetry): Promise<SupervisedChild> {
    const child = new SupervisedChild(options, telemetry);
    child.#spawn();
    try {
      await child.#untilReady();
    } catch (error) {
      await child.stop(1_000);
      throw error;
    }
    return child;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Closes the child's standard input, which asks it to end, then kills it after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restart);
    const child = this.#process;
    // One without a number was never started, so it will not exit either.
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.stdin?.end();
    if (this.options.stopSignal) child.kill(this.options.stopSignal);
    const late = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await exited;
    clearTimeout(late);
  }

  #spawn(): void {
    this.#startedAt = Date.now();
    try {
      this.#follow(this.#launch());
    } catch (error) {
      // The machine has no memory left, say.
      this.#process = undefined;
      this.#tail = error instanceof Error ? error.message : String(error);
      this.#ended(null, null);
    }
  }

  #launch(): ChildProcess {
    const { command, args, uid, gid } = this.options;
    return spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
    });
  }

  /** Without file descriptors left there is a child that has neither a number nor streams. */
  #follow(child: ChildProcess): void {
    this.#process = child;
    child.stdin?.on('error', () => undefined);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8');
      stream?.on('data', (text: string) => {
        this.#tail = (this.#tail + text).slice(-LOG_TAIL_CHARS);
      });
    }
    child.on('error', (error) => {
      this.#tail = (this.#tail + error.message).slice(-LOG_TAIL_CHARS);
      // One that could not be started has no exit.
      if (child.pid === undefined) this.#ended(null, null);
    });
    child.once('exit', (code, signal) => this.#ended(code, signal));
  }

  #ended(code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#stopping) return;
    if (Date.now() - this.#startedAt > STABLE_MS) this.#backoffMs = RESTART_FIRST_MS;
    const waitMs = this.#backoffMs;
    this.#backoffMs = Math.min(this.#backoffMs * 2, RESTART_MAX_MS);
    this.telemetry.log.error(
      { engine: this.options.name, code, signal, restartInMs: waitMs, output: this.#tail.slice(-500) },
      'embedded engine ended unexpectedly, restarting it',
    );
    this.#restart = setTimeout(() => this.#spawn(), waitMs);
  }

  async #untilReady(): Promise<void> {
    const deadline = Date.now() + this.options.startTimeoutMs;
    for (;;) {
      try {
        await this.options.ready();
        return;
      } catch (error) {
        if (Date.now() > deadline) {
          throw new Error(
            `embedded ${this.options.name} did not start: ${this.#tail.slice(-800).trim() || String(error)}`,
            {
              cause: error,
            },
          );
        }
      }
      await delay(50);
    }
  }
}
