import { setTimeout as pause } from 'node:timers/promises';
import type { Clickhouse } from '../../clickhouse.js';
import { rewrite, tablesWith } from '../clickhouse-deletion.js';
import { ask } from '../clickhouse-statements.js';

const POLL_MS = 100;
/** What an attempt that died has removed without ordering the rewrite shows when the rewrites of others are done. */
const ROUNDS = 2;

/**
 * Resolves when the bytes of the rows are gone that were removed before, by whatever attempt: waits for the last rewrite that is ordered
 * by now of each table that still holds some, and orders it where nobody has. Neither what is ordered later nor other work on tables is
 * waited for.
 * @throws the signal's reason
 */
export async function rewritten(clickhouse: Clickhouse, signal: AbortSignal): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const masked = await maskedTables(clickhouse, signal);
    if (masked.length === 0) return;
    const pending = new Set((await unfinished(clickhouse, masked, signal)).map(({ table }) => table));
    for (const table of masked) if (!pending.has(table)) await rewrite(clickhouse, table);
    const own = new Set((await unfinished(clickhouse, masked, signal)).map(({ name }) => name));
    while ((await unfinished(clickhouse, masked, signal)).some(({ name }) => own.has(name)))
      await pause(POLL_MS, undefined, { signal });
  }
}

const ofAllNodes = ({ cluster }: Clickhouse, table: string): string =>
  cluster === undefined ? table : `clusterAllReplicas('${cluster}', ${table})`;

/** Tables with data of sites in which removed rows still lie. */
async function maskedTables(clickhouse: Clickhouse, signal: AbortSignal): Promise<string[]> {
  const found = await ask<[string]>(
    clickhouse,
    `SELECT DISTINCT table FROM ${ofAllNodes(clickhouse, 'system.parts')}
     WHERE database = currentDatabase() AND active AND has_lightweight_delete AND table IN {tables:Array(String)}`,
    { tables: await tablesWith(clickhouse, ['site_id']) },
    { signal },
  );
  return found.map(([table]) => table);
}

/** Rewrites of tables that are not done, named by node, table and number. */
async function unfinished(
  clickhouse: Clickhouse,
  tables: readonly string[],
  signal: AbortSignal,
): Promise<{ readonly table: string; readonly name: string }[]> {
  const found = await ask<[string, string]>(
    clickhouse,
    `SELECT table, concat(hostName(), ' ', table, ' ', mutation_id) FROM ${ofAllNodes(clickhouse, 'system.mutations')}
     WHERE database = currentDatabase() AND NOT is_done AND command LIKE '%APPLY DELETED MASK%' AND table IN {tables:Array(String)}`,
    { tables },
    { signal },
  );
  return found.map(([table, name]) => ({ table, name }));
}
