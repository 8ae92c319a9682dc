/** A node of several processes: what their parent does. It loads nothing of what they do, which would cost it a hundred MB. */
import type { ChildProcess } from 'node:child_process';
import Type from 'typebox';
import { Value } from 'typebox/value';
import type { Config } from '../config.js';
import { claimPort } from '../edge/port.js';
import { patiently } from '../storage/stream/patiently.js';
import { supervise } from '../supervisor/supervisor.js';
import type { Telemetry } from '../telemetry.js';
import { claimDataDir } from './data-dir.js';
import type { PartChoice } from './engines.js';
import { signingSecret } from './secret.js';

/** A moment less than the whole program has to end. */
const GRACE_MS = 4_600;

const Facts = Type.Object({
  parts: Type.Array(Type.Object({ part: Type.String(), embedded: Type.Boolean(), where: Type.String() })),
  needsSetup: Type.Boolean(),
});

export interface RunningProcesses {
  readonly port: number;
  /** Settles when every process has come up once. */
  readonly up: Promise<{ readonly parts: readonly PartChoice[]; readonly needsSetup: boolean }>;
  /** Exit code, once all have ended and everything is given back. */
  readonly ended: Promise<number>;
  /** Asks all to end. */
  stop(): void;
}

export interface ParentOptions {
  /** Of the node. */
  readonly config: Config;
  readonly processes: number;
  /** Starts this program once more, as process `process`, with this port. */
  fork(process: number, port: number): ChildProcess;
  readonly telemetry: Telemetry;
  readonly signal: AbortSignal;
}

/**
 * Starts all processes of a node.
 * @throws Error the folder or the port cannot be had
 */
export async function startProcesses(options: ParentOptions): Promise<RunningProcesses> {
  const { config, processes, fork, telemetry, signal } = options;
  const lock = await claimDataDir(config.DATA_DIR);
  try {
    // Made before two processes can try to make it.
    await signingSecret(config.JWT_SECRET, config.DATA_DIR);
    // Processes whose parent was killed may still be ending.
    const port = await patiently(() => claimPort(config.PORT), signal);
    signal.throwIfAborted();
    const supervisor = supervise({
      ...{ processes, telemetry, graceMs: GRACE_MS },
      fork: (process) => fork(process, port),
    });
    return {
      port,
      up: supervisor.allUp.then((facts) => Value.Parse(Facts, facts)),
      ended: supervisor.ended.finally(() => lock.release()),
      stop: () => supervisor.stop(),
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}
