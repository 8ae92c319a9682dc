import { AppError } from '../errors.js';

/** A bounded number at work, a bounded number waiting, first come first served. */
export class Turns {
  running = 0;
  private readonly queue: (() => void)[] = [];

  /**
   * @param concurrency how many work at the same time
   * @param queueLimit how many may wait before further ones are refused
   */
  constructor(
    private readonly concurrency: number,
    private readonly queueLimit: number,
  ) {}

  get waiting(): number {
    return this.queue.length;
  }

  /** @throws AppError `overloaded` when too many wait, the signal's reason when the caller has left meanwhile, what `work` throws */
  async take<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if (this.running < this.concurrency) this.running++;
    else await this.wait();
    try {
      signal.throwIfAborted();
      return await work();
    } finally {
      const next = this.queue.shift();
      if (next) next();
      else this.running--;
    }
  }

  private wait(): Promise<void> {
    if (this.queue.length >= this.queueLimit)
      throw new AppError('overloaded', 'Too many reports are being computed', { retryAfterSeconds: 2 });
    return new Promise((resolve) => this.queue.push(resolve));
  }
}
