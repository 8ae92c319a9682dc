import { SOURCES } from '../../events/frame.js';
import { partitionOf } from '../../events/partition.js';
import { copyTables, ROW_TABLES, type RowTable } from '../../events/tables.js';
import type { Telemetry } from '../../telemetry.js';
import { runPostgresMigrations } from '../migrations.js';
import { type Database, openPostgres, type Queryable, type Row, waitForPostgres } from '../postgres.js';
import { number, text } from '../row.js';
import {
  type BookEntry,
  type BookTotals,
  type EventStore,
  type IdCandidates,
  StoreUnavailableError,
} from './event-store.js';
import { InsertMetrics } from './insert-metrics.js';
import { attempt, bytes, insertRows } from './postgres-insert.js';
import { addToQuarantine, listQuarantine, quarantined, takeQuarantined } from './postgres-quarantine.js';
import { completeRows } from './row-shape.js';

export interface PostgresEventStoreOptions {
  readonly url: string;
  readonly maxConnections: number;
  readonly minConnections: number;
  readonly telemetry: Telemetry;
}

const MIGRATIONS = new URL('../../../migrations/postgres/events/', import.meta.url);
const IDS_A_QUERY = 5_000;
const DELETE_TIMEOUT_MS = 600_000;
const COUNTERS = ['received', 'stored', 'duplicate', 'bot', 'rejected', 'quarantined'] as const;
/** Time for work that has no lease to respect. */
const SMALL_INSERT_MS = 30_000;
/** A commit is not begun when less than this is left before the deadline. */
const COMMIT_MARGIN_MS = 250;
/** Old tokens are removed once in so many blocks. */
const BLOCKS_BETWEEN_CLEANINGS = 1_000;

/** The event store in Postgres: the same answers as ClickHouse, not the same speed. */
export function createPostgresEventStore(options: PostgresEventStoreOptions): EventStore {
  const { log, registry } = options.telemetry;
  const db = openPostgres({ ...options, name: 'events' });
  const metrics = new InsertMetrics(registry, 'postgres');
  const closing = new AbortController();
  let blocks = 0;

  /** Runs `work` in one transaction unless a block with this token is stored; waits for one that is just being stored. */
  const once = async (
    token: string,
    deadline: number,
    work: (tx: Queryable) => Promise<void>,
  ): Promise<void> => {
    await attempt(() =>
      db.transaction(async (tx) => {
        const leftMs = Math.floor(deadline - Date.now());
        if (leftMs <= COMMIT_MARGIN_MS) throw late();
        await tx.limitStatements(leftMs);
        const added = await tx.query(
          'INSERT INTO insert_tokens (token) VALUES ($1) ON CONFLICT DO NOTHING RETURNING token',
          [token],
        );
        if (added.length === 0) return;
        await work(tx);
        if (blocks++ % BLOCKS_BETWEEN_CLEANINGS === 0)
          await tx.query("DELETE FROM insert_tokens WHERE inserted_at < now() - interval '1 day'");
        if (deadline - Date.now() < COMMIT_MARGIN_MS) throw late();
      }),
    );
  };

  return {
    kind: 'postgres',

    async migrate() {
      await waitForPostgres(db, options.url, log, closing.signal);
      const table = 'seentics_event_migrations';
      await runPostgresMigrations(db.pool, { folder: MIGRATIONS, table, ownTable: 'events', log });
    },

    async insertRows(table, rows, token, deadline) {
      if (rows.length === 0) return;
      await metrics.measure(table, rows, async () => {
        const complete = await completeRows(table, rows);
        await once(`${table} ${token}`, deadline, (tx) => insertRows(tx, table, complete));
      });
    },

    async addToBooks(entries, token) {
      if (entries.length === 0) return;
      await once(`books ${token}`, Date.now() + SMALL_INSERT_MS, (tx) => addToBooks(tx, entries));
    },

    async quarantine(entries, token) {
      if (entries.length === 0) return;
      await once(`quarantine ${token}`, Date.now() + SMALL_INSERT_MS, (tx) => addToQuarantine(tx, entries));
    },

    existingIds: (candidates) => attempt(() => existingIds(db, candidates)),
    recentIds: (partition, partitions, since, limit) =>
      attempt(() => recentIds(db, partition, partitions, since, limit)),
    // One transaction a block, and no rollups.
    repair: async () => 0,
    books: (siteId, from, to) => attempt(() => books(db, siteId, from, to)),
    listQuarantine: (siteId, limit, before) => attempt(() => listQuarantine(db, siteId, limit, before)),
    quarantined: (siteId, ids) => attempt(() => quarantined(db, siteId, ids)),
    takeQuarantined: (siteId, ids) => attempt(() => takeQuarantined(db, siteId, ids)),
    deleteSite: (siteId) => attempt(() => deleteSite(db, siteId)),
    ping: () => db.ping(),
    async close() {
      closing.abort();
      await db.close();
    },
  };
}

const late = () => new StoreUnavailableError('no time left before the deadline');

