import fs from 'node:fs';
import { promisify } from 'node:util';

/** The file operations of the local log, on plain descriptors. Injectable so that tests can let a disk fail. */
export interface Disk {
  open(path: string, flags: string): Promise<number>;
  /** Creates a file to append to. Without `isSynced`, what is written is durable after a `datasync` only. */
  createLog(path: string): Promise<{ readonly fd: number; readonly isSynced: boolean }>;
  writev(fd: number, buffers: readonly NodeJS.ArrayBufferView[], position: number): Promise<number>;
  read(fd: number, into: Buffer, position: number): Promise<number>;
  datasync(fd: number): Promise<void>;
  truncate(fd: number, size: number): Promise<void>;
  close(fd: number): Promise<void>;
  unlink(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Makes names created, renamed or removed in the directory durable. */
  syncDirectory(path: string): Promise<void>;
}

const writev = promisify(fs.writev);
const read = promisify(fs.read);
const fsync = promisify(fs.fsync);
const open = promisify(fs.open);
const close = promisify(fs.close);

/**
 * Each write returns when its data are durable, as if a datasync followed: one task of the thread pool less, and one wait for a processor.
 * Elsewhere the flag promises less than a datasync.
 */
const SYNCED = process.platform === 'linux' ? fs.constants.O_DSYNC : 0;
const NEW_LOG = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL | SYNCED;

export const realDisk: Disk = {
  open: (path, flags) => open(path, flags, 0o600),
  createLog: async (path) => ({ fd: await open(path, NEW_LOG, 0o600), isSynced: SYNCED !== 0 }),
  writev: async (fd, buffers, position) => (await writev(fd, buffers, position)).bytesWritten,
  read: async (fd, into, position) => (await read(fd, into, 0, into.length, position)).bytesRead,
  datasync: promisify(fs.fdatasync),
  truncate: promisify(fs.ftruncate),
  close,
  unlink: promisify(fs.unlink),
  rename: promisify(fs.rename),
  async syncDirectory(path) {
    const fd = await open(path, 'r');
    try {
      await fsync(fd);
    } finally {
      await close(fd);
    }
  },
};

/** Writes all buffers at `position`, over as many system calls as it takes. */
export async function writeAll(
  disk: Disk,
  fd: number,
  buffers: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let rest = buffers;
  let at = position;
  while (rest.length > 0) {
    const written = await disk.writev(fd, rest, at);
    at += written;
    rest = dropBytes(rest, written);
  }
}

function dropBytes(buffers: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let left = count;
  for (let i = 0; i < buffers.length; i++) {
    const buffer = buffers[i];
    if (buffer === undefined) break;
    if (left < buffer.byteLength) return [buffer.subarray(left), ...buffers.slice(i + 1)];
    left -= buffer.byteLength;
  }
  return [];
}

/** What the disk itself tells of a sector that it cannot read. */
export function isUnreadable(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EIO';
}

const SECTOR_BYTES = 4096;
const READ_TRIES = 3;

/**
 * As `readFully`, but what the disk cannot read is left as zeros.
 * @param onUnreadable tells of each such range, [from, to) in the file
 */
export async function readReadable(
  disk: Disk,
  fd: number,
  into: Buffer,
  position: number,
  onUnreadable: (from: number, to: number) => void,
): Promise<number> {
  let done = 0;
  while (done < into.length) {
    try {
      const count = await disk.read(fd, done === 0 ? into : into.subarray(done), position + done);
      if (count === 0) break;
      done += count;
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      const at = position + done;
      const sector = into.subarray(done, done + SECTOR_BYTES - (at % SECTOR_BYTES));
      const count = await readSector(disk, fd, sector, at);
      if (count === 0) break;
      if (count === undefined) onUnreadable(at, at + sector.length);
      done += count ?? sector.fill(0).length;
    }
  }
  return done;
}

/** Undefined when it cannot be read. */
async function readSector(disk: Disk, fd: number, into: Buffer, at: number): Promise<number | undefined> {
  for (let tries = 0; tries < READ_TRIES; tries++) {
    try {
      return await disk.read(fd, into, at);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
    }
  }
  return undefined;
}

/** Reads up to `into.length` bytes at `position`; less only at the end of the file. */
export async function readFully(disk: Disk, fd: number, into: Buffer, position: number): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const count = await disk.read(fd, done === 0 ? into : into.subarray(done), position + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}
