/** What is removed by age from the Postgres event store. */
import { EXPIRING, type Removed, type RetentionStore } from '../../privacy/retention-store.js';
import type { Telemetry } from '../../telemetry.js';
import { openPostgres, type Queryable } from '../postgres.js';
import { number } from '../row.js';
import { storeError } from './postgres-insert.js';

export interface PostgresRetentionOptions {
  readonly url: string;
  readonly telemetry: Telemetry;
}

const CONNECTIONS = 1;
/** What imports have noted of old events goes in one statement. */
const STATEMENT_TIMEOUT_MS = 600_000;
/** Rows a statement: short transactions, so that nothing waits for them and vacuum keeps up. */
const ROWS_A_STATEMENT = 5_000;

export function createPostgresRetention({ url, telemetry }: PostgresRetentionOptions): RetentionStore {
  const db = openPostgres({
    ...{ name: 'retention', url, telemetry },
    maxConnections: CONNECTIONS,
    minConnections: 0,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
  });
  return {
    async deleteExpired(expiries, deadline) {
      const rows = new Map<string, number>();
      const add = (table: string, count: number) => {
        if (count > 0) rows.set(table, (rows.get(table) ?? 0) + count);
      };
      for (const { siteId, before } of expiries) {
        add('import_rows', await deleteNotes(db, siteId, before));
        for (const [table, column] of Object.entries(EXPIRING)) {
          const removed = await deleteOld(db, { table, column, siteId, before, deadline }).catch(
            (error: unknown) => {
              throw storeError(error);
            },
          );
          add(table, removed.count);
          if (!removed.isComplete) return { rows, isComplete: false } satisfies Removed;
        }
      }
      return { rows, isComplete: true };
    },
    close: () => db.close(),
  };
}

/** Imports note which events they added, without a time: these go before their events. */
async function deleteNotes(db: Queryable, siteId: string, before: number): Promise<number> {
  let count = 0;
  for (const table of ['events', 'bot_events']) {
    const gone = await db
      .query(
        `WITH gone AS (
           DELETE FROM import_rows n USING ${table} e
           WHERE n.site_id = $1 AND e.site_id = $1 AND e.event_id = n.event_id AND e."timestamp" < $2 RETURNING 1)
         SELECT count(*)::float8 AS rows FROM gone`,
        [siteId, new Date(before)],
      )
      .catch((error: unknown) => {
        throw storeError(error);
      });
    for (const row of gone) count += number(row, 'rows');
  }
  return count;
}

interface Old {
  readonly table: string;
  readonly column: string;
  readonly siteId: string;
  readonly before: number;
  readonly deadline: number;
}

async function deleteOld(
  db: Queryable,
  { table, column, siteId, before, deadline }: Old,
): Promise<{ count: number; isComplete: boolean }> {
  let count = 0;
  for (;;) {
    if (Date.now() >= deadline) return { count, isComplete: false };
    const gone = await db.query(
      `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
         SELECT ctid FROM ${table} WHERE site_id = $1 AND "${column}" < $2 LIMIT ${ROWS_A_STATEMENT}))
       RETURNING 1 AS gone`,
      [siteId, new Date(before)],
    );
    count += gone.length;
    if (gone.length < ROWS_A_STATEMENT) return { count, isComplete: true };
  }
}
