import { setImmediate } from 'node:timers/promises';

/** Rows after which the clock is read: some 0.1 ms of work. */
const ROWS_A_LOOK = 256;
/** Most work in one turn of the event loop, ms: whoever waits for an answer meanwhile waits no longer than this for it. */
const TURN_MS = 1;

/** Divides work over many rows into short turns of the event loop: `if (turns.isOver) await turns.next();` before each row. */
export class Turns {
  #rows = 0;
  #since = performance.now();

  /** To be asked once a row: is it time to let others have their turn? */
  get isOver(): boolean {
    this.#rows++;
    return this.#rows % ROWS_A_LOOK === 0 && performance.now() - this.#since > TURN_MS;
  }

  async next(): Promise<void> {
    await setImmediate();
    this.#since = performance.now();
  }
}
