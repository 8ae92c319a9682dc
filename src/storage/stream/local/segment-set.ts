import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from '../../../telemetry.js';
import type { Disk } from './disk.js';
import type { Segment } from './segment.js';

/** Name of a file that is being removed, behind its own. */
const REMOVED = '.removed';
/** Name of a file that is done but for what the disk could not read, behind its own. Nothing of the program looks at it again. */
export const DAMAGED = '.damaged';
/** A file is removed in steps, with pauses: freeing it in one go would hold up the commits that share its file system. */
const STEP_BYTES = 8 * 1024 * 1024;
const STEP_PAUSE_MS = 20;

/** Is this what a crash left of a file that was being removed? */
export const isRemoved = (name: string): boolean => name.endsWith(`.seg${REMOVED}`);

/** All segments of a log, oldest first, and what is live in them. Segments without a live record are deleted. */
export class SegmentSet {
  readonly list: Segment[] = [];
  /** Bytes on disk. */
  bytes = 0;
  /** Records not yet acknowledged. */
  live = 0;
  /** Has an acknowledgement come since the state was last written? */
  isDirty = false;
  private readonly removals = new Set<Promise<void>>();

  constructor(
    private readonly disk: Disk,
    private readonly log: Logger,
    private readonly check: () => Promise<void>,
  ) {}

  add(segment: Segment): void {
    this.list.push(segment);
    this.bytes += segment.bytes;
    this.live += segment.live;
  }

  find(sequence: number): Segment | undefined {
    const last = this.list[this.list.length - 1];
    if (last?.holds(sequence)) return last;
    let low = 0;
    let high = this.list.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const segment = this.list[middle];
      if (segment === undefined) return undefined;
      if (segment.holds(sequence)) return segment;
      if (segment.base > sequence) high = middle - 1;
      else low = middle + 1;
    }
    return undefined;
  }

  ack(sequence: number): void {
    const segment = this.find(sequence);
    if (segment === undefined || !segment.ack(sequence)) return;
    this.live--;
    this.isDirty = true;
    this.removeIfDone(segment);
  }

  seal(segment: Segment): void {
    segment.sealed = true;
    this.removeIfDone(segment);
  }

  private removeIfDone(segment: Segment): void {
    if (!segment.sealed || segment.live > 0) return;
    const at = this.list.indexOf(segment);
    if (at < 0) return;
    this.list.splice(at, 1);
    const removal = this.remove(segment).finally(() => this.removals.delete(removal));
    this.removals.add(removal);
  }

  private async remove(segment: Segment): Promise<void> {
    try {
      await segment.close();
      await this.check();
      if (segment.isDamaged) {
        await this.disk.rename(segment.path, `${segment.path}${DAMAGED}`);
        return;
      }
      // From now on an opening after a crash does not deliver it again.
      const path = `${segment.path}${REMOVED}`;
      await this.disk.rename(segment.path, path);
      if (segment.bytes > STEP_BYTES) await this.shrink(path, segment.bytes);
      await this.disk.unlink(path);
    } catch (error) {
      this.log.error({ err: error, segment: segment.path }, 'cannot delete a finished segment of the log');
    } finally {
      this.bytes -= segment.bytes;
    }
  }

  /** A file that cannot be made smaller is removed all the same. */
  private async shrink(path: string, bytes: number): Promise<void> {
    const fd = await this.disk.open(path, 'r+').catch(() => undefined);
    if (fd === undefined) return;
    try {
      for (let left = bytes - STEP_BYTES; left > 0; left -= STEP_BYTES) {
        await this.disk.truncate(fd, left);
        await pause(STEP_PAUSE_MS);
      }
    } catch {
      // As above.
    } finally {
      await this.disk.close(fd).catch(() => {});
    }
  }

  /** Is any file left that begins before this record? */
  hasBefore(sequence: number): boolean {
    return this.removals.size > 0 || this.list.some((segment) => segment.base < sequence);
  }

  /** Waits for deletions under way and closes all files. */
  async close(): Promise<void> {
    await Promise.all(this.removals);
    await Promise.all(this.list.map((segment) => segment.close()));
  }
}
