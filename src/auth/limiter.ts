import { Counter, Gauge, type Registry } from 'prom-client';
import { AppError } from '../errors.js';

export interface LimiterOptions {
  /** How many run at the same time. */
  readonly concurrency: number;
  /** How many more may wait. */
  readonly maxWaiting: number;
  readonly registry: Registry;
}

/** Lets only so much expensive work run at once; what comes on top waits in line, and beyond that is refused. */
export interface Limiter {
  /** @throws AppError `overloaded` when the line is full */
  run<T>(work: () => Promise<T>): Promise<T>;
}

/** Creates the limiter of password hashing. */
export function createLimiter({ concurrency, maxWaiting, registry }: LimiterOptions): Limiter {
  const line: (() => void)[] = [];
  let running = 0;
  const refused = new Counter({
    name: 'seentics_password_refused_total',
    help: 'Password computations refused because too many were waiting.',
    registers: [registry],
  });
  new Gauge({
    name: 'seentics_password_computations',
    help: 'Password computations by state.',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      this.set({ state: 'running' }, running);
      this.set({ state: 'waiting' }, line.length);
    },
  });
  return {
    async run(work) {
      if (running >= concurrency) {
        if (line.length >= maxWaiting) {
          refused.inc();
          throw new AppError('overloaded', 'Too many sign-ins at once', { retryAfterSeconds: 2 });
        }
        // The place is handed over, so a newcomer cannot overtake the line.
        await new Promise<void>((resolve) => line.push(resolve));
      } else {
        running++;
      }
      try {
        return await work();
      } finally {
        const next = line.shift();
        if (next) next();
        else running--;
      }
    },
  };
}
