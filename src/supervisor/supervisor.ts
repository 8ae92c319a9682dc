/** The parent of a node's processes: starts them, restarts those that die, ends them, and passes questions on. */
import type { ChildProcess } from 'node:child_process';
import { Counter, Gauge } from 'prom-client';
import type { Telemetry } from '../telemetry.js';
import { Gathering } from './gathering.js';
import { readToParent, type ToProcess } from './protocol.js';

const RESTART_FIRST_MS = 250;
const RESTART_MAX_MS = 30_000;
/** A process that served this long before it died is restarted without back-off. */
const STABLE_MS = 60_000;
/** Exit code of a process that cannot run with its configuration: no restart would change that. */
const MISCONFIGURED = 2;

export interface SupervisorOptions {
  readonly processes: number;
  /** Starts process `process`, counted from 1, with a channel to it. */
  fork(process: number): ChildProcess;
  /** Time that processes get to end before they are killed, ms. */
  readonly graceMs: number;
  readonly telemetry: Telemetry;
}

interface Slot {
  readonly process: number;
  child: ChildProcess | undefined;
  isUp: boolean;
  upAt: number;
  failures: number;
  restart: NodeJS.Timeout | undefined;
}

/** See `supervise`. */
export interface Supervisor {
  /** What process 1 told when it was up, once all are for the first time. Never settles when they end before. */
  readonly allUp: Promise<unknown>;
  /** Exit code, when no process is left and none will come. */
  readonly ended: Promise<number>;
  /** Asks all processes to end. */
  stop(): void;
}

/**
 * Starts the processes. One that dies later comes again after a pause that doubles from 0.25 to 30 s, while the others go on. One that
 * fails before all have served for the first time, or says that it is misconfigured, ends all with its exit code.
 */
export function supervise(options: SupervisorOptions): Supervisor {
  return new ProcessSupervisor(options);
}

class ProcessSupervisor implements Supervisor {
  readonly allUp: Promise<unknown>;
  readonly ended: Promise<number>;
  readonly #slots: readonly Slot[];
  readonly #gathering = new Gathering();
  readonly #restarts: Counter<'process'>;
  #tellAllUp: (facts: unknown) => void = () => {};
  #tellEnded: (code: number) => void = () => {};
  #facts: unknown;
  #wereAllUp = false;
  /** Exit code to be; undefined while the node is to run. */
  #code: number | undefined;

