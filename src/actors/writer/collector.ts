import type { StreamMessage } from '../../storage/stream/stream.js';
import type { DedupeWindow } from '../dedupe-window.js';
import { admit } from './admission.js';
import { Block } from './block.js';
import type { Tenure } from './tenure.js';
import { TimeSlice } from './time-slice.js';

/** How long taking messages may hold the event loop, ms. */
const SLICE_MS = 1;

export interface CollectorOptions {
  readonly window: DedupeWindow;
  /** A block is stored this long after its first message at the latest (unless one is being stored), ms. */
  readonly flushMs: number;
  /** ... or with so many rows or frames, or bytes of messages. Beyond either, no message is taken until the block before it is stored. */
  readonly maxRows: number;
  readonly maxBytes: number;
  /** Stores a block; resolves when it is settled. */
  readonly store: (block: Block) => Promise<void>;
  /** Called when a tenure has ended, so that waiting ends. */
  readonly nudge: () => void;
}

/**
 * Collects messages of all partitions of this node into one block, while the block before it is being stored: two blocks, no more.
 */
export class Collector {
  #collecting = new Block();
  #storing: Block | undefined;
  #isDue = false;
  #timer: NodeJS.Timeout | undefined;
  #waiters: (() => void)[] = [];
  readonly #slice = new TimeSlice(SLICE_MS);

  constructor(readonly options: CollectorOptions) {}

  get rowsHeld(): number {
    return this.#collecting.rowCount + (this.#storing?.rowCount ?? 0);
  }

  get bytesHeld(): number {
    return this.#collecting.bytes + (this.#storing?.bytes ?? 0);
  }

  get #isFull(): boolean {
    const { maxRows, maxBytes } = this.options;
    const { rowCount, tallies, bytes } = this.#collecting;
    return rowCount >= maxRows || tallies.length >= maxRows || bytes >= maxBytes;
  }

  /** Takes a message; waits while the block is full. When the tenure is over by then, the message is left for its next owner. */
  async take(tenure: Tenure, message: StreamMessage): Promise<void> {
    while ((this.#isFull || this.#slice.isOver) && !tenure.leaving)
      await (this.#isFull ? this.#room() : this.#slice.next());
    if (tenure.leaving) return;
    const { window, flushMs } = this.options;
    admit({ window, block: this.#collecting, earlier: this.#storing }, tenure, message);
    this.#timer ??= setTimeout(() => {
      this.#isDue = true;
      this.#run();
    }, flushMs);
    if (this.#isFull) this.#run();
  }

  #room(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Lets every `take` that waits look again. */
  wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve();
  }

  /** Stores what has been collected so far; resolves when all of it is settled. */
  async flush(): Promise<void> {
    const last = this.#collecting.isEmpty ? this.#storing : this.#collecting;
    if (last === this.#collecting) {
      this.#isDue = true;
      this.#run();
    }
    await last?.done;
  }

  /** Ends a tenure: resolves when nothing of it can be stored by this node any more. */
  async end(tenure: Tenure): Promise<void> {
    tenure.leaving = true;
    tenure.ended = true;
    this.#collecting.dropEnded(this.options.window.fingerprint);
    this.options.nudge();
    this.wake();
    await this.#storing?.released(tenure);
  }

  #run(): void {
    if (this.#storing !== undefined || !(this.#isDue || this.#isFull)) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isDue = false;
    const block = this.#collecting;
    this.#collecting = new Block();
    if (block.isEmpty) {
      // All it held was given up; whoever waits for it waits no longer.
      block.finish();
      return;
    }
    this.#storing = block;
    this.wake();
    void this.options.store(block).then(() => {
      this.#storing = undefined;
      block.finish();
      this.#run();
    });
  }
}
