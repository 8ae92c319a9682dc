import type { Clickhouse } from '../clickhouse.js';
import { renderMigration } from '../clickhouse-sql.js';
import { storeError } from './clickhouse-insert.js';
import { ask, change } from './clickhouse-statements.js';

/** Removes a site from every table that has a `site_id`, whoever made it. */
export async function deleteSite(clickhouse: Clickhouse, siteId: string): Promise<void> {
  const parameters = { site: siteId };
  try {
    const tables = await tablesWith(clickhouse, ['site_id']);
    await deleteRows(clickhouse, tables, 'site_id = {site:String}', parameters);
  } catch (error) {
    throw storeError(error);
  }
}

/**
 * Removes the rows that fit a condition from some tables. Two steps a table: a lightweight delete, after which no query sees the rows, and a rewrite in the background of the parts that held
 * them, which also frees the bytes. (Deleting in one step would keep the caller waiting for the rewrite, since a part holds rows of many
 * sites.)
 * @returns the tables that held such rows
 */
export async function deleteRows(
  clickhouse: Clickhouse,
  candidates: readonly string[],
  condition: string,
  parameters: Record<string, unknown>,
): Promise<string[]> {
  const onCluster = renderMigration('{{on_cluster}}', clickhouse.cluster);
  const tables = await holding(clickhouse, candidates, condition, parameters);
  await Promise.all(
    tables.map((table) =>
      change(clickhouse, `DELETE FROM \`${table}\` ${onCluster} WHERE ${condition}`, parameters, {
        settings: {
          lightweight_deletes_sync: '2',
          mutations_sync: '2',
          // Each replica asks the inner query of a condition itself.
          ...(clickhouse.cluster === undefined ? {} : { allow_nondeterministic_mutations: 1 }),
        },
      }),
    ),
  );
  for (const table of tables) await rewrite(clickhouse, table);
  return tables;
}

/** Those of some tables that have rows that fit a condition. On clusters all of them: other nodes' tables cannot be asked. */
export async function holding(
  clickhouse: Clickhouse,
  candidates: readonly string[],
  condition: string,
  parameters: Record<string, unknown>,
): Promise<string[]> {
  const answers = await Promise.all(
    candidates.map((table) => holds(clickhouse, table, condition, parameters)),
  );
  return candidates.filter((_, index) => answers[index]);
}

/** Rewrites, in the background, the parts of a table in which rows were deleted. */
export async function rewrite(clickhouse: Clickhouse, table: string): Promise<void> {
  const onCluster = renderMigration('{{on_cluster}}', clickhouse.cluster);
  await change(
    clickhouse,
    `ALTER TABLE \`${table}\` ${onCluster} APPLY DELETED MASK`,
    {},
    { settings: { mutations_sync: '0', alter_sync: '0' } },
  );
}

/** Rows a session of finished days, and which of them belong together. */
const FINISHED = ['finished_sessions', 'finished_days'];

/**
 * Removes what is made of a site's rollup and made anew when it is asked for. Whoever removes rows of single visitors from
 * `session_slots` calls it after that: a row of theirs may name several visitors.
 * @param copies tables with further rows of that kind
 */
export async function forgetFinished(
  clickhouse: Clickhouse,
  siteId: string,
  copies: readonly string[] = [],
): Promise<void> {
  const suffix = clickhouse.cluster === undefined ? '' : '_local';
  const tables = [...FINISHED, ...copies].map((table) => table + suffix);
  const removed = await deleteRows(clickhouse, tables, 'site_id = {site:String}', { site: siteId });
  // Nodes that have read it, or are making it, heed mutations of the rollup only: there is one after this, though nothing is left there.
  if (removed.length > 0) await rewrite(clickhouse, `session_slots${suffix}`);
}

/** Tables with all of these columns that hold data themselves: neither views nor the distributed tables over others. */
export async function tablesWith(clickhouse: Clickhouse, columns: readonly string[]): Promise<string[]> {
  const found = await ask<[string]>(
    clickhouse,
    `SELECT name FROM system.tables
     WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND name NOT LIKE '%\`%' AND name IN
       (SELECT table FROM system.columns WHERE database = currentDatabase() AND name IN {columns:Array(String)}
        GROUP BY table HAVING count() = length({columns:Array(String)}))
     ORDER BY name`,
    { columns },
  );
  return found.map(([name]) => name);
}

/** Whether a delete has anything to do; it touches every part of a table, also for nothing. */
async function holds(
  clickhouse: Clickhouse,
  table: string,
  condition: string,
  parameters: Record<string, unknown>,
): Promise<boolean> {
  if (clickhouse.cluster !== undefined) return true;
  const found = await ask(clickhouse, `SELECT 1 FROM \`${table}\` WHERE ${condition} LIMIT 1`, parameters);
  return found.length > 0;
}
