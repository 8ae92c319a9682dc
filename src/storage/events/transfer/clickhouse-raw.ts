import { EVENT_COLUMNS } from '../../../events/columns.js';
import type { Place, RawEvent, RawEventQuery, RawEventStore } from '../../../transfer/raw-event.js';
import { type ClickhouseOptions, openClickhouse } from '../../clickhouse.js';
import { ClickhouseReader, type ClickhouseReaderOptions } from '../clickhouse-reader.js';
import { numbers } from '../metrics/result-rows.js';
import { PAGE_ROWS, rawEventOf, tablesOf } from './raw-rows.js';

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

const COLUMNS = EVENT_COLUMNS.map(({ name, type }) => {
  if (type === 'id') return `lower(hex(${name}))`;
  return type === 'ms' ? `toUnixTimestamp64Milli(${name})` : name;
}).join(', ');

const TIME = `toDate(timestamp) BETWEEN toDate(fromUnixTimestamp64Milli({from:Int64}, 'UTC')) AND toDate(fromUnixTimestamp64Milli({to:Int64}, 'UTC'))
  AND timestamp >= fromUnixTimestamp64Milli({from:Int64}, 'UTC') AND timestamp < fromUnixTimestamp64Milli({to:Int64}, 'UTC')`;

interface Stretch {
  readonly from: number;
  readonly to: number;
}

/** Raw events in ClickHouse. */
export function createClickhouseRaw(
  options: ClickhouseOptions,
  limits: ClickhouseReaderOptions = {},
): RawEventStore {
  const reader = new ClickhouseReader(openClickhouse(options), limits);
  return {
    read: (query, signal) => read(reader, query, signal),
    close: () => reader.close(),
  };
}

/**
 * The table lies in the order of days and visitors, so every page has to look through its stretch of time. Stretches of about a page keep
 * that from being a whole day for each page of a busy site.
 */
async function* read(
  reader: ClickhouseReader,
  query: RawEventQuery,
  signal: AbortSignal,
): AsyncGenerator<readonly RawEvent[], void, void> {
  let place = query.after;
  const whole = { from: Math.max(query.from, place?.timestamp ?? query.from), to: query.to };
  for await (const stretch of stretches(reader, query, whole, DAY_MS, signal)) {
    for (let isFull = true; isFull; ) {
      const events = await page(reader, query, stretch, place, signal);
      isFull = events.length === PAGE_ROWS;
      const last = events.at(-1);
      if (last === undefined) break;
      place = { timestamp: last.timestamp, id: last.event_id };
      yield events;
    }
  }
}

/** Neighbouring days that hold a page together; days that hold more are parted into minutes in the same way. */
async function* stretches(
  reader: ClickhouseReader,
  query: RawEventQuery,
  within: Stretch,
  stepMs: number,
  signal: AbortSignal,
): AsyncGenerator<Stretch, void, void> {
  let open: Stretch | undefined;
  let rows = 0;
  for (const [start, count] of await counts(reader, query, within, stepMs, signal)) {
    const own = { from: Math.max(start, within.from), to: Math.min(start + stepMs, within.to) };
    if (open !== undefined && rows + count > PAGE_ROWS) {
      yield open;
      open = undefined;
    }
    if (count > PAGE_ROWS && stepMs > MINUTE_MS) {
      yield* stretches(reader, query, own, MINUTE_MS, signal);
      continue;
    }
    rows = open === undefined ? count : rows + count;
    open = { from: open?.from ?? own.from, to: own.to };
  }
  if (open !== undefined) yield open;
}

/** Start of each step that has events, ms since epoch, and how many. */
async function counts(
  reader: ClickhouseReader,
  { siteId, bots }: RawEventQuery,
  { from, to }: Stretch,
  stepMs: number,
  signal: AbortSignal,
): Promise<[number, number][]> {
  const selects = tablesOf(bots).map(
    ({ table }) => `SELECT timestamp FROM ${table} WHERE site_id = {site:String} AND ${TIME}`,
  );
  const rows = await reader.rows(
    {
      text: `SELECT intDiv(toUnixTimestamp64Milli(timestamp), {step:Int64}) * {step:Int64} AS start, count()
             FROM (${selects.join(' UNION ALL ')}) GROUP BY start ORDER BY start`,
      params: { site: siteId, from, to, step: stepMs },
    },
    signal,
  );
  return rows.map((row) => numbers(row, 2));
}

async function page(
  reader: ClickhouseReader,
  { siteId, bots }: RawEventQuery,
  { from, to }: Stretch,
  after: Place | null,
  signal: AbortSignal,
): Promise<RawEvent[]> {
  const beyond =
    after === null
      ? ''
      : `AND (timestamp > fromUnixTimestamp64Milli({at:Int64}, 'UTC') OR
          timestamp = fromUnixTimestamp64Milli({at:Int64}, 'UTC') AND event_id > toFixedString(unhex({id:String}), 16))`;
  const selects = tablesOf(bots).map(
    ({ table, bot }) =>
      `SELECT ${COLUMNS}, ${bot} AS bot, timestamp AS by_time, event_id AS by_id FROM ${table}
       WHERE site_id = {site:String} AND ${TIME} ${beyond} ORDER BY timestamp, event_id LIMIT ${PAGE_ROWS}`,
  );
  const rows = await reader.rows(
    {
      text: `SELECT * EXCEPT (by_time, by_id) FROM (${selects.join(' UNION ALL ')}) ORDER BY by_time, by_id LIMIT ${PAGE_ROWS}`,
      params: { site: siteId, from, to, ...(after === null ? {} : { at: after.timestamp, id: after.id }) },
    },
    signal,
  );
  return rows.map(rawEventOf);
}
