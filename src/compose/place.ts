/** Which part of a node a process is, and what of the node's configuration is its own. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../config.js';
import { whyOneProcess } from '../config-read.js';
import type { Logger } from '../telemetry.js';
import { signingSecret } from './secret.js';

/** A process of a node. */
export interface Place {
  /** From 1. */
  readonly process: number;
  /** How many the node has. */
  readonly processes: number;
  /** The node's `DATA_DIR`; the process's own is beneath it when there are several. */
  readonly nodeDir: string;
}

const FLAG = '--process=';

/** The argument that tells a process where it stands: `ps` shows it, too. */
export const placeArgument = (process: number, processes: number): string => `${FLAG}${process}/${processes}`;

/** Where a parent has put this process; undefined for one that was started by somebody else. */
export function readPlace(args: readonly string[], nodeDir: string): Place | undefined {
  const text = args.find((arg) => arg.startsWith(FLAG))?.slice(FLAG.length);
  if (text === undefined) return undefined;
  const [process, processes] = text.split('/').map(Number);
  return process === undefined || processes === undefined ? undefined : { process, processes, nodeDir };
}

/** How many processes this node has. An explicit number that cannot be had was refused when it was read. */
export function countProcesses(config: Config, log: Logger): number {
  if (config.PROCESSES !== 'auto') return config.PROCESSES;
  const why = whyOneProcess(config);
  if (why === undefined) return availableParallelism();
  log.info(`PROCESSES=auto runs one process: ${why}`);
  return 1;
}

/** Folder of one of several processes. A process finds that of its predecessor by the number, with what was spooled there. */
export const processFolder = (process: number): string => `process-${process}`;

/** Fewer connections of a pool would make requests wait for one another. */
const LEAST_CONNECTIONS = 4;
const LEAST_WINDOW = 10_000;

/**
 * The configuration of one process of several. Limits are those of the node and are divided, but for those of servers that all share; so
 * whatever the number of processes is, a node needs about as much and takes as much.
 */
export async function shareOf(config: Config, { process, processes, nodeDir }: Place): Promise<Config> {
  const part = (whole: number, least = 1) => Math.min(whole, Math.max(least, Math.floor(whole / processes)));
  const connections = part(config.DB_MAX_CONNS, LEAST_CONNECTIONS);
  return {
    ...config,
    DATA_DIR: join(nodeDir, processFolder(process)),
    // Tokens of one process are shown to the next.
    JWT_SECRET: await signingSecret(config.JWT_SECRET, nodeDir),
    NODE_ID: config.NODE_ID === undefined ? undefined : `${config.NODE_ID}-${process}`,
    ENRICH_THREADS: part(config.ENRICH_THREADS || availableParallelism()),
    DB_MAX_CONNS: connections,
    DB_MIN_CONNS: Math.min(config.DB_MIN_CONNS, connections),
    SPOOL_LIMIT_MB: part(config.SPOOL_LIMIT_MB),
    DEDUPE_WINDOW_EVENTS: part(config.DEDUPE_WINDOW_EVENTS, LEAST_WINDOW),
    SITE_EVENTS_PER_MINUTE: part(config.SITE_EVENTS_PER_MINUTE),
    LOOK_AHEAD_PERCENT: config.LOOK_AHEAD_PERCENT / processes,
  };
}
