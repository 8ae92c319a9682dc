import { Gauge, type Registry } from 'prom-client';
import { AppError } from '../errors.js';

export interface BackgroundOptions {
  /** Label of the metric, e.g. `password_resets`. */
  readonly name: string;
  /** How many run at the same time. */
  readonly concurrency: number;
  /** How many more may wait. */
  readonly maxWaiting: number;
  readonly registry: Registry;
}

/** Work that nobody waits for: the answer to a request must not show by its time whether there was any. */
export interface Background {
  /**
   * Takes a job, which starts after the current request was answered.
   * @param job never rejects
   * @throws AppError `overloaded` when too many wait
   */
  add(job: () => Promise<void>): void;
  /** Waits until all that was taken is done. */
  drain(): Promise<void>;
}

export function createBackground(options: BackgroundOptions): Background {
  const { name, concurrency, maxWaiting, registry } = options;
  const waiting: (() => Promise<void>)[] = [];
  const running = new Set<Promise<void>>();
  new Gauge({
    name: `seentics_${name}_jobs`,
    help: 'Jobs behind the answers of requests by state.',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      this.set({ state: 'running' }, running.size);
      this.set({ state: 'waiting' }, waiting.length);
    },
  });
  const start = (): void => {
    while (running.size < concurrency) {
      const job = waiting.shift();
      if (job === undefined) return;
      const done: Promise<void> = job().finally(() => {
        running.delete(done);
        start();
      });
      running.add(done);
    }
  };
  return {
    add(job) {
      if (waiting.length >= maxWaiting)
        throw new AppError('overloaded', 'Too many requests at once', { retryAfterSeconds: 10 });
      waiting.push(job);
      setImmediate(start);
    },
    async drain() {
      start();
      while (running.size > 0) await Promise.all(running);
    },
  };
}
