import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import type { Logger } from '../../../telemetry.js';
import { type Disk, isUnreadable, writeAll } from './disk.js';

const State = Type.Object({
  /** Fencing token of the last opening. */
  epoch: Type.Integer({ minimum: 0 }),
  /** No record at or behind this number has ever been acknowledged as appended. */
  nextSequence: Type.Integer({ minimum: 0 }),
  /** The log was closed, not killed, and nothing that an owner had sent to a store may still take effect. */
  clean: Type.Boolean(),
  /** Acknowledged records by first sequence number of their segment: base64 of one bit a record. */
  acked: Type.Array(Type.Object({ base: Type.Integer({ minimum: 0 }), bits: Type.String() })),
});
export type LogState = Static<typeof State>;

const NAME = 'state';

/** Reads the state: the checksum of the second line, then JSON. A lost or damaged state means that everything is delivered again. */
export async function readState(directory: string, log: Logger): Promise<LogState | undefined> {
  let text: string;
  try {
    text = await readFile(join(directory, NAME), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    if (!isUnreadable(error)) throw error;
    text = '';
  }
  const lineEnd = text.indexOf('\n');
  const json = text.slice(lineEnd + 1);
  try {
    if (Number.parseInt(text.slice(0, lineEnd), 16) !== crc32(json)) throw new Error('checksum differs');
    return Value.Parse(State, JSON.parse(json));
  } catch (error) {
    log.error({ err: error, directory }, 'state of the log is damaged: all its records are delivered again');
    const epoch = Math.floor(Date.now() / 1000);
    return { epoch, nextSequence: 0, clean: false, acked: [] };
  }
}

/** Replaces the state durably: a crash leaves the old or the new one. */
export async function writeState(disk: Disk, directory: string, state: LogState): Promise<void> {
  const json = JSON.stringify(state);
  const draft = join(directory, `${NAME}.new`);
  const fd = await disk.open(draft, 'w');
  try {
    await writeAll(disk, fd, [Buffer.from(`${crc32(json).toString(16)}\n${json}`)], 0);
    await disk.datasync(fd);
  } finally {
    await disk.close(fd);
  }
  await disk.rename(draft, join(directory, NAME));
  await disk.syncDirectory(directory);
}
