/** Waits for `ms` milliseconds; only for polling and for loads that run on a clock, never instead of a condition. */
export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export interface UntilOptions {
  /** What is waited for; stands in the error. */
  readonly what: string;
  /** Default 30,000. */
  readonly timeoutMs?: number;
  /** Default 50. */
  readonly everyMs?: number;
}

/**
 * Calls `probe` until it returns something other than `undefined` or `false`, and returns that.
 * A throwing probe counts as "not yet"; its last error is the cause of the time-out error.
 */
export async function until<T>(
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  { what, timeoutMs = 30_000, everyMs = 50 }: UntilOptions,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= end) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`, { cause });
    await pause(everyMs);
  }
}
