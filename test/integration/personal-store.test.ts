/** What both event stores do about single visitors and sites, past the program. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PersonalStore } from '../../src/privacy/personal-store.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createClickhousePersonal } from '../../src/storage/events/personal/clickhouse-personal.js';
import { createPostgresPersonal } from '../../src/storage/events/personal/postgres-personal.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { type Database, openPostgres } from '../../src/storage/postgres.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';
import { encodeRow, makeRow, SITE } from './event-rows.js';

const OTHER = 'b'.repeat(24);

interface Opened {
  readonly store: EventStore;
  readonly personal: PersonalStore;
  /** Ids of what is quarantined. */
  quarantined(): Promise<unknown[]>;
  close(): Promise<void>;
}

async function onPostgres(): Promise<Opened> {
  const telemetry = silentTelemetry();
  const { url, drop } = await freshPostgres();
  const connection = { url, maxConnections: 2, minConnections: 0, telemetry };
  const store = createPostgresEventStore({ ...connection, telemetry: silentTelemetry() });
  const personal = createPostgresPersonal(connection);
  const sql = openPostgres({ ...connection, name: 'test' });
  return {
    ...{ store, personal },
    quarantined: async () => (await sql.query('SELECT id FROM quarantine ORDER BY id')).map(({ id }) => id),
    async close() {
      await Promise.all([store.close(), personal.close(), sql.close()]);
      await drop();
    },
  };
}

async function onClickhouse(): Promise<Opened> {
  const { url, database, drop } = await freshClickhouse();
  const store = createClickhouseEventStore({ clickhouse: { url, database }, telemetry: silentTelemetry() });
  const personal = createClickhousePersonal({ url, database });
  return {
    ...{ store, personal },
    async quarantined() {
      const body = 'SELECT id FROM quarantine ORDER BY id FORMAT JSONCompact';
      const answer: { data: unknown[][] } = JSON.parse(
        await (await fetch(`${url}/?database=${database}`, { method: 'POST', body })).text(),
      );
      return answer.data.flat();
    },
    async close() {
      await Promise.all([store.close(), personal.close()]);
      await drop();
    },
  };
}

describe.each([
  ['clickhouse', onClickhouse],
  ['postgres', onPostgres],
] as const)('single visitors on %s', (_, open) => {
  let opened: Opened;
  beforeAll(async () => {
    opened = await open();
    await opened.store.migrate();
  });
  afterAll(() => opened?.close());

  it('P9: keeps no row as it came of a site that is made anonymous', async () => {
    const entry = (digit: string, siteId: string, text: string) => ({
      ...{
        id: digit.repeat(32),
        siteId,
        source: 'event' as const,
        table: 'events' as const,
        reason: 'refused',
      },
      quarantinedAt: Date.now(),
      bytes: Buffer.from(text),
    });
    const ids = (digits: string) => [...digits].map((digit) => digit.repeat(32));
    await opened.store.quarantine(
      [
        entry('1', SITE, 'ada at 203.0.113.7'),
        entry('2', OTHER, 'bob'),
        entry('3', '', `torn ${SITE} ada`),
        entry('4', '', 'torn'),
      ],
      'token',
    );
    expect(await opened.quarantined()).toEqual(ids('1234'));
    await opened.personal.anonymise(SITE, { before: Date.now(), salt: 'aa'.repeat(16) });
    expect(await opened.quarantined()).toEqual(ids('24'));
  });
});

describe('a big site on postgres', () => {
  const ROWS = 5_500;
  let url: string;
  let close: () => Promise<void>;
  let personal: PersonalStore;
  let sql: Database;

  beforeAll(async () => {
    const fresh = await freshPostgres();
    url = fresh.url;
    const connection = { url, maxConnections: 2, minConnections: 0 };
    const store = createPostgresEventStore({ ...connection, telemetry: silentTelemetry() });
    await store.migrate();
    const rows = Array.from({ length: ROWS }, (_, number) =>
      encodeRow(
        makeRow({
          event_id: (number + 1).toString(16).padStart(32, '0'),
          visitor_id: number === 3 ? '' : `v${number}`,
        }),
      ),
    );
    await store.insertRows('events', rows, 'token', Date.now() + 60_000);
    personal = createPostgresPersonal({ ...connection, telemetry: silentTelemetry() });
    sql = openPostgres({ ...connection, name: 'test', telemetry: silentTelemetry() });
    close = async () => {
      await Promise.all([store.close(), personal.close(), sql.close()]);
      await fresh.drop();
    };
  });
  afterAll(() => close?.());

  it('is made anonymous piece by piece', async () => {
    await personal.anonymise(SITE, { before: Date.now() + 1e9, salt: 'aa'.repeat(16) });
    const [found] = await sql.query(
      `SELECT count(*)::int AS rows, count(*) FILTER (WHERE visitor_id LIKE 'anon%')::int AS anonymous,
         count(DISTINCT xmin::text) > 1 AS pieces FROM events WHERE site_id = $1`,
      [SITE],
    );
    expect(found).toEqual({ rows: ROWS, anonymous: ROWS, pieces: true });
  });

  it('is removed piece by piece', async () => {
    await sql.query(
      `INSERT INTO quarantine (id, site_id, source, row_table, quarantined_at, reason, bytes)
       VALUES ('q', $1, 'event', 'events', now(), '', '')`,
      [SITE],
    );
    let removal: Promise<void> = Promise.resolve();
    await sql.transaction(async (tx) => {
      await tx.query('SELECT 1 FROM quarantine FOR UPDATE');
      removal = personal.deleteSite(SITE);
      // The rest waits for the row that is held here.
      await until(async () => (await sql.query('SELECT 1 FROM events LIMIT 1')).length === 0, {
        what: 'events to be removed',
      });
    });
    await removal;
    expect(await sql.query('SELECT 1 FROM quarantine')).toEqual([]);
  });
});
