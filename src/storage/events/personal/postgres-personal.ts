import { TABLE_COLUMNS } from '../../../events/tables.js';
import {
  PERSONAL_TABLES,
  type PersonalRow,
  type PersonalStore,
  type PersonalTable,
} from '../../../privacy/personal-store.js';
import { type Database, openPostgres, type PostgresOptions } from '../../postgres.js';
import { number, text } from '../../row.js';
import { attempt } from '../postgres-insert.js';
import { ANONYMOUS_ID, anonymousColumns, exported, lengthPrefixHex } from './columns.js';

const STATEMENT_TIMEOUT_MS = 600_000;
const ROWS_A_PAGE = 1_000;
/** Rows a statement that removes or changes: short transactions, so that nothing waits for them and vacuum keeps up. */
const ROWS_A_PIECE = 5_000;
const FIRST_ID = '00000000-0000-0000-0000-000000000000';

/** Single visitors in Postgres: the same as in ClickHouse. */
export function createPostgresPersonal(options: Omit<PostgresOptions, 'name'>): PersonalStore {
  const db = openPostgres({
    ...options,
    name: 'personal',
    minConnections: 0,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
  });
  return {
    rows: (table, siteId, visitorId, signal) => rows(db, table, siteId, visitorId, signal),

    sessionsOf: (siteId, visitorId) =>
      attempt(async () => {
        const ofTable = (table: string) =>
          `SELECT session_id FROM ${table} WHERE site_id = $1 AND visitor_id = $2 AND session_id <> ''`;
        const found = await db.query(PERSONAL_TABLES.map(ofTable).join(' UNION '), [siteId, visitorId]);
        return found.map((row) => text(row, 'session_id'));
      }),

    deleteVisitor: (siteId, visitorId) =>
      attempt(async () => {
        for (const table of await storeTables(db, 'visitor_id'))
          await deletePieces(db, table, 'site_id = $1 AND visitor_id = $2', [siteId, visitorId]);
        const quarantined = `site_id = $1 AND position(decode($2, 'hex') || convert_to($3, 'UTF8') IN bytes) > 0`;
        await deletePieces(db, 'quarantine', quarantined, [siteId, lengthPrefixHex(visitorId), visitorId]);
        await deletePieces(db, 'quarantine', UNREADABLE, [siteId, visitorId]);
      }),

    deleteSite: (siteId) =>
      attempt(async () => {
        for (const table of await storeTables(db, 'site_id'))
          await deletePieces(db, table, 'site_id = $1', [siteId]);
        await deletePieces(db, 'quarantine', UNREADABLE, [siteId, '']);
      }),

    anonymise: (siteId, { before, salt }) =>
      attempt(async () => {
        for (const table of PERSONAL_TABLES)
          await inPieces(db, anonymiseSql(table), [siteId, new Date(before), salt]);
        await anonymiseNotes(db, siteId, salt);
        // Rows as they came, which could be stored some day.
        await deletePieces(db, 'quarantine', 'site_id = $1', [siteId]);
        await deletePieces(db, 'quarantine', UNREADABLE, [siteId, '']);
      }),

    // Vacuum reuses the space of removed rows in its own time.
    rewritten: async () => {},
    close: () => db.close(),
  };
}

/** Messages that could not be read are of no site; the site's id stands in them all the same. */
const UNREADABLE = `site_id = '' AND position(convert_to($1, 'UTF8') IN bytes) > 0
  AND position(convert_to($2, 'UTF8') IN bytes) > 0`;

/** Each piece is a transaction of its own: work that is interrupted goes on where it was. */
async function deletePieces(
  db: Database,
  table: string,
  condition: string,
  values: readonly unknown[],
): Promise<void> {
  const statement = `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM ${table} WHERE ${condition} LIMIT ${ROWS_A_PIECE}))
    AND ${condition} RETURNING 1`;
  // Whoever else removes some of a piece leaves more behind it.
  while ((await db.query(statement, values)).length > 0);
}

