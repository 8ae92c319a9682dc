/**
 * The program: reads the environment, starts a node, ends it on SIGTERM and SIGINT, and with `npm start`. Exit codes: 0 asked to end,
 * 1 failed, 2 misconfigured.
 * With `PROCESSES` above one it starts itself that many times more and is their parent. What a node is made of is loaded where one
 * starts, so that a parent stays small.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { banner } from './compose/banner.js';
import { collectLessOften } from './compose/garbage.js';
import type { RunningNode } from './compose/node.js';
import { countProcesses, placeArgument, readPlace } from './compose/place.js';
import { startProcesses } from './compose/processes.js';
import { type Config, VARIABLES } from './config.js';
import { ConfigError, readConfig } from './config-read.js';
import { onLauncherGone } from './supervisor/launcher.js';
import { linkToParent } from './supervisor/link.js';
import { createTelemetry, type Telemetry } from './telemetry.js';

/** After this, whatever still runs is left behind: an operator's `docker stop` must not end in a kill. */
const FORCED_EXIT_MS = 4_800;

const startedAt = performance.now();
if (existsSync('.env')) process.loadEnvFile('.env');

try {
  await run();
} catch (error) {
  if (error instanceof ConfigError) {
    for (const problem of error.problems) console.error(`configuration: ${problem}`);
    process.exit(2);
  }
  console.error(explain(error));
  process.exit(1);
}

async function run(): Promise<void> {
  const config = readConfig(process.env);
  const place = readPlace(process.argv.slice(2), config.DATA_DIR);
  const telemetry = createTelemetry(config.LOG_LEVEL, place?.process);
  process.on('unhandledRejection', (reason) => telemetry.log.error({ err: reason }, 'unhandled rejection'));
  if (place !== undefined) {
    const link = linkToParent(process);
    await runNode(
      async (signal) => {
        const { startProcess } = await import('./compose/one-process.js');
        return startProcess(config, place, link, telemetry, signal);
      },
      (end) =>
        link.onParentGone(() => {
          telemetry.log.warn('the parent of the processes is gone: ending');
          end();
        }),
    );
    return;
  }
  const processes = countProcesses(config, telemetry.log);
  if (processes > 1) return runParent(config, processes, telemetry);
  const node = await runNode(async (signal) => {
    const { startNode } = await import('./compose/node.js');
    return startNode(config, telemetry, signal);
  }, onNpmGone(telemetry));
  announce(config, { port: node.port, parts: node.parts, needsSetup: await node.needsSetup() });
}

/** Starts what answers requests, and ends it and the process when asked to. */
async function runNode(
  start: (signal: AbortSignal) => Promise<RunningNode>,
  alsoOn: (end: () => void) => void = () => {},
): Promise<RunningNode> {
  collectLessOften();
  const starting = new AbortController();
  let asked = false;
  let stop: (() => Promise<void>) | undefined;
  const end = async () => {
    if (asked) return;
    asked = true;
    setTimeout(() => process.exit(1), FORCED_EXIT_MS).unref();
    starting.abort(new Error('asked to end while starting'));
    if (stop === undefined) return;
    await stop();
    process.exit(0);
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  alsoOn(end);
  const node = await start(starting.signal).catch((error: unknown) => {
    if (asked) process.exit(0);
    throw error;
  });
  stop = node.stop;
  if (asked) {
    await stop();
    process.exit(0);
  }
  return node;
}

/** Ends with the `npm start` that started this process, if one did. */
function onNpmGone({ log }: Telemetry): (end: () => void) => void {
  return (end) => {
    if (process.env.npm_lifecycle_event !== 'start') return;
    onLauncherGone(() => {
      log.info('npm start has ended: ending');
      end();
    });
  };
}

async function runParent(config: Config, processes: number, telemetry: Telemetry): Promise<void> {
  const starting = new AbortController();
  let stop = () => starting.abort(new Error('asked to end while starting'));
  process.on('SIGTERM', () => stop());
  process.on('SIGINT', () => stop());
  onNpmGone(telemetry)(() => stop());
  const running = await startProcesses({
    ...{ config, processes, telemetry, signal: starting.signal },
    fork: (number, port) => forkProcess(number, processes, port),
  }).catch((error: unknown) => {
    if (starting.signal.aborted) process.exit(0);
    throw error;
  });
  stop = running.stop;
  void running.ended.then((code) => process.exit(code));
  const { parts, needsSetup } = await running.up;
  announce(config, { port: running.port, parts, needsSetup, processes });
}

function forkProcess(number: number, processes: number, port: number): ChildProcess {
  return fork(fileURLToPath(import.meta.url), [placeArgument(number, processes)], {
    env: { ...process.env, PORT: String(port) },
    // Metrics hold NaN and infinities, which JSON does not know.
    serialization: 'advanced',
  });
}

function announce(
  config: Config,
  facts: Omit<Parameters<typeof banner>[0], 'dataDir' | 'startedInMs'>,
): void {
  console.log(banner({ ...facts, dataDir: config.DATA_DIR, startedInMs: performance.now() - startedAt }));
}

/** The reason in a line for operators; with `LOG_LEVEL=debug` where it came from, too. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (/^(debug|trace)$/i.test(process.env.LOG_LEVEL ?? '')) return error.stack ?? error.message;
  return `cannot start: ${portTrouble(error) ?? error.message}`;
}

/** In words, where the system would not give us the port. */
function portTrouble(error: Error): string | undefined {
  const code = 'code' in error && 'syscall' in error && error.syscall === 'listen' ? error.code : undefined;
  const port = process.env.PORT || VARIABLES.PORT.shownDefault;
  if (code === 'EADDRINUSE') return `port ${port} is in use by another program: set PORT to a free one`;
  return code === 'EACCES' ? `port ${port} is not ours to take: set PORT to one above 1023` : undefined;
}
