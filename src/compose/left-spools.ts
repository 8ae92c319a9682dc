/** Finds what processes have spooled that are no more: after `PROCESSES` became smaller, or larger than one. */
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

interface Context {
  readonly config: Config;
  readonly place: Place;
  readonly telemetry: Telemetry;
  readonly signal: AbortSignal;
}

/**
 * The stream, which moves what is left in such spools to where new messages go.
 * @param target takes the messages: the stream without its own spool
 */
export async function takingLeftSpools(
  { config, place, telemetry, signal }: Context,
  stream: FrameStream,
  target: FrameStream,
): Promise<FrameStream> {
  const directories = await findLeftSpools(place, config.NATS_URL !== undefined);
  if (directories.length === 0) return stream;
  return withLeftSpools({
    ...{ stream, target, directories, signal, telemetry },
    limitBytes: config.SPOOL_LIMIT_MB * MIB,
  });
}
