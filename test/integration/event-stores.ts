import { Client } from 'pg';
import { type RowTable, TABLE_COLUMNS } from '../../src/events/tables.js';
import type { ClickhouseOptions } from '../../src/storage/clickhouse.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import {
  createPostgresEventStore,
  type PostgresEventStoreOptions,
} from '../../src/storage/events/postgres-event-store.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { type LosingProxy, losingProxy } from './losing-proxy.js';

/** A migrated store in a database of its own, and a way past it to see what is stored. */
export interface OpenStore {
  readonly store: EventStore;
  /** Between the store and the server. */
  readonly proxy: LosingProxy;
  /** Text of the request that makes a block take effect. */
  readonly commitText: string;
  /** Rows in the order of their ids, values as decodeRow gives them, in column order. */
  rows(table: RowTable): Promise<(string | number)[][]>;
  close(): Promise<void>;
}

async function openClickhouse(): Promise<OpenStore> {
  const { url, database, drop } = await freshClickhouse();
  const proxy = await losingProxy(url);
  const store = createClickhouseEventStore({
    clickhouse: { url: proxy.url, database },
    telemetry: silentTelemetry(),
  });
  await store.migrate();
  const columnsOf = (table: RowTable) =>
    TABLE_COLUMNS[table].map(({ name, type }) => {
      if (type === 'id') return `lower(hex(${name}))`;
      return type === 'ms' ? `toFloat64(toUnixTimestamp64Milli(${name}))` : name;
    });
  return {
    store,
    proxy,
    commitText: 'INSERT',
    rows: async (table) => {
      const query = `SELECT ${columnsOf(table).join(', ')} FROM ${table} ORDER BY event_id FORMAT JSONCompact`;
      const answer = await fetch(`${url}/?database=${database}`, { method: 'POST', body: query });
      return JSON.parse(await answer.text()).data;
    },
    close: async () => {
      await store.close();
      await proxy.close();
      await drop();
    },
  };
}

export const openers: Record<EventStore['kind'], () => Promise<OpenStore>> = {
  clickhouse: openClickhouse,

  postgres: async () => {
    const { url, drop } = await freshPostgres();
    const proxy = await losingProxy(url);
    const store = createPostgresEventStore({
      url: proxy.url,
      maxConnections: 4,
      minConnections: 0,
      telemetry: silentTelemetry(),
    });
    await store.migrate();
    const columnsOf = (table: RowTable) =>
      TABLE_COLUMNS[table].map(({ name, type }) => {
        if (type === 'id') return `encode(uuid_send(${name}), 'hex') AS ${name}`;
        if (type === 'ms') return `(extract(epoch FROM "${name}") * 1000)::float8 AS ${name}`;
        return type === 'u32' ? `${name}::float8` : `"${name}"`;
      });
    return {
      store,
      proxy,
      commitText: 'COMMIT',
      rows: async (table) => {
        const client = new Client({ connectionString: url });
        await client.connect();
        try {
          const query = `SELECT ${columnsOf(table).join(', ')} FROM ${table} ORDER BY ${table}.event_id`;
          return (await client.query<(string | number)[]>({ text: query, rowMode: 'array' })).rows;
        } finally {
          await client.end();
        }
      },
      close: async () => {
        await store.close();
        await proxy.close();
        await drop();
      },
    };
  },
};

/** How to open what reads the tables of an event store beside itself, of either kind. */
export interface Openers<Readers> {
  clickhouse(options: ClickhouseOptions): Readers;
  postgres(options: PostgresEventStoreOptions): Readers;
}

/** A migrated event store in a database of its own, its readers, and how to remove the database. */
export async function openEventStore<Readers extends object>(
  kind: EventStore['kind'],
  readers: Openers<Readers>,
): Promise<Readers & { readonly events: EventStore; drop(): Promise<void> }> {
  const telemetry = silentTelemetry();
  if (kind === 'clickhouse') {
    const { url, database, drop } = await freshClickhouse();
    const clickhouse = { url, database };
    const events = createClickhouseEventStore({ clickhouse, telemetry });
    await events.migrate();
    return { ...readers.clickhouse(clickhouse), events, drop };
  }
  const { url, drop } = await freshPostgres();
  const options = { url, maxConnections: 4, minConnections: 0, telemetry };
  const events = createPostgresEventStore(options);
  await events.migrate();
  return { ...readers.postgres(options), events, drop };
}
