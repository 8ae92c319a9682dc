/** Rows of raw events as both stores answer them. */
import { EVENT_COLUMNS } from '../../../events/columns.js';
import type { EventRow } from '../../../events/row-decoder.js';
import type { RawEvent, RawEventQuery } from '../../../transfer/raw-event.js';

/** Events of one query. */
export const PAGE_ROWS = 4_000;

/** The tables of a query, and whether they hold bots. */
export function tablesOf(bots: RawEventQuery['bots']): { readonly table: string; readonly bot: 0 | 1 }[] {
  const events = { table: 'events', bot: 0 } as const;
  const botEvents = { table: 'bot_events', bot: 1 } as const;
  if (bots === 'exclude') return [events];
  return bots === 'only' ? [botEvents] : [events, botEvents];
}

/** Readers of a row's values, by the place of the column. */
const READERS: readonly ((row: readonly unknown[]) => string | number)[] = EVENT_COLUMNS.map(
  ({ name, type }, index) =>
    type === 'id' || type === 'string' || type === 'label'
      ? (row) => textAt(row, index, name)
      : (row) => numberAt(row, index, name),
);

/** @param row values of EVENT_COLUMNS (ids as hex, times in ms), then whether it is a bot's (0 or 1) */
export function rawEventOf(row: readonly unknown[]): RawEvent {
  const values: Record<string, string | number> = {};
  for (const [index, { name }] of EVENT_COLUMNS.entries()) {
    const value = READERS[index]?.(row);
    if (value !== undefined) values[name] = value;
  }
  if (!isEventRow(values)) throw new TypeError('a row of events has not all columns');
  return { ...values, bot: numberAt(row, EVENT_COLUMNS.length, 'bot') === 1 };
}

/** Its values were read column by column. */
function isEventRow(values: object): values is EventRow {
  return Object.keys(values).length === EVENT_COLUMNS.length;
}

function textAt(row: readonly unknown[], index: number, name: string): string {
  const value = row[index];
  if (typeof value === 'string') return value;
  throw new TypeError(`column ${name}: expected text, got ${typeof value}`);
}

function numberAt(row: readonly unknown[], index: number, name: string): number {
  const value = Number(row[index]);
  if (row[index] !== null && Number.isSafeInteger(value)) return value;
  throw new TypeError(`column ${name}: expected a whole number`);
}
