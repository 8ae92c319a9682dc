import type { Telemetry } from '../telemetry.js';
import { openPostgres } from './postgres.js';

export interface AdvisoryLocks {
  /** Runs `work` while nobody else in the cluster runs something under the same name. */
  run<T>(name: string, work: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** Longest that somebody waits for a lock. */
const WAIT_MS = 600_000;
const HELD_AT_ONCE = 4;

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
  return {
    run: (name, work) =>
      db.transaction(async (tx) => {
        await tx.query('SET LOCAL idle_in_transaction_session_timeout = 0');
        await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [name]);
        return work();
      }),
    close: () => db.close(),
  };
}
