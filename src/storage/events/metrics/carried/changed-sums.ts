import { Gathered } from '../../../../metrics/gathered.js';
import type { ClickhouseReader } from '../../clickhouse-reader.js';
import { type ChangedPart, type ChangedScope, changesSql } from '../clickhouse-changes.js';
import type { SomeSessions } from '../clickhouse-conditions.js';
import { textAndNumbers } from '../result-rows.js';
import type { Counts } from './counts.js';

/** Sessions, and rows of the rollup that had arrived before some moments (ms since epoch; undefined: all). */
export interface ChangedRows {
  readonly siteId: string;
  readonly sessions: SomeSessions;
  readonly moments: readonly (number | undefined)[];
}

interface Asked {
  readonly rows: ChangedRows;
  readonly scope: ChangedScope;
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
   * @returns for each of the moments the counts of each of the scope's parts
   * @throws what the reader throws, the signal's reason
   */
  ask(rows: ChangedRows, scope: ChangedScope, signal: AbortSignal): Promise<Counts[][]> {
    return this.gathered.ask(JSON.stringify(rows), { rows, scope }, signal);
  }

  private async count(asked: readonly Asked[], signal: AbortSignal): Promise<Counts[][][]> {
    const rows = asked[0]?.rows;
    if (rows === undefined) return [];
    const { siteId, sessions, moments } = rows;
    const scopes = joined(asked.map(({ scope }) => scope));
    const parts = scopes.flatMap((scope) => scope.parts);
    const tables = moments.map(() => parts.map(() => new Map<string, readonly number[]>()));
    for (const row of await this.reader.rows(changesSql(siteId, sessions, moments, scopes), signal)) {
      const [moment, number, ...rest] = row;
      const part = parts[Number(number)];
      const table = tables[Number(moment) - 1]?.[Number(number)];
      if (part === undefined || table === undefined) throw new TypeError('counts of nothing that was asked');
      add(table, part, rest);
    }
    return asked.map(({ scope }) =>
      tables.map((found) => scope.parts.map((part) => found[parts.indexOf(part)] ?? new Map())),
    );
  }
}

/** Scopes that are equal but for their parts are one. */
function joined(scopes: readonly ChangedScope[]): ChangedScope[] {
  const byKey = new Map<string, { scope: ChangedScope; parts: ChangedPart[] }>();
  for (const scope of scopes) {
    const key = JSON.stringify([scope.scope, scope.ends]);
    const known = byKey.get(key);
    if (known) known.parts.push(...scope.parts);
    else byKey.set(key, { scope, parts: [...scope.parts] });
  }
  return [...byKey.values()].map(({ scope, parts }) => ({ ...scope, parts }));
}

/** @param row label, distinct visitors, sums */
function add(table: Map<string, readonly number[]>, part: ChangedPart, row: readonly unknown[]): void {
  const [label, distinct, list] = row;
  if (!Array.isArray(list)) throw new TypeError('no list of sums');
  const {
    text,
    counts: [visitors = 0, first = 0, ...others],
  } = textAndNumbers([label, distinct, ...list], list.length + 1);
  switch (part.on) {
    case 'breakdown':
    case 'places':
      // The sums are those of totals, which are more.
      table.set(text, [first, visitors, ...others.slice(0, 2)]);
      return;
    case 'totals':
    case 'timeline':
    case 'pages':
      table.set(text, [first, visitors, ...others]);
      return;
    case 'event types':
      table.set(text, [first, visitors]);
      return;
    case 'event days':
    case 'event timeline':
      table.set(text, [first]);
      return;
    case 'returning':
      // Those who were seen and had come earlier: both lists, less who is in either of them.
      table.set('', [(table.get('')?.[0] ?? 0) + (text === 'either' ? -visitors : visitors)]);
  }
}
