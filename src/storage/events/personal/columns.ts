/** What both adapters export of a row and what anonymising leaves of it, by the tables' own columns. */
import { TABLE_COLUMNS } from '../../../events/tables.js';
import type { PersonalRow, PersonalTable } from '../../../privacy/personal-store.js';
import { isRecord } from '../../row.js';

/** One-way ids look like this; nothing that looks so is made anonymous again. */
export const ANONYMOUS_ID = '^anon_[0-9a-f]{16}$';

/** Ids that become one-way values, as the visitor's does. */
const IDS: readonly string[] = ['session_id', 'page_view_id'];
/** What is emptied: versions of user agents, click ids, addresses, where the address said somebody was, window sizes, properties. */
const EMPTIED: Readonly<Record<string, string>> = {
  browser_version: "''",
  os_version: "''",
  click_id_name: "''",
  click_id: "''",
  region: "''",
  city: "''",
  utm_term: "''",
  utm_content: "''",
  viewport_width: '0',
  viewport_height: '0',
  properties: "'{}'",
  ip_address: "''",
};

/** How a store writes what anonymising does to texts. */
export interface AnonymousSql {
  /** Of an empty text too. */
  readonly oneWay: (column: string) => string;
  readonly withoutQuery: (column: string) => string;
}

/**
 * For each column that changes, what it becomes. What is empty stays so, but for the visitor: by this id a row is known to be anonymous,
 * and all rows without one are of one visitor as before.
 */
export function anonymousColumns(table: PersonalTable, sql: AnonymousSql): ReadonlyMap<string, string> {
  const changed = new Map<string, string>();
  for (const { name } of TABLE_COLUMNS[table]) {
    const emptied = EMPTIED[name];
    if (name === 'visitor_id') changed.set(name, sql.oneWay(name));
    else if (IDS.includes(name))
      changed.set(name, `CASE WHEN ${name} = '' THEN '' ELSE ${sql.oneWay(name)} END`);
    else if (name === 'referrer') changed.set(name, sql.withoutQuery(name));
    else if (emptied !== undefined) changed.set(name, emptied);
  }
  return changed;
}

/** Properties are stored as text; an export shows the object. */
export function exported(row: PersonalRow): PersonalRow {
  if (typeof row.properties !== 'string') return row;
  return { ...row, properties: parsed(row.properties) };
}

function parsed(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : text;
  } catch {
    return text;
  }
}

/** The bytes with which a text stands in a row of RowBinary: its length as LEB128, as hex, for what then follows. */
export function lengthPrefixHex(text: string): string {
  const bytes: number[] = [];
  let rest = Buffer.byteLength(text);
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]).toString('hex');
}
