import type { RecordingPart } from '../../../replays/recording-row.js';
import type { PlacedPart } from '../../../replays/replay-store.js';
import type { Queryable } from '../../postgres.js';
import { storable } from '../postgres-insert.js';
import { instant } from './postgres-replay-queries.js';

/** Rows of one statement: few enough that preparing its parameters does not hold up the event loop. */
const ROWS_A_STATEMENT = 500;

/** Columns, what they are in the parameters, how they become the column's type, and where the value comes from. */
const COLUMNS: readonly (readonly [string, string, (placed: PlacedPart) => unknown])[] = [
  ['event_id', 'uuid', ({ part }) => part.eventId],
  ['timestamp', 'ms', ({ part }) => part.timestamp],
  ['received_at', 'ms', ({ part }) => part.receivedAt],
  ['site_id', 'text', ({ part }) => part.siteId],
  ['session_key', 'uuid', ({ part }) => part.sessionKey],
  ['session_id', 'text', ({ part }) => storable(part.sessionId)],
  ['chunk_id', 'uuid', ({ part }) => part.chunkId],
  ['sequence', 'bigint', ({ part }) => part.sequence],
  ['part', 'integer', ({ part }) => part.part],
  ['parts', 'integer', ({ part }) => part.parts],
  ['page', 'text', ({ part }) => storable(part.page)],
  ['first_ms', 'bigint', ({ part }) => part.firstMs],
  ['last_ms', 'bigint', ({ part }) => part.lastMs],
  ['event_count', 'bigint', ({ part }) => part.eventCount],
  ['raw_bytes', 'bigint', ({ part }) => part.rawBytes],
  ['browser', 'text', ({ part }) => storable(part.browser)],
  ['os', 'text', ({ part }) => storable(part.os)],
  ['device', 'text', ({ part }) => storable(part.device)],
  ['country_code', 'text', ({ part }) => part.countryCode],
  ['has_full_snapshot', 'boolean', ({ part }) => part.hasFullSnapshot],
  ['clicks', 'bigint', ({ part }: { part: RecordingPart }) => part.clicks],
  ['rage_clicks', 'bigint', ({ part }) => part.rageClicks],
  ['errors', 'bigint', ({ part }) => part.errors],
  ['object_key', 'text', ({ objectKey }) => objectKey],
  ['object_offset', 'bigint', ({ offset }) => offset],
  ['object_length', 'bigint', ({ part }) => part.data.length],
];

const NAMES = COLUMNS.map(([name]) => `"${name}"`).join(', ');
const VALUES = COLUMNS.map(([name, type]) => (type === 'ms' ? instant(`"${name}"`) : `"${name}"`)).join(', ');
const PARAMETERS = COLUMNS.map(
  ([, type], index) => `$${index + 1}::${type === 'ms' ? 'bigint' : type}[]`,
).join(', ');

const INSERT = `INSERT INTO replay_chunks (${NAMES}) SELECT ${VALUES} FROM unnest(${PARAMETERS}) AS rows (${NAMES})
  ON CONFLICT (site_id, event_id) DO NOTHING`;

/** Inserts within the caller's transaction; parts that are stored already stay where they are. */
export async function insertParts(tx: Queryable, parts: readonly PlacedPart[]): Promise<void> {
  for (let start = 0; start < parts.length; start += ROWS_A_STATEMENT) {
    const some = parts.slice(start, start + ROWS_A_STATEMENT);
    await tx.query(
      INSERT,
      COLUMNS.map(([, , read]) => some.map(read)),
    );
  }
}
