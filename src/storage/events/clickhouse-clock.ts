import type { Clickhouse } from '../clickhouse.js';
import { ask } from './clickhouse-statements.js';

/** The clocks of two machines drift apart by milliseconds a minute at worst. */
const MEASURE_EVERY_MS = 60_000;

/** Knows how far the server's clock is ahead of ours, so that a point in time can be named to it. */
export class ServerClock {
  private measured: { readonly aheadMs: number; readonly at: number } | undefined;

  constructor(private readonly clickhouse: Clickhouse) {}

  /** ms that the server's clock is ahead, at most (the answer's way back is taken for zero); negative when it is behind. */
  async aheadMs(signal: AbortSignal): Promise<number> {
    // performance.now(): a step of our own clock must not keep a stale measurement alive.
    if (this.measured && performance.now() - this.measured.at < MEASURE_EVERY_MS)
      return this.measured.aheadMs;
    const [row] = await ask<[string]>(
      this.clickhouse,
      'SELECT toString(toUnixTimestamp64Milli(now64(3)))',
      {},
      { signal },
    );
    this.measured = { aheadMs: Number(row?.[0]) - Date.now(), at: performance.now() };
    return this.measured.aheadMs;
  }

  /** Measures anew at the next question. */
  forget(): void {
    this.measured = undefined;
  }
}
