import { randomUUID } from 'node:crypto';
import type { NotedObject, PlacedPart, ReplayStore } from '../../../replays/replay-store.js';
import { type Clickhouse, type ClickhouseOptions, openClickhouse } from '../../clickhouse.js';
import { STATEMENT_TIMEOUT_MS } from '../../clickhouse-migrations.js';
import { renderMigration } from '../../clickhouse-sql.js';
import { deleteRows } from '../clickhouse-deletion.js';
import { attempt, BlockInserter } from '../clickhouse-insert.js';
import { ClickhouseReader, type ClickhouseReaderOptions } from '../clickhouse-reader.js';
import type { Sql } from '../metrics/clickhouse-rows.js';
import { RowBinaryWriter } from '../row-binary.js';
import { existingPartIds, recentPartIds } from './clickhouse-part-ids.js';
import * as sql from './clickhouse-replay-queries.js';
import {
  firstNumber,
  firstText,
  heldPartOf,
  notedObjectOf,
  sessionOf,
  storedPartOf,
  summaryOf,
} from './replay-rows.js';

const CONNECTIONS = 8;
const SMALL_INSERT_MS = 30_000;
/** Ids of one statement: their text stays far below the 128 KiB that the server takes as one parameter. */
const IDS_A_STATEMENT = 500;

/** The index of recordings in ClickHouse. */
export function createClickhouseReplays(
  options: ClickhouseOptions,
  limits: ClickhouseReaderOptions = {},
): ReplayStore {
  const clickhouse = openClickhouse({
    requestTimeoutMs: STATEMENT_TIMEOUT_MS,
    maxConnections: CONNECTIONS,
    ...options,
  });
  const reader = new ClickhouseReader(clickhouse, limits);
  const inserter = new BlockInserter(clickhouse);
  const rows = (query: Sql) => reader.rows(query, AbortSignal.timeout(STATEMENT_TIMEOUT_MS));
  const remove = (tables: readonly string[], condition: string, params: Record<string, unknown>) =>
    deleteRows(
      clickhouse,
      tables.map((table) => localName(clickhouse, table)),
      condition,
      params,
    );

  return {
    async noteObjects(objects) {
      await inserter.insert({
        table: 'replay_objects',
        body: objects.map(notedBytes),
        // A later note of the same object counts, so no two are the same insert.
        token: `objects-${randomUUID()}`,
        deadline: Date.now() + SMALL_INSERT_MS,
      });
    },
    async insertParts(parts, token, deadline) {
      const body = parts.flatMap((placed) => [placed.part.head, placeBytes(placed)]);
      await inserter.insert({ table: 'replay_chunks', body, token: `replay-${token}`, deadline });
    },
    existingIds: (candidates) => existingPartIds(clickhouse, candidates),
    recentIds: (partition, partitions, since, limit) =>
      recentPartIds(clickhouse, partition, partitions, since, limit),
    sessions: async (query) => (await rows(sql.sessionsSql(query))).map(summaryOf),
    countSessions: async (query) => (await rows(sql.countSessionsSql(query))).map(firstNumber)[0] ?? 0,
    partsOf: async (siteId, sessionKey, limit) =>
      (await rows(sql.partsSql(siteId, sessionKey, limit))).map(storedPartOf),
    newestSnapshot: async (siteId, page) => (await rows(sql.snapshotSql(siteId, page))).map(storedPartOf),

    async bury(siteId, sessionKeys, now) {
      for (const keys of portions(sessionKeys))
        await insertSelect(
          clickhouse,
          `INSERT INTO replay_deletions SELECT {site:String}, toFixedString(unhex(arrayJoin({keys:Array(String)})), 16),
             fromUnixTimestamp64Milli({now:Int64}, 'UTC')`,
          { site: siteId, keys, now },
        );
    },
    async buried(siteId, sessionKeys) {
      const found = new Set<string>();
      for (const keys of portions(sessionKeys))
        for (const row of await rows(sql.buriedSql(siteId, keys))) found.add(firstText(row));
      return found;
    },
    haunting: async (since, limit) => (await rows(sql.hauntingSql(since, limit))).map(sessionOf),
    async objectsOf(siteId, sessionKeys) {
      const found = new Set<string>();
      for (const keys of portions(sessionKeys))
        for (const row of await rows(sql.objectsOfSql(siteId, keys))) found.add(firstText(row));
      return [...found];
    },
    sitesWithDeletions: async (since) => (await rows(sql.sitesWithDeletionsSql(since))).map(firstText),
    async partsIn(siteId, objectKeys) {
      const held = [];
      for (const keys of portions(objectKeys)) held.push(...(await rows(sql.partsInSql(siteId, keys))));
      return held.map(heldPartOf);
    },
    async move(siteId, moves) {
      for (const some of portions(moves))
        await insertSelect(clickhouse, MOVE, {
          site: siteId,
          ids: some.map(({ eventId }) => eventId),
          keys: some.map(({ objectKey }) => objectKey),
          offsets: some.map(({ offset }) => offset),
        });
    },
    async removeObjects(siteId, objectKeys) {
      for (const keys of portions(objectKeys))
        await attempt(() =>
          remove(
            ['replay_chunks', 'replay_objects'],
            'site_id = {site:String} AND object_key IN {keys:Array(String)}',
            { site: siteId, keys },
          ),
        );
    },
    sitesWithObjects: async (since) => (await rows(sql.sitesWithObjectsSql(since))).map(firstText),
    orphans: async (query) => (await rows(sql.orphansSql(query))).map(notedObjectOf),
    objectsBefore: async (siteId, before, limit) =>
      (await rows(sql.objectsBeforeSql(siteId, before, limit))).map(notedObjectOf),
    close: () => reader.close(),
  };
}

