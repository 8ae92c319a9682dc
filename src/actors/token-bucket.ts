/**
 * A token bucket that holds a minute's worth. It may go into debt once: a request larger than what is left is taken as long as the
 * bucket holds the request or is full, so a quota below the size of a batch slows the sender instead of never letting it pass. It owes no
 * more than it holds.
 */
export class TokenBucket {
  #tokens: number;
  #at: number;

  /**
   * @param perMinute tokens a minute, and the capacity
   * @param now ms
   */
  constructor(
    readonly perMinute: number,
    now: number,
  ) {
    this.#tokens = perMinute;
    this.#at = now;
  }

  /** Takes `count` tokens and answers 0, or takes nothing and answers after how many ms to try again. */
  take(count: number, now: number): number {
    const perMs = this.perMinute / 60_000;
    this.#tokens = Math.min(this.perMinute, this.#tokens + Math.max(0, now - this.#at) * perMs);
    this.#at = now;
    const missing = Math.min(count, this.perMinute) - this.#tokens;
    // Rounding of the refill must not refuse a request that comes after exactly the time it was told.
    if (missing > 1e-6) return Math.ceil(missing / perMs);
    this.#tokens = Math.max(-this.perMinute, this.#tokens - count);
    return 0;
  }
}
