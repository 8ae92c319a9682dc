import { DELETION_MEMORY_DAYS, type HeatStore } from '../../../heatmaps/heat-store.js';
import { type Database, openPostgres, type Queryable } from '../../postgres.js';
import { instant } from '../metrics/postgres-rows.js';
import { PostgresReader, type PostgresReaderOptions } from '../postgres-reader.js';
import { heatCell, heatElement, heatPages, heatTotals, oneText } from './heat-rows.js';
import { cellsSql, elementsSql, pagesSql, trackedPagesSql, typeTotalsSql } from './postgres-heat-queries.js';

/** Connections of each pool: heatmaps are asked for now and then. */
const CONNECTIONS = 4;
const DELETE_TIMEOUT_MS = 600_000;
/** Farther than any point lies, in both directions. */
const ALL_TIME = { from: 0, to: Date.UTC(9999, 0) };

/** Heatmaps from Postgres: the same answers as ClickHouse, not the same speed. */
export function createPostgresHeat(options: PostgresReaderOptions): HeatStore {
  const few = {
    ...options,
    maxConnections: Math.min(CONNECTIONS, options.maxConnections),
    minConnections: 0,
  };
  const reader = new PostgresReader('heatmaps', few);
  const db = openPostgres({ ...few, name: 'heat_deletes', statementTimeoutMs: DELETE_TIMEOUT_MS });
  return {
    cells: async (scope, limit, signal) => (await reader.rows(cellsSql(scope, limit), signal)).map(heatCell),
    pages: async (siteId, range, limit, offset, signal) =>
      heatPages(await reader.rows(pagesSql(siteId, range, limit, offset), signal)),
    topElements: async (scope, limit, signal) =>
      (await reader.rows(elementsSql(scope, limit), signal)).map(heatElement),
    typeTotals: async (siteId, range, signal) =>
      heatTotals(await reader.rows(typeTotalsSql(siteId, range), signal)),
    trackedPages: async (siteId, limit, signal) =>
      (await reader.rows(trackedPagesSql(siteId, ALL_TIME, limit), signal)).map(oneText),
    deletePages: (siteId, pages, at) => deletePages(db, siteId, pages, at),
    sweep: () => sweep(db),
    async close() {
      await Promise.all([reader.close(), db.close()]);
    },
  };
}

const REMOVE = `WITH gone AS (
    DELETE FROM heat_points AS p USING heat_deletions AS d
    WHERE p.site_id = d.site_id AND md5(p.page) = md5(d.page) AND p.page = d.page AND p.received_at <= d.deleted_at`;
const REMOVED = 'RETURNING p.site_id, p.page) SELECT DISTINCT site_id, page FROM gone';

async function deletePages(
  db: Database,
  siteId: string,
  pages: readonly string[],
  at: number,
): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.query(
      `INSERT INTO heat_deletions AS d (site_id, page, deleted_at)
       SELECT $1, page, ${instant('$3')} FROM (SELECT DISTINCT unnest($2::text[]) AS page) AS pages ORDER BY md5(page)
       ON CONFLICT (site_id, md5(page)) DO UPDATE SET deleted_at = greatest(d.deleted_at, excluded.deleted_at)`,
      [siteId, pages, at],
    );
    await tx.query(`${REMOVE} AND d.site_id = $1 AND d.page = ANY ($2) ${REMOVED}`, [siteId, pages]);
  });
}

async function sweep(db: Queryable): Promise<number> {
  const pages = await db.query(`${REMOVE} ${REMOVED}`);
  await db.query(
    `DELETE FROM heat_deletions WHERE deleted_at < now() - interval '${DELETION_MEMORY_DAYS} days'`,
  );
  return pages.length;
}