  constructor(private readonly options: SupervisorOptions) {
    this.allUp = new Promise((resolve) => {
      this.#tellAllUp = resolve;
    });
    this.ended = new Promise((resolve) => {
      this.#tellEnded = resolve;
    });
    this.#slots = Array.from({ length: options.processes }, (_, index) => ({
      process: index + 1,
      ...{ child: undefined, isUp: false, upAt: 0, failures: 0, restart: undefined },
    }));
    this.#restarts = this.#metrics();
    for (const slot of this.#slots) this.#start(slot);
  }

  #metrics(): Counter<'process'> {
    const { registry } = this.options.telemetry;
    const slots = this.#slots;
    new Gauge({
      name: 'seentics_processes_up',
      help: 'Processes of this node that serve.',
      registers: [registry],
      collect() {
        this.set(slots.filter((slot) => slot.isUp).length);
      },
    });
    const wanted = { name: 'seentics_processes_wanted', help: 'Processes that this node is to have.' };
    new Gauge({ ...wanted, registers: [registry] }).set(slots.length);
    const restarts = new Counter({
      name: 'seentics_process_restarts_total',
      help: 'Processes that ended unasked and were started again.',
      labelNames: ['process'],
      registers: [registry],
    });
    for (const { process } of slots) restarts.inc({ process }, 0);
    return restarts;
  }

  #start(slot: Slot): void {
    const child = this.options.fork(slot.process);
    slot.child = child;
    child.on('message', (message: unknown) => {
      if (slot.child === child) this.#hear(slot, message);
    });
    child.once('exit', (code, signal) => this.#exited(slot, child, code, signal));
    child.on('error', (err) => {
      this.options.telemetry.log.error({ err, ofProcess: slot.process }, 'trouble with a process');
      // One that could not even be started has no exit.
      if (child.pid === undefined) this.#exited(slot, child, null, null);
    });
  }

  #hear(slot: Slot, raw: unknown): void {
    const message = readToParent(raw);
    if (message === undefined) return;
    if (message.kind === 'answer') this.#gathering.answered(slot.process, message.id, message.data);
    else if (message.kind === 'gather') void this.#gather(slot, message.id, message.topic);
    else this.#up(slot, message.facts);
  }

  #up(slot: Slot, facts: unknown): void {
    slot.isUp = true;
    slot.upAt = performance.now();
    if (slot.process === 1) this.#facts = facts;
    if (this.#wereAllUp) {
      this.options.telemetry.log.info({ ofProcess: slot.process }, 'the process serves again');
      return;
    }
    if (!this.#slots.every(({ isUp }) => isUp)) return;
    this.#wereAllUp = true;
    this.#tellAllUp(this.#facts);
  }

  async #gather(asker: Slot, id: number, topic: 'metrics' | 'parts'): Promise<void> {
    const up = this.#slots.filter(({ isUp }) => isUp);
    const away = this.#slots.filter(({ isUp }) => !isUp);
    const [gathered, own] = await Promise.all([
      this.#gathering.start(
        topic,
        up.map(({ process }) => process),
        away.map(({ process }) => process),
        (process, round, about) => this.#send(process, { kind: 'ask', id: round, topic: about }),
      ),
      topic === 'metrics' ? this.options.telemetry.registry.getMetricsAsJSON() : undefined,
    ]);
    const answers = [...(own === undefined ? [] : [{ process: 0, data: own }]), ...gathered.answers];
    this.#send(asker.process, { kind: 'gathered', id, answers, missing: gathered.missing });
  }

  #send(process: number, message: ToProcess): void {
    const child = this.#slots[process - 1]?.child;
    if (child?.connected === true) child.send(message, () => {});
  }

  #exited(slot: Slot, child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (slot.child !== child) return;
    if (slot.isUp && performance.now() - slot.upAt > STABLE_MS) slot.failures = 0;
    slot.child = undefined;
    slot.isUp = false;
    this.#gathering.gone(slot.process);
    if (this.#code !== undefined) {
      // By SIGTERM itself end those that had not come as far as to listen to it.
      if (code !== 0 && signal !== 'SIGTERM') this.#code ||= 1;
      this.#endIfNoneIsLeft();
      return;
    }
    if (code === MISCONFIGURED || (!this.#wereAllUp && code !== null)) {
      this.#endAll(code === 0 ? 1 : code);
      return;
    }
    this.#restarts.inc({ process: slot.process });
    this.#startLater(slot, { pid: child.pid, code, signal }, 'a process ended unasked, it is started again');
  }

  #startLater(slot: Slot, about: object, message: string): void {
    const restartInMs = Math.min(RESTART_FIRST_MS * 2 ** slot.failures++, RESTART_MAX_MS);
    this.options.telemetry.log.error({ ofProcess: slot.process, ...about, restartInMs }, message);
    slot.restart = setTimeout(() => {
      try {
        this.#start(slot);
      } catch (err) {
        // The machine has no memory left, say: the others go on.
        this.#startLater(slot, { err }, 'a process could not be started, it is tried again');
      }
    }, restartInMs);
  }

  stop(): void {
    this.#endAll(0);
  }

  #endAll(code: number): void {
    if (this.#code !== undefined) return;
    this.#code = code;
    for (const slot of this.#slots) {
      clearTimeout(slot.restart);
      slot.child?.kill('SIGTERM');
    }
    setTimeout(() => {
      for (const { child } of this.#slots) child?.kill('SIGKILL');
    }, this.options.graceMs).unref();
    this.#endIfNoneIsLeft();
  }

  #endIfNoneIsLeft(): void {
    if (this.#code !== undefined && this.#slots.every(({ child }) => child === undefined))
      this.#tellEnded(this.#code);
  }
}
