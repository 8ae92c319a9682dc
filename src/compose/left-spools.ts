/**
 * Finds what processes have spooled that are no more, after `PROCESSES` became smaller, or larger than one; and what waits in the local logs
 * of a node that has its streams in NATS since.
 */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../config.js';
import { withLeftSpools } from '../storage/stream/left-spools.js';
import type { FrameStream } from '../storage/stream/stream.js';
import type { Telemetry } from '../telemetry.js';
import { type Place, processFolder } from './place.js';

const MIB = 1024 * 1024;
export const SPOOL_FOLDER = 'spool';
/** The stream of events of a node without NATS. */
export const STREAM_FOLDER = 'stream';
/** Its stream of recordings. */
export const RECORDINGS_FOLDER = 'recordings';

/** @param usesOwn the caller has a spool in its folder, which then is not left */
export async function findLeftSpools(place: Place, usesOwn: boolean): Promise<string[]> {
  const { process, processes, nodeDir } = place;
  // One of them takes what is left, so that nobody has to ask who.
  if (process !== 1) return [];
  const owned = Array.from({ length: processes }, (_, index) => processFolder(index + 1));
  const inUse = new Set(processes > 1 ? owned : usesOwn ? ['.'] : []);
  const names = (await readdir(nodeDir)).filter((name) => /^process-\d{1,4}$/.test(name));
  return ['.', ...names]
    .filter((name) => !inUse.has(name))
    .map((name) => join(nodeDir, name, SPOOL_FOLDER))
    .filter((directory) => existsSync(directory));
}

/** The node's local log that was the stream until it got NATS. Only a node of one process has had one. */
export function findFormerStream({ process, nodeDir }: Place, folder: string): string[] {
  const directory = join(nodeDir, folder);
  return process === 1 && existsSync(directory) ? [directory] : [];
}

interface Context {
  readonly config: Config;
  readonly telemetry: Telemetry;
  readonly signal: AbortSignal;
}

interface Taking {
  /** Takes the messages: the stream without its own spool. */
  readonly target: FrameStream;
  readonly spools: readonly string[];
  readonly formerStreams: readonly string[];
  /** See `LeftSpoolsOptions`. */
  readonly takeoverMs: number;
}

/** The stream, which moves what is left in such folders to where new messages go. */
export async function takingLeft(
  { config, telemetry, signal }: Context,
  stream: FrameStream,
  { target, spools, formerStreams, takeoverMs }: Taking,
): Promise<FrameStream> {
  if (spools.length + formerStreams.length === 0) return stream;
  return withLeftSpools({
    ...{ stream, target, directories: spools, formerStreams, takeoverMs, signal, telemetry },
    limitBytes: config.SPOOL_LIMIT_MB * MIB,
  });
}
