/** What both event stores do about single visitors and sites, past the program. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PersonalStore } from '../../src/privacy/personal-store.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createClickhousePersonal } from '../../src/storage/events/personal/clickhouse-personal.js';
import { createPostgresPersonal } from '../../src/storage/events/personal/postgres-personal.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { openPostgres } from '../../src/storage/postgres.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { SITE } from './event-rows.js';

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