/** All versions of a part carry the same columns but these three. */
const MOVE = `INSERT INTO replay_chunks
  SELECT * REPLACE (
    transform(lower(hex(event_id)), {ids:Array(String)}, {keys:Array(String)}, '') AS object_key,
    transform(lower(hex(event_id)), {ids:Array(String)}, {offsets:Array(UInt32)}, toUInt32(0)) AS object_offset,
    version + 1 AS version)
  FROM replay_chunks FINAL
  WHERE site_id = {site:String} AND lower(hex(event_id)) IN {ids:Array(String)}`;

async function insertSelect(
  { client, cluster }: Clickhouse,
  query: string,
  params: Record<string, unknown>,
): Promise<void> {
  await attempt(() =>
    client.command({
      query,
      query_params: params,
      use_multipart_params: true,
      clickhouse_settings: {
        async_insert: 0,
        // It is told apart by its rows, and sent again only to have its effect again.
        insert_deduplicate: 0,
        wait_end_of_query: 1,
        ...(cluster === undefined ? {} : { distributed_product_mode: 'global' }),
      },
      abort_signal: AbortSignal.timeout(SMALL_INSERT_MS),
    }),
  );
}

const localName = ({ cluster }: Clickhouse, table: string): string =>
  renderMigration(`{{table:${table}}}`, cluster);

function* portions<T>(items: readonly T[]): Generator<T[]> {
  for (let at = 0; at < items.length; at += IDS_A_STATEMENT) yield items.slice(at, at + IDS_A_STATEMENT);
}

function notedBytes({ siteId, objectKey, writtenAt }: NotedObject): Uint8Array {
  return new RowBinaryWriter().text(siteId).text(objectKey).ms(writtenAt).finish();
}

/** The columns behind those of the row (recording-columns.ts). */
function placeBytes({ part, objectKey, offset }: PlacedPart): Uint8Array {
  return new RowBinaryWriter().text(objectKey).u32(offset).u32(part.data.length).u32(0).finish();
}
