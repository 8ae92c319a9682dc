import { AppError } from '../../errors.js';

export interface BatchLoaderOptions<V> {
  /** Loads what exists of these keys. */
  readonly loadMany: (keys: readonly string[]) => Promise<ReadonlyMap<string, V>>;
  readonly maxBatch: number;
  /** Queries at the same time; keys that come meanwhile make up the next batches. */
  readonly maxQueries: number;
  /** Keys that may be asked for at the same time. */
  readonly maxLoading: number;
}

export interface BatchLoader<V> {
  /**
   * Loads a key together with the others asked for in this turn of the event loop; simultaneous callers of one key share one load.
   * @throws what `loadMany` throws, or AppError `overloaded`
   */
  load(key: string): Promise<V | null>;
  /** Later callers do not share a load of this key that has begun already. */
  drop(key: string): void;
}

interface Ticket<V> {
  readonly key: string;
  readonly promise: Promise<V | null>;
  resolve(value: V | null): void;
  reject(error: unknown): void;
}

export function createBatchLoader<V>(options: BatchLoaderOptions<V>): BatchLoader<V> {
  const shared = new Map<string, Ticket<V>>();
  const queue: Ticket<V>[] = [];
  let asked = 0;
  let running = 0;
  let scheduled = false;

  const flush = () => {
    scheduled = false;
    while (running < options.maxQueries && queue.length > 0) {
      running++;
      const batch = queue.splice(0, options.maxBatch);
      void run(batch).finally(() => {
        running--;
        asked -= batch.length;
        flush();
      });
    }
  };

  const run = async (batch: readonly Ticket<V>[]) => {
    try {
      const found = await options.loadMany([...new Set(batch.map(({ key }) => key))]);
      for (const ticket of batch) settle(ticket, () => ticket.resolve(found.get(ticket.key) ?? null));
    } catch (error) {
      for (const ticket of batch) settle(ticket, () => ticket.reject(error));
    }
  };

  const settle = (ticket: Ticket<V>, outcome: () => void) => {
    if (shared.get(ticket.key) === ticket) shared.delete(ticket.key);
    outcome();
  };

  return {
    async load(key) {
      const known = shared.get(key);
      if (known) return known.promise;
      if (asked >= options.maxLoading) {
        throw new AppError('overloaded', 'Too many look-ups at once', { retryAfterSeconds: 1 });
      }
      asked++;
      const ticket = createTicket<V>(key);
      shared.set(key, ticket);
      queue.push(ticket);
      if (!scheduled) {
        scheduled = true;
        setImmediate(flush);
      }
      return ticket.promise;
    },
    drop: (key) => void shared.delete(key),
  };
}

function createTicket<V>(key: string): Ticket<V> {
  let resolve: Ticket<V>['resolve'] = () => {};
  let reject: Ticket<V>['reject'] = () => {};
  const promise = new Promise<V | null>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { key, promise, resolve, reject };
}
