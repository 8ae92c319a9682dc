import type { ClickHouseSettings } from '@clickhouse/client';
import type { Clickhouse } from '../clickhouse.js';
import { rowsOf } from '../clickhouse-body.js';
import { STATEMENT_TIMEOUT_MS } from '../clickhouse-migrations.js';

export interface StatementOptions {
  /** Default: as long as a statement may take. */
  readonly signal?: AbortSignal;
  readonly settings?: ClickHouseSettings;
}

/** For rows that are made anew: the same ones may have been there before they were deleted, so they are no duplicates. */
export const MADE_ANEW: ClickHouseSettings = {
  wait_end_of_query: 1,
  max_partitions_per_insert_block: '0',
  insert_deduplicate: 0,
};

/** Values of 32 characters that one parameter may list: the server takes 128 KiB of it. */
const LISTED = 2_000;

/** A list in parts that fit into a parameter. */
export function* inParts<T>(list: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < list.length; at += LISTED) yield list.slice(at, at + LISTED);
}

/** All rows of an answer, each the list of its values. The upkeep of the store asks like this; figures have readers of their own. */
export async function ask<Row extends readonly unknown[] = readonly unknown[]>(
  { client }: Clickhouse,
  query: string,
  parameters: Record<string, unknown>,
  { signal = AbortSignal.timeout(STATEMENT_TIMEOUT_MS), settings = {} }: StatementOptions = {},
): Promise<Row[]> {
  const answer = await client.query({
    query,
    query_params: parameters,
    format: 'JSONCompactEachRow',
    use_multipart_params: true,
    abort_signal: signal,
    clickhouse_settings: settings,
  });
  return rowsOf<Row>(answer, signal);
}

/** Runs a statement that answers nothing. */
export async function change(
  { client }: Clickhouse,
  statement: string,
  parameters: Record<string, unknown>,
  { signal = AbortSignal.timeout(STATEMENT_TIMEOUT_MS), settings = {} }: StatementOptions = {},
): Promise<void> {
  await client.command({
    query: statement,
    query_params: parameters,
    use_multipart_params: true,
    abort_signal: signal,
    clickhouse_settings: { wait_end_of_query: 1, ...settings },
  });
}
