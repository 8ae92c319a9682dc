/** The program: reads the environment, starts a node, ends it on SIGTERM and SIGINT. Exit codes: 0 asked to end, 1 failed, 2 misconfigured. */
import { existsSync } from 'node:fs';
import { banner } from './compose/banner.js';
import { collectLessOften } from './compose/garbage.js';
import { startNode } from './compose/node.js';
import { ConfigError, readConfig } from './config-read.js';
import { createTelemetry } from './telemetry.js';

/** After this, whatever still runs is left behind: an operator's `docker stop` must not end in a kill. */
const FORCED_EXIT_MS = 4_800;

const startedAt = performance.now();
collectLessOften();
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
  const telemetry = createTelemetry(config.LOG_LEVEL);
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
  process.on('unhandledRejection', (reason) => telemetry.log.error({ err: reason }, 'unhandled rejection'));
  const node = await startNode(config, telemetry, starting.signal).catch((error: unknown) => {
    if (asked) process.exit(0);
    throw error;
  });
  stop = node.stop;
  if (asked) {
    await stop();
    process.exit(0);
  }
  const needsSetup = await node.needsSetup();
  console.log(
    banner({
      port: node.port,
      dataDir: config.DATA_DIR,
      parts: node.parts,
      needsSetup,
      startedInMs: performance.now() - startedAt,
    }),
  );
}

/** The reason in a line for operators; with `LOG_LEVEL=debug` where it came from, too. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (/^(debug|trace)$/i.test(process.env.LOG_LEVEL ?? '')) return error.stack ?? error.message;
  return `cannot start: ${error.message}`;
}
