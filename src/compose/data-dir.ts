import { mkdir } from 'node:fs/promises';
import { type DirectoryLock, lockDirectory } from '../storage/stream/local/directory-lock.js';
import { realDisk } from '../storage/stream/local/disk.js';
import { withReserve } from '../storage/stream/local/reserve.js';

/** @throws Error naming the setting where the system refuses the folder: read-only, full, no folder, not ours */
export async function claimDataDir(directory: string): Promise<DirectoryLock> {
  try {
    await mkdir(directory, { recursive: true });
    return await withReserve(realDisk, directory, () => lockDirectory(directory));
  } catch (cause) {
    if (!(cause instanceof Error && 'syscall' in cause)) throw cause;
    throw new Error(`DATA_DIR (${directory}) cannot be written: ${cause.message}`, { cause });
  }
}
