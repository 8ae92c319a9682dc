import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StreamUnavailableError } from '../stream.js';
import { type Disk, writeAll } from './disk.js';

/** Its name in the folder: one byte. */
const NAME = 'sending';
const NONE = Buffer.from('0');
const SOME = Buffer.from('1');

/**
 * Notes durably whether something may be on its way to a store that outlives this process, so that a successor waits for it to take
 * effect only when there was anything. Without a note there may have been.
 */
export class SendingNote {
  readonly #path: string;
  #fd: number | undefined;
  /** Calls of `run` under way. */
  #count = 0;
  /** What the file says; nothing is relied on that this process has not written. */
  #says: 'none' | 'some' | 'unknown' = 'unknown';
  #last: Promise<void> = Promise.resolve();
  #isClosed = false;

  /** @param check throws when the folder is of another process by now */
  constructor(
    private readonly disk: Disk,
    private readonly directory: string,
    private readonly check: () => Promise<void>,
  ) {
    this.#path = join(directory, NAME);
  }

  get isUnderWay(): boolean {
    return this.#count > 0;
  }

  /**
   * Does what sends something to the store; the note says so before.
   * @throws StreamUnavailableError the disk takes no note: nothing was sent; or what the work throws
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    this.#count++;
    try {
      await this.#inTurn(() => this.#say('some'));
      return await work();
    } finally {
      this.#count--;
      await this.#inTurn(() => this.#rest()).catch(() => {});
    }
  }

  /** That nothing is under way need not be durable: an older note only makes a successor wait. */
  async #rest(): Promise<void> {
    if (this.#count === 0 && this.#says === 'some' && !this.#isClosed) await this.#say('none');
  }

  async #say(what: 'none' | 'some'): Promise<void> {
    if (this.#isClosed) throw new StreamUnavailableError('the log is closed');
    if (this.#says === what) return;
    await this.check();
    this.#says = 'unknown';
    try {
      this.#fd ??= await this.disk.open(this.#path, 'w');
      await writeAll(this.disk, this.#fd, [what === 'some' ? SOME : NONE], 0);
      if (what === 'some') await this.disk.datasync(this.#fd);
      this.#says = what;
    } catch (error) {
      await this.#remove(error);
    }
  }

  /** None at all says that something may be under way, and a file system that copies on writing may have room for no more. */
  async #remove(reason: unknown): Promise<void> {
    await this.#release();
    try {
      await this.disk.unlink(this.#path).catch(unlessMissing);
      await this.disk.syncDirectory(this.directory);
    } catch {
      throw new StreamUnavailableError('the disk takes no note of what is sent', { cause: reason });
    }
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** What is under way stays noted. */
  close(): Promise<void> {
    this.#isClosed = true;
    return this.#inTurn(() => this.#release());
  }

  async #release(): Promise<void> {
    const fd = this.#fd;
    this.#fd = undefined;
    if (fd !== undefined) await this.disk.close(fd).catch(() => {});
  }
}

/** Whether what the last owner of the folder had sent may still take effect, by its note. */
export const mayBeUnderWay = (directory: string): Promise<boolean> =>
  readFile(join(directory, NAME)).then(
    (bytes) => !bytes.equals(NONE),
    () => true,
  );

function unlessMissing(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
}
