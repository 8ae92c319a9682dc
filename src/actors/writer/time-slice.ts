import { setImmediate as nextTurn } from 'node:timers/promises';

/**
 * Keeps work that is handed over in microtasks from holding the event loop: a backlog that comes out of memory would otherwise be taken
 * in one go, a tenth of a second for a full block.
 */
export class TimeSlice {
  /** Start of this turn's work, ms of `performance.now()`; 0 when nothing was done in this turn yet. */
  #since = 0;

  /** @param ms work in one turn of the event loop */
  constructor(readonly ms: number) {}

  /** Is this turn's time used up? */
  get isOver(): boolean {
    const now = performance.now();
    if (this.#since === 0) {
      this.#since = now;
      setImmediate(() => {
        this.#since = 0;
      });
    }
    return now - this.#since > this.ms;
  }

  next(): Promise<void> {
    return nextTurn();
  }
}
