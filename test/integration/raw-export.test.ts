/** A site's events as a file, out of both stores, over HTTP. */
import { parse } from 'csv-parse/sync';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createGate } from '../../src/auth/gate.js';
import type { Principal } from '../../src/auth/principal.js';
import { createApp } from '../../src/edge/app.js';
import { createRateLimiter, type RateLimiter } from '../../src/edge/rate-limit.js';
import { rawExportRoutes } from '../../src/edge/routes/raw-export.js';
import { SITE as SHOP } from '../../src/edge/testing.js';
import type { EventRow } from '../../src/events/row-decoder.js';
import { createMemoryCache } from '../../src/storage/cache/memory-cache.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { createClickhouseRaw } from '../../src/storage/events/transfer/clickhouse-raw.js';
import { createPostgresRaw } from '../../src/storage/events/transfer/postgres-raw.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { restored } from '../../src/transfer/file-format.js';
import { FILE_COLUMNS, type RawEvent, type RawEventStore } from '../../src/transfer/raw-event.js';
import { transferMetrics } from '../../src/transfer/transfer-metrics.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { generateEvents, randomOf } from '../support/metrics-events.js';
import { until } from '../support/wait.js';
import { encodeRow, makeRow, SITE } from './event-rows.js';

const NOW = Date.parse('2026-05-20T12:00:00Z');

interface Opened {
  readonly events: EventStore;
  readonly raw: RawEventStore;
  /** Words that tell the queries of an export apart, in the order in which they run. */
  readonly queries: readonly string[];
  /** Makes queries of one kind take minutes, until the function that it answers is called. */
  hold(query: string): Promise<() => Promise<unknown>>;
  /** How many of the kind are running. */
  running(query: string): Promise<number>;
  drop(): Promise<void>;
}

/** No query ends by itself while a test watches it. */
const LONG = { maxExecutionMs: 600_000 };
const TEN_MINUTES = 'SELECT sleepEachRow(0.3) + 1 FROM numbers(2000) SETTINGS max_block_size = 1';
/** Views that keep who counts rows, or only who reads whole ones. */
const SLOW_VIEWS = {
  intDiv: `SELECT * FROM events_aside WHERE 0 NOT IN (${TEN_MINUTES})`,
  by_time: `SELECT * REPLACE (if(0 IN (${TEN_MINUTES}), '', title) AS title) FROM events_aside`,
};

