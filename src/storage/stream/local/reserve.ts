import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Disk, writeAll } from './disk.js';

/** Its name in the folder. */
export const RESERVE = 'reserve';
/** Enough for a claim, and for the acknowledgements of some million records. */
const RESERVE_BYTES = 1024 * 1024;

/**
 * Room on the disk that the log keeps for itself: on a full disk a log that could not be opened could not be drained either, and so the disk
 * would stay full.
 */
export class Reserve {
  readonly #path: string;

  constructor(
    private readonly disk: Disk,
    directory: string,
  ) {
    this.#path = join(directory, RESERVE);
  }

  /** Makes it, where there is room for it. */
  async fill(): Promise<void> {
    const size = await stat(this.#path).then(
      (found) => found.size,
      () => 0,
    );
    if (size === RESERVE_BYTES) return;
    try {
      const fd = await this.disk.open(this.#path, 'w');
      try {
        await writeAll(this.disk, fd, [Buffer.alloc(RESERVE_BYTES)], 0);
      } finally {
        await this.disk.close(fd);
      }
    } catch {
      await this.give();
    }
  }

  /** Gives it away. Answers whether there was any. */
  give(): Promise<boolean> {
    return this.disk.unlink(this.#path).then(
      () => true,
      () => false,
    );
  }
}

/**
 * Opens what lies in a folder, with the reserve when the disk is full.
 * @param open called once more in that case; what is drained then makes room for the reserve again
 */
export async function withReserve<T>(
  disk: Disk,
  directory: string,
  open: (reserve: Reserve) => Promise<T>,
): Promise<T> {
  const reserve = new Reserve(disk, directory);
  try {
    const opened = await open(reserve);
    await reserve.fill();
    return opened;
  } catch (error) {
    if (!isFull(error) || !(await reserve.give())) throw error;
    return open(reserve);
  }
}

/** Whether the failure is that of a full disk, or of a quota that is used up. */
function isFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}
