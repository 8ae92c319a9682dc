import { timestampOf } from '../../events/row-head.js';
import { copyTables, type RowTable } from '../../events/tables.js';
import type { IdCandidates } from '../../storage/events/event-store.js';
import type { BlockRow } from './block-row.js';

interface Group {
  readonly siteId: string;
  readonly table: RowTable;
  readonly ids: Uint8Array[];
  from: number;
  to: number;
}

/** A sender that gives its own ids may stamp a retry anew. */
const SLACK_MS = 3_600_000;

/** The question to the store about these rows: by site and table, those whose copies must bear the same timestamp within their range of time. */
export function candidatesOf(rows: readonly BlockRow[]): IdCandidates[] {
  const timed = new Map<string, Group>();
  const timeless = new Map<string, Group>();
  for (const row of rows) {
    const { bytes, isTimeless } = row;
    const { siteId } = row.tally;
    const [table = row.table] = copyTables(row.table);
    const groups = isTimeless ? timeless : timed;
    const key = `${table} ${siteId}`;
    let group = groups.get(key);
    if (group === undefined) {
      group = { siteId, table, ids: [], from: Number.POSITIVE_INFINITY, to: Number.NEGATIVE_INFINITY };
      groups.set(key, group);
    }
    const timestamp = timestampOf(bytes);
    group.ids.push(bytes.subarray(0, 16));
    group.from = Math.min(group.from, timestamp - SLACK_MS);
    group.to = Math.max(group.to, timestamp + SLACK_MS);
  }
  return [
    ...timed.values(),
    ...Array.from(timeless.values(), ({ siteId, table, ids }) => ({ siteId, table, ids })),
  ];
}
