import { SOURCES } from '../../events/frame.js';
import type { Telemetry } from '../../telemetry.js';
import { type Clickhouse, type ClickhouseOptions, openClickhouse } from '../clickhouse.js';
import { runClickhouseMigrations, STATEMENT_TIMEOUT_MS, type WithLock } from '../clickhouse-migrations.js';
import { deleteSite } from './clickhouse-deletion.js';
import { attempt, BlockInserter, MAX_BLOCK_ROWS } from './clickhouse-insert.js';
import { existingIds, recentIds } from './clickhouse-lookups.js';
import { listQuarantine, quarantineBytes, quarantined, takeQuarantined } from './clickhouse-quarantine.js';
import { repairRollup } from './clickhouse-repair.js';
import { ask } from './clickhouse-statements.js';
import { type BookEntry, type BookTotals, type EventStore, RowsRefusedError } from './event-store.js';
import { InsertMetrics } from './insert-metrics.js';
import { RowBinaryWriter } from './row-binary.js';
import { completeRows } from './row-shape.js';

export interface ClickhouseEventStoreOptions {
  readonly clickhouse: ClickhouseOptions;
  readonly telemetry: Telemetry;
  /** Keeps two nodes from migrating at the same time. */
  readonly withLock?: WithLock;
}

const SMALL_INSERT_MS = 30_000;
const BOOKS_MS = 30_000;

const MIGRATIONS = new URL('../../../migrations/clickhouse/', import.meta.url);

/**
 * The event store in ClickHouse. Rows go in as they came from the enrichment workers; dedupe of repeated blocks is the server's
 * (`insert_deduplication_token`), also in the rollups that hang on the tables.
 */
export function createClickhouseEventStore(options: ClickhouseEventStoreOptions): EventStore {
  const { log, registry } = options.telemetry;
  // Every call below ends by itself earlier.
  const clickhouse = openClickhouse({ requestTimeoutMs: STATEMENT_TIMEOUT_MS, ...options.clickhouse });
  const inserter = new BlockInserter(clickhouse);
  const metrics = new InsertMetrics(registry, 'clickhouse');
  const closing = new AbortController();

  /** Books and quarantine are few rows and have no lease to respect. */
  const insertSmall = async (table: string, body: readonly Uint8Array[], token: string): Promise<void> => {
    if (body.length > 0)
      await inserter.insert({ table, body, token, deadline: Date.now() + SMALL_INSERT_MS });
  };

  return {
    kind: 'clickhouse',

    async migrate() {
      await runClickhouseMigrations(clickhouse, {
        folder: MIGRATIONS,
        log,
        signal: closing.signal,
        ownTable: 'events',
        ...(options.withLock ? { withLock: options.withLock } : {}),
      });
    },

    async insertRows(table, rows, token, deadline) {
      if (rows.length === 0) return;
      await metrics.measure(table, rows, async () => {
        if (rows.length > MAX_BLOCK_ROWS) throw new RowsRefusedError(`more than ${MAX_BLOCK_ROWS} rows`);
        const body = await completeRows(table, rows);
        await inserter.insert({ table, body, token, deadline });
      });
    },

    addToBooks: (entries, token) => insertSmall('ingest_books', entries.map(bookBytes), token),
    quarantine: (entries, token) => insertSmall('quarantine', quarantineBytes(entries), token),
    existingIds: (candidates) => existingIds(clickhouse, candidates),
    recentIds: (partition, partitions, since, limit) =>
      recentIds(clickhouse, partition, partitions, since, limit),
    repair: (partition, partitions, range) => repairRollup(clickhouse, partition, partitions, range),
    books: (siteId, from, to) => books(clickhouse, siteId, from, to),
    listQuarantine: (siteId, limit, before) => listQuarantine(clickhouse, siteId, limit, before),
    quarantined: (siteId, ids) => quarantined(clickhouse, siteId, ids),
    takeQuarantined: (siteId, ids) => takeQuarantined(clickhouse, siteId, ids),
    deleteSite: (siteId) => deleteSite(clickhouse, siteId),
    ping: () => clickhouse.ping(),
    async close() {
      closing.abort();
      await clickhouse.close();
    },
  };
}

function bookBytes(entry: BookEntry): Uint8Array {
  return new RowBinaryWriter()
    .text(entry.siteId)
    .seconds(entry.hour)
    .text(entry.source)
    .u64(entry.received)
    .u64(entry.stored)
    .u64(entry.duplicate)
    .u64(entry.bot)
    .u64(entry.rejected)
    .u64(entry.quarantined)
    .finish();
}

async function books(
  clickhouse: Clickhouse,
  siteId: string,
  from: number,
  to: number,
): Promise<BookTotals[]> {
  const query = `
    SELECT source, sum(received), sum(stored), sum(duplicate), sum(bot), sum(rejected), sum(quarantined)
    FROM ingest_books
    WHERE site_id = {site:String} AND hour >= {from:UInt32} AND hour < {to:UInt32}
    GROUP BY source`;
  // Hours start at whole seconds, so rounding up keeps the interval half open.
  const parameters = { site: siteId, from: Math.ceil(from / 1_000), to: Math.ceil(to / 1_000) };
  const rows = await attempt(() =>
    ask<[string, number, number, number, number, number, number]>(clickhouse, query, parameters, {
      signal: AbortSignal.timeout(BOOKS_MS),
      settings: { output_format_json_quote_64bit_integers: 0, max_execution_time: BOOKS_MS / 1_000 },
    }),
  );
  return SOURCES.flatMap((source) => {
    const row = rows.find(([name]) => name === source);
    if (!row) return [];
    const [, received, stored, duplicate, bot, rejected, quarantined] = row;
    return [{ source, received, stored, duplicate, bot, rejected, quarantined }];
  });
}
