import { partitionOf } from '../../../events/partition.js';
import type { ReplayStore } from '../../../replays/replay-store.js';
import type { Telemetry } from '../../../telemetry.js';
import { openPostgres } from '../../postgres.js';
import { StoreUnavailableError } from '../event-store.js';
import { attempt } from '../postgres-insert.js';
import { insertParts } from './postgres-part-insert.js';
import * as sql from './postgres-replay-queries.js';
import {
  firstNumber,
  firstText,
  heldPartOf,
  notedObjectOf,
  sessionOf,
  storedPartOf,
  summaryOf,
} from './replay-rows.js';

export interface PostgresReplaysOptions {
  readonly url: string;
  readonly maxConnections: number;
  readonly minConnections: number;
  readonly telemetry: Telemetry;
}

/** A commit is not begun when less than this is left before the deadline. */
const COMMIT_MARGIN_MS = 250;
const IDS_A_QUERY = 5_000;
const STATEMENT_TIMEOUT_MS = 30_000;

/** The index of recordings in Postgres: the same answers as ClickHouse. */
export function createPostgresReplays(options: PostgresReplaysOptions): ReplayStore {
  const db = openPostgres({ ...options, name: 'replays', statementTimeoutMs: STATEMENT_TIMEOUT_MS });
  const rows = ({ text, values }: sql.Statement): Promise<unknown[][]> =>
    attempt(
      async () => (await db.pool.query<unknown[]>({ text, values: [...values], rowMode: 'array' })).rows,
    );
  const run = async (text: string, values: readonly unknown[]) => void (await rows({ text, values }));

  return {
    noteObjects: (objects) =>
      run(
        `INSERT INTO replay_objects (site_id, object_key, written_at)
         SELECT site_id, object_key, ${sql.instant('written_at')}
         FROM unnest($1::text[], $2::text[], $3::bigint[]) AS noted (site_id, object_key, written_at)
         ORDER BY 1, 2 ON CONFLICT (site_id, object_key) DO UPDATE SET written_at = excluded.written_at`,
        [
          objects.map(({ siteId }) => siteId),
          objects.map(({ objectKey }) => objectKey),
          objects.map(({ writtenAt }) => writtenAt),
        ],
      ),

    // A block that comes again meets its own rows: no token needs to be remembered.
    insertParts: (parts, _token, deadline) =>
      attempt(() =>
        db.transaction(async (tx) => {
          const leftMs = Math.floor(deadline - Date.now());
          if (leftMs <= COMMIT_MARGIN_MS) throw late();
          await tx.limitStatements(leftMs);
          await insertParts(tx, parts);
          if (deadline - Date.now() < COMMIT_MARGIN_MS) throw late();
        }),
      ),

    async existingIds(candidates) {
      const pairs = candidates.flatMap(({ siteId, ids }) =>
        ids.map((id) => ({ siteId, id: Buffer.from(id.buffer, id.byteOffset, 16).toString('hex') })),
      );
      const found = new Set<string>();
      for (let at = 0; at < pairs.length; at += IDS_A_QUERY) {
        const some = pairs.slice(at, at + IDS_A_QUERY);
        const text = `SELECT encode(uuid_send(event_id), 'hex') FROM replay_chunks
          JOIN unnest($1::text[], $2::uuid[]) AS w (site_id, event_id) USING (site_id, event_id)`;
        const values = [some.map(({ siteId }) => siteId), some.map(({ id }) => id)];
        for (const row of await rows({ text, values })) found.add(firstText(row));
      }
      return found;
    },

    async recentIds(partition, partitions, since, limit) {
      const recent = `received_at >= ${sql.instant('$1')}`;
      const sites = await rows({
        text: `SELECT DISTINCT site_id FROM replay_chunks WHERE ${recent}`,
        values: [Math.floor(since)],
      });
      const mine = sites.map(firstText).filter((site) => partitionOf(site, partitions) === partition);
      if (mine.length === 0) return [];
      const ids = await rows({
        text: `SELECT encode(uuid_send(event_id), 'hex') FROM replay_chunks
          WHERE ${recent} AND site_id = ANY($2::text[]) LIMIT $3::bigint`,
        values: [Math.floor(since), mine, limit + 1],
      });
      return ids.length > limit ? null : ids.map((row) => Buffer.from(firstText(row), 'hex'));
    },

    sessions: async (query) => (await rows(sql.sessionsSql(query))).map(summaryOf),
    countSessions: async (query) => (await rows(sql.countSessionsSql(query))).map(firstNumber)[0] ?? 0,
    partsOf: async (siteId, sessionKey, limit) =>
      (await rows(sql.partsSql(siteId, sessionKey, limit))).map(storedPartOf),
    newestSnapshot: async (siteId, page) => (await rows(sql.snapshotSql(siteId, page))).map(storedPartOf),

    async bury(siteId, sessionKeys, now) {
      await run(
        `INSERT INTO replay_deletions (site_id, session_key, deleted_at)
         SELECT $1, key, ${sql.instant('$3')} FROM unnest($2::uuid[]) AS buried (key) ORDER BY key
         ON CONFLICT (site_id, session_key) DO UPDATE SET deleted_at = excluded.deleted_at`,
        [siteId, [...new Set(sessionKeys)], now],
      );
      await run("DELETE FROM replay_deletions WHERE deleted_at < now() - interval '180 days'", []);
    },
    async buried(siteId, sessionKeys) {
      return new Set((await rows(sql.buriedSql(siteId, sessionKeys))).map(firstText));
    },
    haunting: async (since, limit) => (await rows(sql.hauntingSql(since, limit))).map(sessionOf),
    objectsOf: async (siteId, sessionKeys) =>
      (await rows(sql.objectsOfSql(siteId, sessionKeys))).map(firstText),
    sitesWithDeletions: async (since) => (await rows(sql.sitesWithDeletionsSql(since))).map(firstText),
    partsIn: async (siteId, objectKeys) => (await rows(sql.partsInSql(siteId, objectKeys))).map(heldPartOf),
    move: (siteId, moves) =>
      run(
        `UPDATE replay_chunks AS c SET object_key = m.object_key, object_offset = m.object_offset
         FROM unnest($2::uuid[], $3::text[], $4::bigint[]) AS m (event_id, object_key, object_offset)
         WHERE c.site_id = $1 AND c.event_id = m.event_id`,
        [
          siteId,
          moves.map(({ eventId }) => eventId),
          moves.map(({ objectKey }) => objectKey),
          moves.map(({ offset }) => offset),
        ],
      ),
    removeObjects: (siteId, objectKeys) =>
      attempt(() =>
        db.transaction(async (tx) => {
          for (const table of ['replay_chunks', 'replay_objects'])
            await tx.query(`DELETE FROM ${table} WHERE site_id = $1 AND object_key = ANY($2::text[])`, [
              siteId,
              objectKeys,
            ]);
        }),
      ),
    sitesWithObjects: async (since) => (await rows(sql.sitesWithObjectsSql(since))).map(firstText),
    orphans: async (query) => (await rows(sql.orphansSql(query))).map(notedObjectOf),
    objectsBefore: async (siteId, before, limit) =>
      (await rows(sql.objectsBeforeSql(siteId, before, limit))).map(notedObjectOf),
    close: () => db.close(),
  };
}

const late = () => new StoreUnavailableError('no time left before the deadline');