/** Runs a statement that takes the rows after an event id, its last parameter, and answers the `last` of them, until it answers none. */
async function inPieces(db: Database, statement: string, values: readonly unknown[]): Promise<void> {
  for (let after: string | null = FIRST_ID; after !== null; ) {
    const [row] = await db.query(statement, [...values, after]);
    after = row === undefined ? null : text(row, 'last');
  }
}

async function* rows(
  db: Database,
  table: PersonalTable,
  siteId: string,
  visitorId: string | null,
  signal: AbortSignal,
): AsyncIterable<PersonalRow[]> {
  const columns = TABLE_COLUMNS[table].map(({ name, type }) => {
    if (type === 'id') return `encode(uuid_send(${name}), 'hex') AS ${name}`;
    return type === 'u32' ? `${name}::float8` : `"${name}"`;
  });
  for (let after = FIRST_ID; ; ) {
    signal.throwIfAborted();
    const page = await attempt(() =>
      db.query(
        `SELECT event_id::text AS row_id, ${columns.join(', ')} FROM ${table}
         WHERE site_id = $1 AND event_id > $2 AND ($3::text IS NULL OR visitor_id = $3) ORDER BY ${table}.event_id LIMIT $4`,
        [siteId, after, visitorId, ROWS_A_PAGE],
      ),
    );
    const last = page.at(-1);
    if (last === undefined) return;
    yield page.map(({ row_id: _, ...row }) => exported(row));
    if (page.length < ROWS_A_PAGE) return;
    after = text(last, 'row_id');
  }
}

/** Tables that the schema marks as part of the event store and that have the column. */
async function storeTables(db: Database, column: string): Promise<string[]> {
  const tables = await db.query(
    `SELECT quote_ident(relname) AS name FROM pg_class c
     WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
       AND obj_description(c.oid, 'pg_class') LIKE 'event store%'
       AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = $1 AND NOT a.attisdropped)
     ORDER BY relname`,
    [column],
  );
  return tables.map((table) => text(table, 'name'));
}

const oneWay = (column: string, salt: string): string =>
  `'anon_' || left(encode(sha256(convert_to(${salt} || ${column}, 'UTF8')), 'hex'), 16)`;

function anonymiseSql(table: PersonalTable): string {
  const changed = anonymousColumns(table, {
    oneWay: (column) => oneWay(column, '$3'),
    withoutQuery: (column) => `split_part(split_part(${column}, '#', 1), '?', 1)`,
  });
  const assignments = [...changed].map(([column, value]) => `${column} = ${value}`);
  const condition = `timestamp < $2 AND visitor_id !~ '${ANONYMOUS_ID}'`;
  return `WITH piece AS (
      SELECT event_id FROM ${table} WHERE site_id = $1 AND event_id > $4::uuid AND ${condition}
      ORDER BY event_id LIMIT ${ROWS_A_PIECE}),
    changed AS (
      UPDATE ${table} SET ${assignments.join(', ')}
      WHERE site_id = $1 AND event_id IN (SELECT event_id FROM piece) AND ${condition})
    SELECT event_id::text AS last FROM piece ORDER BY piece.event_id DESC LIMIT 1`;
}

/** What imports noted of visitors, chunk by chunk. */
async function anonymiseNotes(db: Database, siteId: string, salt: string): Promise<void> {
  const chunks = await db.query('SELECT DISTINCT import_id, chunk FROM import_rows WHERE site_id = $1', [
    siteId,
  ]);
  for (const chunk of chunks)
    await db.query(
      `UPDATE import_rows SET visitor_id = ${oneWay('visitor_id', '$2')}
       WHERE site_id = $1 AND import_id = $3 AND chunk = $4 AND visitor_id !~ '${ANONYMOUS_ID}'`,
      [siteId, salt, text(chunk, 'import_id'), number(chunk, 'chunk')],
    );
}
