/** What is removed by age from ClickHouse, and why like this: docs/decisions/0008-retention.md. */
import { EXPIRING, type Expiry, type Removed, type RetentionStore } from '../../privacy/retention-store.js';
import { type Clickhouse, type ClickhouseOptions, openClickhouse } from '../clickhouse.js';
import { STATEMENT_TIMEOUT_MS } from '../clickhouse-migrations.js';
import { deleteRows } from './clickhouse-deletion.js';
import { storeError } from './clickhouse-insert.js';

const CONNECTIONS = 2;

/**
 * The slots of the rollup and of what imports note begin at quarters of an hour, so the start of a day parts them as it parts the
 * events. Copies of the rollup's rows (`changed_rows`) are used no more once it has a mutation, and leave within minutes.
 */
const TABLES = { ...EXPIRING, session_slots: 'slot', import_rows: 'slot' } as const;
/** Not used on clusters. Sessions that are still wanted are made anew. */
const UNCLUSTERED = { finished_sessions: 'start' } as const;

export function createClickhouseRetention(options: ClickhouseOptions): RetentionStore {
  const clickhouse = openClickhouse({
    requestTimeoutMs: STATEMENT_TIMEOUT_MS,
    maxConnections: CONNECTIONS,
    ...options,
  });
  return {
    async deleteExpired(expiries, deadline) {
      try {
        return await deleteExpired(clickhouse, expiries, deadline);
      } catch (error) {
        throw storeError(error);
      }
    },
    close: () => clickhouse.close(),
  };
}

async function deleteExpired(
  clickhouse: Clickhouse,
  expiries: readonly Expiry[],
  deadline: number,
): Promise<Removed> {
  const rows = new Map<string, number>();
  const tables = Object.entries(clickhouse.cluster === undefined ? { ...TABLES, ...UNCLUSTERED } : TABLES);
  if (expiries.length === 0) return { rows, isComplete: true };
  for (const [table, column] of tables) {
    if (Date.now() >= deadline) return { rows, isComplete: false };
    const { condition, parameters } = expired(column, expiries);
    const count = await countRows(clickhouse, table, condition, parameters);
    if (count === 0) continue;
    const physical = clickhouse.cluster === undefined ? table : `${table}_local`;
    await deleteRows(clickhouse, [physical], condition, parameters);
    rows.set(table, count);
  }
  return { rows, isComplete: true };
}

/** One condition for all sites, so that a table is gone through once: a group for each age. */
function expired(column: string, expiries: readonly Expiry[]) {
  const groups = new Map<number, string[]>();
  for (const { siteId, before } of expiries) {
    const group = groups.get(before);
    if (group === undefined) groups.set(before, [siteId]);
    else group.push(siteId);
  }
  const parameters: Record<string, unknown> = {};
  const conditions = [...groups].map(([before, sites], i) => {
    parameters[`sites${i}`] = sites;
    parameters[`before${i}`] = Math.max(0, Math.floor(before / 1000));
    return `(site_id IN {sites${i}:Array(String)} AND ${column} < toDateTime({before${i}:UInt32}, 'UTC'))`;
  });
  return { condition: conditions.join(' OR '), parameters };
}

async function countRows(
  { client }: Clickhouse,
  table: string,
  condition: string,
  parameters: Record<string, unknown>,
): Promise<number> {
  const answer = await client.query({
    query: `SELECT toFloat64(count()) FROM \`${table}\` WHERE ${condition}`,
    query_params: parameters,
    format: 'JSONCompactEachRow',
    use_multipart_params: true,
    abort_signal: AbortSignal.timeout(STATEMENT_TIMEOUT_MS),
  });
  const [row] = await answer.json<[number]>();
  return row?.[0] ?? 0;
}
