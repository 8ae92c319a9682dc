import type { Disk } from './disk.js';
import { Segment } from './segment.js';

/** A segment file that is written to. */
export interface OpenSegment {
  readonly segment: Segment;
  readonly fd: number;
  /** What is written needs no `datasync`. */
  readonly isSynced: boolean;
}

/**
 * The file that comes after the one being written. It is made ahead, because creating a file and making its name durable takes as long as
 * some commits, and everything that is sent meanwhile would wait for it. Its first number lies beyond all that can still go into the file
 * before it; numbers in between are never used.
 */
export class NextSegment {
  private made: Promise<OpenSegment | undefined> | undefined;

  constructor(
    private readonly disk: Disk,
    private readonly directory: string,
  ) {}

  /** Begins to make the file, unless that was begun before. When it fails, `take` tries again. */
  prepare(base: number): void {
    this.made ??= this.create(base).catch(() => undefined);
  }

  /**
   * The file to go on with: its first record has the number `segment.base`, `sequence` at the least.
   * @throws Error the disk fails
   */
  async take(sequence: number): Promise<OpenSegment> {
    const { made } = this;
    this.made = undefined;
    return (await made) ?? this.create(sequence);
  }

  private async create(base: number): Promise<OpenSegment> {
    const segment = new Segment(this.disk, this.directory, base);
    const { fd, isSynced } = await this.disk.createLog(segment.path);
    try {
      await this.disk.syncDirectory(this.directory);
      return { segment, fd, isSynced };
    } catch (error) {
      await this.remove(segment, fd);
      throw error;
    }
  }

  /** Removes a file that was made and not taken. */
  async close(): Promise<void> {
    const made = await this.made;
    this.made = undefined;
    if (made !== undefined) await this.remove(made.segment, made.fd);
  }

  /** What cannot be removed is empty: the next opening of the log removes it. */
  private async remove(segment: Segment, fd: number): Promise<void> {
    await this.disk.close(fd).catch(() => {});
    await this.disk.unlink(segment.path).catch(() => {});
  }
}