async function addToBooks(tx: Queryable, entries: readonly BookEntry[]): Promise<void> {
  const added = COUNTERS.map((counter) => `${counter} = b.${counter} + excluded.${counter}`).join(', ');
  await tx.query(
    `INSERT INTO ingest_books AS b (site_id, hour, source, ${COUNTERS.join(', ')})
     SELECT site_id, timestamptz 'epoch' + hour * interval '1 millisecond', source, ${COUNTERS.map((counter) => `sum(${counter})`).join(', ')}
     FROM unnest($1::text[], $2::bigint[], $3::text[], ${COUNTERS.map((_, index) => `$${index + 4}::bigint[]`).join(', ')})
       AS entries (site_id, hour, source, ${COUNTERS.join(', ')})
     GROUP BY 1, 2, 3
     -- Always in the same order, so that two nodes cannot wait for one another.
     ORDER BY 1, 2, 3
     ON CONFLICT (site_id, hour, source) DO UPDATE SET ${added}`,
    [
      entries.map((entry) => entry.siteId),
      entries.map((entry) => entry.hour),
      entries.map((entry) => entry.source),
      ...COUNTERS.map((counter) => entries.map((entry) => entry[counter])),
    ],
  );
}

async function books(db: Database, siteId: string, from: number, to: number): Promise<BookTotals[]> {
  const rows = await db.query(
    `SELECT source, ${COUNTERS.map((counter) => `sum(${counter})::float8 AS ${counter}`).join(', ')}
     FROM ingest_books
     WHERE site_id = $1 AND hour >= timestamptz 'epoch' + $2::bigint * interval '1 millisecond'
       AND hour < timestamptz 'epoch' + $3::bigint * interval '1 millisecond'
     GROUP BY source`,
    [siteId, Math.ceil(from), Math.ceil(to)],
  );
  return SOURCES.flatMap((source) => {
    const row = rows.find((candidate) => text(candidate, 'source') === source);
    return row ? [{ source, ...counters(row) }] : [];
  });
}

const counters = (row: Row): Omit<BookTotals, 'source'> => ({
  received: number(row, 'received'),
  stored: number(row, 'stored'),
  duplicate: number(row, 'duplicate'),
  bot: number(row, 'bot'),
  rejected: number(row, 'rejected'),
  quarantined: number(row, 'quarantined'),
});

async function existingIds(db: Database, candidates: readonly IdCandidates[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const table of ROW_TABLES) {
    const pairs = candidates
      .filter((candidate) => copyTables(candidate.table).includes(table))
      .flatMap(({ siteId, ids }) =>
        ids.map((id) => ({ siteId, id: Buffer.from(id.buffer, id.byteOffset, 16).toString('hex') })),
      );
    for (let start = 0; start < pairs.length; start += IDS_A_QUERY)
      for (const id of await storedOf(db, table, pairs.slice(start, start + IDS_A_QUERY))) found.add(id);
  }
  return found;
}

async function storedOf(
  db: Database,
  table: RowTable,
  pairs: readonly { readonly siteId: string; readonly id: string }[],
): Promise<string[]> {
  const rows = await db.query(
    `WITH wanted AS MATERIALIZED (SELECT * FROM unnest($1::text[], $2::uuid[]) AS w (site_id, event_id))
     SELECT encode(uuid_send(event_id), 'hex') AS id FROM wanted JOIN ${table} USING (site_id, event_id)`,
    [pairs.map((pair) => pair.siteId), pairs.map((pair) => pair.id)],
  );
  return rows.map((row) => text(row, 'id'));
}

async function recentIds(
  db: Database,
  partition: number,
  partitions: number,
  since: number,
  limit: number,
): Promise<Uint8Array[] | null> {
  // partitionOf in SQL for ids of our own form; ids of any other form come along and are told apart here.
  const select = (table: string) =>
    `SELECT uuid_send(event_id) AS id, site_id FROM ${table}
     WHERE received_at >= timestamptz 'epoch' + $1::bigint * interval '1 millisecond'
       AND CASE WHEN site_id ~ '^[0-9a-f]{8,}$' THEN ('x' || right(site_id, 8))::bit(32)::bigint % $2::bigint = $3::bigint ELSE true END`;
  const rows = await db.query(
    `SELECT * FROM (${ROW_TABLES.map(select).join(' UNION ALL ')}) AS recent LIMIT $4::bigint`,
    [Math.floor(since), partitions, partition, limit + 1],
  );
  if (rows.length > limit) return null;
  return rows
    .filter((row) => partitionOf(text(row, 'site_id'), partitions) === partition)
    .map((row) => bytes(row, 'id'));
}

/** Every table that the schema marks as part of the event store. */
async function deleteSite(db: Database, siteId: string): Promise<void> {
  const tables = await db.query(
    `SELECT quote_ident(relname) AS name FROM pg_class
     WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
       AND obj_description(oid, 'pg_class') LIKE 'event store%'
     ORDER BY relname`,
  );
  await db.transaction(async (tx) => {
    await tx.limitStatements(DELETE_TIMEOUT_MS);
    for (const table of tables)
      await tx.query(`DELETE FROM ${text(table, 'name')} WHERE site_id = $1`, [siteId]);
  });
}
