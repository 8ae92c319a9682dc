/**
 * The tables that rows of the stream go to. Every row of every table begins with the same four columns (id, timestamp, received_at,
 * site_id), so that whoever recognises copies, books or fences needs to know no more. Rows are RowBinary as described in columns.ts.
 */
import { type Column, EVENT_COLUMNS } from './columns.js';

const HEADER = [
  { name: 'event_id', type: 'id' },
  { name: 'timestamp', type: 'ms' },
  { name: 'received_at', type: 'ms' },
  { name: 'site_id', type: 'string' },
] as const satisfies readonly Column[];

/** Points of heatmaps: one row for the equal points of a request. */
export const HEAT_POINT_COLUMNS = [
  ...HEADER,
  /** Normalised path. */
  { name: 'page', type: 'string' },
  { name: 'point_type', type: 'label' },
  { name: 'device', type: 'label' },
  /** Thousandths of the page's width and height, rounded; x may lie outside of 0 to 1000. */
  { name: 'x', type: 'i16' },
  { name: 'y', type: 'i16' },
  { name: 'selector', type: 'string' },
  /** How many points the row stands for. */
  { name: 'count', type: 'u32' },
] as const satisfies readonly Column[];

/** What the tracker says about a visitor's way through a funnel. */
export const FUNNEL_EVENT_COLUMNS = [
  ...HEADER,
  { name: 'funnel_id', type: 'string' },
  { name: 'visitor_id', type: 'string' },
  { name: 'session_id', type: 'string' },
  /** `start`, `progress`, `conversion` or `dropoff`. */
  { name: 'event_type', type: 'label' },
  { name: 'step_name', type: 'string' },
  { name: 'current_step', type: 'u16' },
  /** JSON array of step numbers. */
  { name: 'completed_steps', type: 'string' },
  /** When the visitor entered the funnel. */
  { name: 'started_at', type: 'ms' },
  /** 0 or 1. */
  { name: 'converted', type: 'u8' },
] as const satisfies readonly Column[];

export const ROW_TABLES = ['events', 'bot_events', 'heat_points', 'funnel_events'] as const;

/** Tables that take row bytes. */
export type RowTable = (typeof ROW_TABLES)[number];

/** The columns of each table, in the order of the row bytes. */
export const TABLE_COLUMNS = {
  events: EVENT_COLUMNS,
  bot_events: EVENT_COLUMNS,
  heat_points: HEAT_POINT_COLUMNS,
  funnel_events: FUNNEL_EVENT_COLUMNS,
} as const satisfies { readonly [T in RowTable]: readonly Column[] };

/**
 * Row flags. `bot`: an event of `bot_events`. `lookup`: its clock says nothing about when a copy could have come; always ask the store.
 * Bits 4 to 7 code the table.
 */
export const RowFlag = { bot: 1, lookup: 2 } as const;

/** What the rows of a table are, in bits 4 to 7 of the row flags. The place in this list is the code, so it only grows. */
const KINDS = ['events', 'heat_points', 'funnel_events'] as const;

/** Does the code of these flags stand for a table? `decodeMessage` takes no others. */
export function hasTable(flags: number): boolean {
  return flags >> 4 < KINDS.length;
}

/** The table that a row with these flags goes to. */
export function tableOf(flags: number): RowTable {
  const table = KINDS[flags >> 4] ?? 'events';
  return table === 'events' && (flags & RowFlag.bot) !== 0 ? 'bot_events' : table;
}

/** The row flags that lead to a table; `RowFlag.lookup` may be added to them. */
export function flagsOf(table: RowTable): number {
  return table === 'bot_events' ? RowFlag.bot : KINDS.indexOf(table) << 4;
}

const EVENT_TABLES = ['events', 'bot_events'] as const;

/** The tables in which a copy of a row of this table may stand: who was taken for a bot once need not be the next time. */
export function copyTables(table: RowTable): readonly RowTable[] {
  return table === 'events' || table === 'bot_events' ? EVENT_TABLES : [table];
}

/** The table of that name, as the stores give it back; undefined when there is none. */
export function tableNamed(name: string): RowTable | undefined {
  return ROW_TABLES.find((table) => table === name);
}