const STORES = {
  async clickhouse(): Promise<Opened> {
    const { url, database, drop } = await freshClickhouse();
    const telemetry = silentTelemetry();
    const events = createClickhouseEventStore({ clickhouse: { url, database }, telemetry });
    const raw = createClickhouseRaw({ url, database }, LONG);
    const command = async (body: string): Promise<string> => {
      const answer = await fetch(`${url}/?database=${database}`, { method: 'POST', body });
      const text = await answer.text();
      if (!answer.ok) throw new Error(text);
      return text;
    };
    return {
      ...{ events, raw, drop, queries: Object.keys(SLOW_VIEWS) },
      async running(query) {
        const found = `SELECT count() FROM system.processes WHERE current_database = '${database}' AND query LIKE '%${query}%'`;
        return Number(await command(`${found} AND query NOT LIKE '%processes%'`));
      },
      async hold(query) {
        await command('RENAME TABLE events TO events_aside');
        await command(`CREATE VIEW events AS ${query === 'intDiv' ? SLOW_VIEWS.intDiv : SLOW_VIEWS.by_time}`);
        return async () => {
          await command('DROP VIEW events');
          await command('RENAME TABLE events_aside TO events');
        };
      },
    };
  },
  async postgres(): Promise<Opened> {
    const { url, drop } = await freshPostgres();
    const spy = new pg.Client({ connectionString: url });
    await spy.connect();
    const options = { url, maxConnections: 4, minConnections: 0, telemetry: silentTelemetry() };
    return {
      events: createPostgresEventStore(options),
      raw: createPostgresRaw({ ...options, ...LONG }),
      queries: ['by_time'],
      drop: async () => {
        await spy.end();
        await drop();
      },
      async running(query) {
        // What is seen of others stays the same within a transaction.
        await spy.query('SELECT pg_stat_clear_snapshot()');
        const { rows } = await spy.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND position($1 in query) > 0
             AND pid <> pg_backend_pid()`,
          [query],
        );
        return rows.length;
      },
      async hold() {
        await spy.query('BEGIN; LOCK TABLE events');
        return () => spy.query('ROLLBACK');
      },
    };
  },
};

/** `owner` is an account, `owner with read,write` one of its API keys. */
function callerOf(token: string): Principal {
  const [userId = '', list] = token.split(' with ');
  const account = { kind: 'account', userId, email: 'a@example.com', role: 'user' } as const;
  if (list === undefined) return account;
  const scopes = SCOPES.filter((scope) => list.split(',').includes(scope));
  return { ...account, key: { id: token, scopes, websiteIds: null } };
}
const SCOPES = ['read', 'write', 'manage'] as const;

const byPlace = (a: EventRow, b: EventRow): number =>
  a.timestamp - b.timestamp || (a.event_id < b.event_id ? -1 : 1);

describe.each(['clickhouse', 'postgres'] as const)('events as a file, from %s', (kind) => {
  const site = { ...SHOP, siteId: SITE, allowRawDataExport: false };
  let store: Opened;
  let app: ReturnType<typeof createApp>;
  let rateLimiter: RateLimiter;
  let base: string;
  let expected: readonly EventRow[];
  let bots: readonly EventRow[];

  beforeAll(async () => {
    store = await STORES[kind]();
    await store.events.migrate();
    const made = generateEvents(randomOf(11), NOW, 800);
    // Of one millisecond, more than a page, with everything that a file could trip over.
    const same = Array.from({ length: 4_050 }, (_, n) =>
      makeRow({
        event_id: `ff${n.toString(16).padStart(30, '0')}`,
        timestamp: NOW - 3_600_000,
        title: n % 2 === 0 ? `=1+${n}` : `'a, "b"\r\n\u2028 é`,
        properties: '{"a":"\\n\\"","b":[1,2.5,null]}',
      }),
    );
    const own = ({ site_id }: EventRow): boolean => site_id === SITE;
    expected = [...made.events.filter(own), ...same].sort(byPlace);
    bots = made.bots.filter(own).toSorted(byPlace);
    await store.events.insertRows(
      'events',
      [...made.events, ...same].map(encodeRow),
      'a',
      Date.now() + 60_000,
    );
    await store.events.insertRows('bot_events', made.bots.map(encodeRow), 'b', Date.now() + 60_000);
    const telemetry = silentTelemetry();
    const cache = createMemoryCache({ telemetry });
    const limits = { ingest: 0, auth: 0, api: 0, admin: 0, internal: 0 };
    rateLimiter = createRateLimiter({ cache, telemetry, limits });
    app = createApp({
      telemetry,
      routes: rawExportRoutes({
        store: store.raw,
        metrics: transferMetrics(telemetry.registry),
        clock: () => NOW,
      }),
      rateLimiter,
      cors: { allowedOrigins: [], production: true },
      trustedProxies: { trust: [] },
      authenticate: async (header) => callerOf(header.replace('Bearer ', '')),
      resolveSite: async (id) => (id === SITE ? site : null),
      authorize: createGate({
        websites: { members: async () => [{ userId: 'reader', role: 'viewer' }] },
        notices: { onChange: () => {} },
        telemetry,
      }).authorize,
    });
    base = `http://127.0.0.1:${await app.listen(0, '127.0.0.1')}/api/v1/websites/${SITE}/events/export`;
  });
  afterAll(async () => {
    await app?.close();
    await rateLimiter?.close();
    await store?.events.close();
    await store?.raw.close();
    await store?.drop();
  });

  const get = (query: string, who = 'owner', headers: Record<string, string> = {}) =>
    fetch(`${base}?${query}`, { headers: { authorization: `Bearer ${who}`, ...headers } });

  const asRow = (line: Readonly<Record<string, unknown>>): Record<string, unknown> => ({
    ...line,
    event_id: String(line.event_id).replaceAll('-', ''),
    timestamp: Date.parse(String(line.timestamp)),
    received_at: Date.parse(String(line.received_at)),
    properties: JSON.stringify(line.properties),
  });
  const rowsOf = (ndjson: string) =>
    ndjson
      .split('\n')
      .slice(0, -1)
      .map((line) => asRow(JSON.parse(line)));
  const isBot = (events: readonly EventRow[], bot: boolean): RawEvent[] =>
    events.map((event) => ({ ...event, bot }));

  test('ndjson has every event of the site once, all columns, in order', async () => {
    const answer = await get('');
    expect(answer.headers.get('content-disposition')).toBe(`attachment; filename="events-${SITE}.ndjson"`);
    expect(rowsOf(await answer.text())).toEqual(isBot(expected, false));
  });

  test('csv has the same, in columns', async () => {
    const [header, ...lines] = parse(await (await get('format=csv')).text(), { record_delimiter: '\r\n' });
    expect(header).toEqual(FILE_COLUMNS);
    expect(lines).toHaveLength(expected.length);
    const texts = lines.map((line: string[]) => [
      line[0]?.replaceAll('-', ''),
      restored(line[FILE_COLUMNS.indexOf('title')] ?? ''),
      line[FILE_COLUMNS.indexOf('bot')],
    ]);
    expect(texts).toEqual(expected.map((row) => [row.event_id, row.title, 'false']));
    expect(lines.every((line: string[]) => !/^[=+@-]/.test(line[FILE_COLUMNS.indexOf('title')] ?? ''))).toBe(
      true,
    );
  });

  test('bots come along, or alone, when asked for', async () => {
    const only = rowsOf(await (await get('bots=only')).text());
    expect(only).toEqual(isBot(bots, true));
    expect(only.length).toBeGreaterThan(0);
    const all = rowsOf(await (await get('bots=include')).text());
    expect(all).toEqual([...isBot(expected, false), ...isBot(bots, true)].sort(byPlace));
  });

  test('a file that broke off goes on', async () => {
    const text = await (await get('format=csv')).text();
    const lines = text.split('\r\n');
    // Inside of the thousands of one millisecond, where lines have no line breaks.
    const cut = lines.findIndex((line) => line.startsWith('ff000000-0000-0000-0000-000000000f00'));
    const [id, timestamp] = lines[cut]?.split(',') ?? [];
    const rest = await (await get(`format=csv&after=${timestamp},${id}`)).text();
    expect(rest).not.toContain('event_id');
    expect(`${lines.slice(0, cut + 1).join('\r\n')}\r\n${rest}`).toBe(text);
  });

  test('days and moments bound it', async () => {
    const from = Date.parse('2026-05-10T00:00:00Z');
    const to = Date.parse('2026-05-13T00:00:00Z');
    const days = rowsOf(await (await get('from=2026-05-10&to=2026-05-12')).text());
    const within = expected.filter(({ timestamp }) => timestamp >= from && timestamp < to);
    expect(days.map(({ event_id }) => event_id)).toEqual(within.map(({ event_id }) => event_id));
    const moment = new Date(within[7]?.timestamp ?? 0).toISOString();
    const rest = rowsOf(await (await get(`from=${moment}&to=2026-05-12`)).text());
    expect(rest[0]?.timestamp).toBe(within[7]?.timestamp);
  });

  test.each([
    'from=yesterday',
    'to=2026-13-45',
    'from=2026-05-10&to=2026-05-01',
    'after=x',
    'format=xml',
    'bots=1',
  ])('refuses %s', async (query) => {
    expect((await get(query)).status).toBe(400);
  });

  test('goes out compressed', async () => {
    const answer = await get('', 'owner', { 'accept-encoding': 'gzip' });
    expect(answer.headers.get('content-encoding')).toBe('gzip');
    expect(rowsOf(await answer.text())).toHaveLength(expected.length);
  });

  test('is for who may manage the site, and for its readers when the owner says so', async () => {
    expect((await get('', 'reader')).status).toBe(403);
    site.allowRawDataExport = true;
    expect((await get('bots=only', 'reader')).status).toBe(200);
    site.allowRawDataExport = false;
  });

  test.each([
    ['owner with read', '403 insufficient_scope', '200'],
    ['owner with write', '403 insufficient_scope', '403 insufficient_scope'],
    ['owner with manage', '200', '200'],
    ['reader with read', '403 insufficient_scope', '200'],
    ['reader with read,write,manage', '403 forbidden', '200'],
    ['stranger with read,write,manage', '403 forbidden', '403 forbidden'],
  ])('is for the API key of %s: %s, when the owner opens it: %s', async (who, closed, open) => {
    const outcome = async (): Promise<string> => {
      const answer = await get('bots=only', who);
      const text = await answer.text();
      return answer.ok ? '200' : `${answer.status} ${JSON.parse(text).code}`;
    };
    expect(await outcome()).toBe(closed);
    site.allowRawDataExport = true;
    const opened = await outcome();
    site.allowRawDataExport = false;
    expect(opened).toBe(open);
  });

  test('ends its query when the caller leaves, whichever is running', async () => {
    for (const query of store.queries) {
      const release = await store.hold(query);
      try {
        const caller = new AbortController();
        const answer = fetch(base, { headers: { authorization: 'Bearer owner' }, signal: caller.signal });
        answer.catch(() => {});
        await until(async () => (await store.running(query)) === 1, { what: query });
        caller.abort();
        await expect(answer).rejects.toThrow();
        await until(async () => (await store.running(query)) === 0, {
          what: `the end of ${query}`,
        });
      } finally {
        await release();
      }
    }
  });
});
