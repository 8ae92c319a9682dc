import { EVENT_COLUMNS } from '../../../events/columns.js';
import type { Place, RawEvent, RawEventQuery, RawEventStore } from '../../../transfer/raw-event.js';
import { PostgresReader, type PostgresReaderOptions } from '../postgres-reader.js';
import { PAGE_ROWS, rawEventOf, tablesOf } from './raw-rows.js';

const COLUMNS = EVENT_COLUMNS.map(({ name, type }) => {
  if (type === 'id') return `encode(uuid_send("${name}"), 'hex')`;
  // Exact: a timestamp is kept in microseconds.
  return type === 'ms' ? `(extract(epoch FROM "${name}") * 1000)::bigint` : `"${name}"`;
}).join(', ');

const TIME_OF = (parameter: string): string =>
  `timestamptz 'epoch' + ${parameter}::bigint * interval '1 millisecond'`;

const FIRST: Place = { timestamp: -1, id: '0'.repeat(32) };

/** Raw events in Postgres. */
export function createPostgresRaw(options: PostgresReaderOptions): RawEventStore {
  const reader = new PostgresReader('raw', options);
  return {
    read: (query, signal) => read(reader, query, signal),
    close: () => reader.close(),
  };
}

async function* read(
  reader: PostgresReader,
  query: RawEventQuery,
  signal: AbortSignal,
): AsyncGenerator<readonly RawEvent[], void, void> {
  let place = query.after ?? FIRST;
  for (;;) {
    const events = await page(reader, query, place, signal);
    const last = events.at(-1);
    if (last === undefined) return;
    place = { timestamp: last.timestamp, id: last.event_id };
    yield events;
    if (events.length < PAGE_ROWS) return;
  }
}

/** The order of ids as texts is that of their bytes, which is how Postgres compares them. */
async function page(
  reader: PostgresReader,
  { siteId, from, to, bots }: RawEventQuery,
  { timestamp, id }: Place,
  signal: AbortSignal,
): Promise<RawEvent[]> {
  const selects = tablesOf(bots).map(
    ({ table, bot }) =>
      `(SELECT ${COLUMNS}, ${bot} AS bot, "timestamp" AS by_time, event_id AS by_id FROM ${table}
        WHERE site_id = $1 AND "timestamp" >= ${TIME_OF('$2')} AND "timestamp" < ${TIME_OF('$3')}
          AND ("timestamp", event_id) > (${TIME_OF('$4')}, $5::uuid)
        ORDER BY "timestamp", event_id LIMIT ${PAGE_ROWS})`,
  );
  const rows = await reader.rows(
    {
      text: `SELECT * FROM (${selects.join(' UNION ALL ')}) AS page ORDER BY by_time, by_id LIMIT ${PAGE_ROWS}`,
      values: [siteId, Math.max(from, timestamp), to, timestamp, id],
    },
    signal,
  );
  return rows.map(rawEventOf);
}
