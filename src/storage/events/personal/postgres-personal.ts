import { TABLE_COLUMNS } from '../../../events/tables.js';
import {
  PERSONAL_TABLES,
  type PersonalRow,
  type PersonalStore,
  type PersonalTable,
} from '../../../privacy/personal-store.js';
import { type Database, openPostgres, type PostgresOptions } from '../../postgres.js';
import { text } from '../../row.js';
import { storeError } from '../postgres-insert.js';
import { ANONYMOUS_ID, anonymousColumns, exported, lengthPrefixHex } from './columns.js';

const STATEMENT_TIMEOUT_MS = 600_000;
const ROWS_A_PAGE = 1_000;
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
      attempt(() =>
        db.transaction(async (tx) => {
          for (const table of await storeTables(db, 'visitor_id'))
            await tx.query(`DELETE FROM ${table} WHERE site_id = $1 AND visitor_id = $2`, [
              siteId,
              visitorId,
            ]);
          await tx.query(
            `DELETE FROM quarantine WHERE site_id = $1 AND position(decode($2, 'hex') || convert_to($3, 'UTF8') IN bytes) > 0`,
            [siteId, lengthPrefixHex(visitorId), visitorId],
          );
          await tx.query(UNREADABLE, [siteId, visitorId]);
        }),
      ),

    deleteSite: (siteId) =>
      attempt(() =>
        db.transaction(async (tx) => {
          for (const table of await storeTables(db, 'site_id'))
            await tx.query(`DELETE FROM ${table} WHERE site_id = $1`, [siteId]);
          await tx.query(UNREADABLE, [siteId, '']);
        }),
      ),

    anonymise: (siteId, { before, salt }) =>
      attempt(() =>
        db.transaction(async (tx) => {
          for (const table of PERSONAL_TABLES)
            await tx.query(anonymiseSql(table), [siteId, new Date(before), salt]);
          await tx.query(
            `UPDATE import_rows SET visitor_id = ${oneWay('visitor_id', '$2')} WHERE site_id = $1 AND visitor_id !~ '${ANONYMOUS_ID}'`,
            [siteId, salt],
          );
          // Rows as they came, which could be stored some day.
          await tx.query('DELETE FROM quarantine WHERE site_id = $1', [siteId]);
          await tx.query(UNREADABLE, [siteId, '']);
        }),
      ),

    // Vacuum reuses the space of removed rows in its own time.
    rewritten: async () => {},
    close: () => db.close(),
  };
}

/** Messages that could not be read are of no site; the site's id stands in them all the same. */
const UNREADABLE = `DELETE FROM quarantine WHERE site_id = '' AND position(convert_to($1, 'UTF8') IN bytes) > 0
  AND position(convert_to($2, 'UTF8') IN bytes) > 0`;

async function attempt<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storeError(error);
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
  return `UPDATE ${table} SET ${assignments.join(', ')}
    WHERE site_id = $1 AND timestamp < $2 AND visitor_id !~ '${ANONYMOUS_ID}'`;
}
