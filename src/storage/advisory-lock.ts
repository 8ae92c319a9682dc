import { Gauge, type Registry } from 'prom-client';
import { AppError } from '../errors.js';
import type { Telemetry } from '../telemetry.js';
import { openPostgres } from './postgres.js';

export interface AdvisoryLocks {
  /**
   * Runs `work` while nobody else in the cluster runs something under the same name.
   * @throws AppError `overloaded`, `timeout`, `storage_unavailable`
   */
  run<T>(name: string, work: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** Longest that somebody waits for a lock. */
const WAIT_MS = 600_000;
const HELD_AT_ONCE = 4;
/** How many may wait in this node, over all names. */
const MAX_WAITING = 1_000;

/** Locks in Postgres, which every installation has. A lock ends with its connection, so a killed node holds none. */
export function openAdvisoryLocks(url: string, telemetry: Telemetry): AdvisoryLocks {
  const db = openPostgres({
    name: 'locks',
    url,
    maxConnections: HELD_AT_ONCE,
    minConnections: 0,
    telemetry,
    statementTimeoutMs: WAIT_MS,
  });
  const inTurn = createTurns(waitingGauge(telemetry.registry));
  return {
    // Of this node one at a time asks for a name: who waits behind the others holds no connection, which other names need.
    run: (name, work) =>
      inTurn(name, () =>
        db.transaction(async (tx) => {
          await tx.query('SET LOCAL idle_in_transaction_session_timeout = 0');
          await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [name]);
          return work();
        }),
      ),
    close: () => db.close(),
  };
}

/** Runs work of one name after the other. @throws AppError `overloaded` */
function createTurns(waiting: Gauge): <T>(name: string, work: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<void>>();
  let count = 0;
  return async (name, work) => {
    if (count >= MAX_WAITING) throw new AppError('overloaded', 'Too much work waits for its turn');
    const before = last.get(name);
    let end = () => {};
    const own = new Promise<void>((resolve) => {
      end = resolve;
    });
    last.set(name, own);
    try {
      if (before !== undefined) {
        count++;
        waiting.inc();
        await before;
        count--;
        waiting.dec();
      }
      return await work();
    } finally {
      if (last.get(name) === own) last.delete(name);
      end();
    }
  };
}

const gauges = new WeakMap<Registry, Gauge>();

/** One for all locks of a registry. */
function waitingGauge(registry: Registry): Gauge {
  const gauge =
    gauges.get(registry) ??
    new Gauge({
      name: 'seentics_lock_waiting',
      help: 'Pieces of work that wait in this node behind others of the same lock.',
      registers: [registry],
    });
  gauges.set(registry, gauge);
  return gauge;
}
