import { Gathered } from '../../../../metrics/gathered.js';
import type { ClickhouseReader } from '../../clickhouse-reader.js';
import { type ChangedPart, type ChangedPeriod, SUMS } from '../clickhouse-changed-parts.js';
import { type ChangedRows, changesSql } from '../clickhouse-changes.js';
import { numbers } from '../result-rows.js';
import type { Counts } from './counts.js';

interface Asked {
  readonly rows: ChangedRows;
  readonly period: ChangedPeriod;
  readonly parts: readonly ChangedPart[];
}

/** What becomes known together is asked for at the same time. More in one pass would need too much memory. */
const TOGETHER = { gatherMs: 1, most: 16 };

/** Counts what some sessions count, of all questions that are asked at the same time in one query. */
export class ChangedSums {
  private readonly gathered: Gathered<Asked, Counts[][]>;

  constructor(private readonly reader: ClickhouseReader) {
    this.gathered = new Gathered(TOGETHER, (asked, signal) => this.count(asked, signal));
  }

  /**
   * @returns for each of the moments the counts of each of the parts, less what is the same at all moments
   * @throws what the reader throws, the signal's reason
   */
  ask(
    rows: ChangedRows,
    period: ChangedPeriod,
    parts: readonly ChangedPart[],
    signal: AbortSignal,
  ): Promise<Counts[][]> {
    return this.gathered.ask(JSON.stringify(rows), { rows, period, parts }, signal);
  }

  private async count(asked: readonly Asked[], signal: AbortSignal): Promise<Counts[][][]> {
    const rows = asked[0]?.rows;
    if (rows === undefined) return [];
    const all = asked.flatMap(({ period, parts }) => parts.map((part) => ({ period, part })));
    const tables = rows.moments.map(() => all.map(() => new Map<string, readonly number[]>()));
    for (const [index, label, ...moments] of await this.reader.rows(changesSql(rows, all), signal)) {
      const part = all[Number(index)]?.part;
      if (part === undefined) throw new TypeError('counts of nothing that was asked');
      tables.forEach((table, i) => {
        add(table[Number(index)], part, String(label), moments[i]);
      });
    }
    let first = 0;
    return asked.map(({ parts }) => {
      const from = first;
      first += parts.length;
      return tables.map((found) => found.slice(from, first));
    });
  }
}

/** @param counts distinct visitors, sums */
function add(
  table: Map<string, readonly number[]> | undefined,
  { on }: ChangedPart,
  label: string,
  counts: unknown,
): void {
  if (table === undefined || !Array.isArray(counts)) throw new TypeError('no counts');
  const [visitors = 0, first = 0, ...others] = numbers(counts, counts.length);
  if (on === 'returning') {
    // Those who were seen and had come earlier: both lists, less who is in either of them.
    table.set('', [(table.get('')?.[0] ?? 0) + (label === 'either' ? -visitors : visitors)]);
    return;
  }
  const isOfVisitors = on !== 'event days' && on !== 'event timeline';
  table.set(label, [first, ...(isOfVisitors ? [visitors] : []), ...others.slice(0, SUMS[on] - 1)]);
}
