import type { HeatStore } from '../../../heatmaps/heat-store.js';
import { type Clickhouse, type ClickhouseOptions, openClickhouse } from '../../clickhouse.js';
import { STATEMENT_TIMEOUT_MS } from '../../clickhouse-migrations.js';
import { renderMigration } from '../../clickhouse-sql.js';
import { deleteRows } from '../clickhouse-deletion.js';
import { ClickhouseReader, type ClickhouseReaderOptions, readError } from '../clickhouse-reader.js';
import { numbers } from '../metrics/result-rows.js';
import {
  cellsSql,
  elementsSql,
  pagesSql,
  REVENANTS,
  trackedPagesSql,
  typeTotalsSql,
} from './clickhouse-heat-queries.js';
import { heatCell, heatElement, heatPages, heatTotals, oneText } from './heat-rows.js';

/** Heatmaps are asked for now and then. */
const CONNECTIONS = 4;
/** Paths of one statement, in UTF-16 units: also percent-encoded they stay below the 128 KiB that the server takes as one parameter. */
const PATHS_LENGTH = 12_000;
const INSERT_TIMEOUT_MS = 30_000;

/** Heatmaps from ClickHouse, always from raw points: they are sorted by page, type, device and time. */
export function createClickhouseHeat(
  options: ClickhouseOptions,
  limits: ClickhouseReaderOptions = {},
): HeatStore {
  const clickhouse = openClickhouse({
    requestTimeoutMs: STATEMENT_TIMEOUT_MS,
    maxConnections: CONNECTIONS,
    ...options,
  });
  const reader = new ClickhouseReader(clickhouse, limits);
  return {
    cells: async (scope, limit, signal) => (await reader.rows(cellsSql(scope, limit), signal)).map(heatCell),
    pages: async (siteId, range, limit, offset, signal) =>
      heatPages(await reader.rows(pagesSql(siteId, range, limit, offset), signal)),
    topElements: async (scope, limit, signal) =>
      (await reader.rows(elementsSql(scope, limit), signal)).map(heatElement),
    typeTotals: async (siteId, range, signal) =>
      heatTotals(await reader.rows(typeTotalsSql(siteId, range), signal)),
    trackedPages: async (siteId, limit, signal) =>
      (await reader.rows(trackedPagesSql(siteId, limit), signal)).map(oneText),
    async deletePages(siteId, pages, at) {
      await forget(clickhouse, siteId, pages, at);
      await remove(clickhouse, siteId, pages, at);
    },
    sweep: () => sweep(clickhouse, reader),
    close: () => reader.close(),
  };
}

/** From now on no query sees what was received until `at`. */
async function forget(
  { client }: Clickhouse,
  siteId: string,
  pages: readonly string[],
  at: number,
): Promise<void> {
  try {
    await client.insert({
      table: 'heat_deletions',
      columns: ['site_id', 'page', 'deleted_at'],
      // A number would be read as seconds.
      values: pages.map((page) => [siteId, page, (at / 1000).toFixed(3)]),
      format: 'JSONCompactEachRow',
      clickhouse_settings: { async_insert: 0, insert_deduplicate: 0 },
      abort_signal: AbortSignal.timeout(INSERT_TIMEOUT_MS),
    });
  } catch (error) {
    throw readError(error);
  }
}

async function remove(
  clickhouse: Clickhouse,
  siteId: string,
  pages: readonly string[],
  at: number,
): Promise<void> {
  const table = renderMigration('{{table:heat_points}}', clickhouse.cluster);
  const condition = `site_id = {site:String} AND page IN {pages:Array(String)}
    AND received_at <= fromUnixTimestamp64Milli({at:Int64}, 'UTC')`;
  try {
    for (const chunk of chunksOf(pages))
      await deleteRows(clickhouse, [table], condition, { site: siteId, pages: chunk, at });
  } catch (error) {
    throw readError(error);
  }
}

function* chunksOf(pages: readonly string[]): Generator<string[]> {
  let chunk: string[] = [];
  let length = 0;
  for (const page of pages) {
    if (length + page.length > PATHS_LENGTH && chunk.length > 0) {
      yield chunk;
      chunk = [];
      length = 0;
    }
    chunk.push(page);
    length += page.length;
  }
  if (chunk.length > 0) yield chunk;
}

async function sweep(clickhouse: Clickhouse, reader: ClickhouseReader): Promise<number> {
  const rows = await reader.rows(REVENANTS, AbortSignal.timeout(STATEMENT_TIMEOUT_MS));
  for (const [site, page, ...rest] of rows) {
    const [at] = numbers(rest, 1);
    await remove(clickhouse, oneText([site]), [oneText([page])], at);
  }
  return rows.length;
}
