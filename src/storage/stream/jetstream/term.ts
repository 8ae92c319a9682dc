/** A moment by both clocks, ms. */
export interface Moment {
  readonly monotonic: number;
  readonly wall: number;
}

export function thisMoment(): Moment {
  return { monotonic: performance.now(), wall: Date.now() };
}

/**
 * A stretch of time that is over when either clock says so: the monotonic one stands still while a machine is suspended, the other may
 * be set back.
 */
export class Term {
  constructor(
    readonly start: Moment,
    readonly ms: number,
  ) {}

  /** ms; 0 or less when it is over. */
  left(now: Moment = thisMoment()): number {
    return this.ms - Math.max(now.monotonic - this.start.monotonic, now.wall - this.start.wall);
  }
}
