/** What becomes of figures and of rows that arrive meanwhile when ClickHouse forgets single visitors. */

import { setMaxListeners } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type ClickHouseClient, createClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { MetricsStore } from '../../src/metrics/metrics-store.js';
import type { PersonalStore } from '../../src/privacy/personal-store.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createClickhousePersonal } from '../../src/storage/events/personal/clickhouse-personal.js';
import { createClickhouseImported } from '../../src/storage/events/transfer/clickhouse-imported.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse, freshName } from '../support/fresh.js';
import { generateEvents, randomOf } from '../support/metrics-events.js';
import { encodeRow, makeRow, SITE } from './event-rows.js';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const SLOT = 900_000;
const never = new AbortController().signal;
setMaxListeners(0, never);

/** Stands before the server; `before` and `after` run once, around the next statement that begins with a text. */
class Interceptor {
  private readonly server: Server;
  private armed: { text: string; before?: () => Promise<void>; after?: () => Promise<void> } | undefined;
  constructor(private readonly target: string) {
    // Parameters of statements may come in the address, which counts as a header.
    this.server = createServer({ maxHeaderSize: 1 << 20 }, (request, response) => {
      this.forward(request, response).catch((error: unknown) => response.writeHead(502).end(String(error)));
    });
  }
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    const address = this.server.address();
    if (address === null || typeof address === 'string') throw new Error('no TCP address');
    return `http://127.0.0.1:${address.port}`;
  }
  next(armed: { text: string; before?: () => Promise<void>; after?: () => Promise<void> }): void {
    this.armed = armed;
  }
  get isArmed(): boolean {
    return this.armed !== undefined;
  }
  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
  private async forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk));
    const body = Buffer.concat(chunks);
    const hit = this.armed && body.includes(this.armed.text) ? this.armed : undefined;
    if (hit) this.armed = undefined;
    await hit?.before?.();
    const { host: _, connection: __, 'transfer-encoding': ___, ...headers } = request.headers;
    const given = Object.entries(headers).map(([name, value]) => [name, String(value)] as [string, string]);
    const answer = await fetch(new URL(request.url ?? '/', this.target), {
      method: request.method ?? 'GET',
      headers: given.filter(([name]) => name !== 'content-length'),
      ...(body.length === 0 ? {} : { body }),
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    await hit?.after?.();
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'text/plain' });
    response.end(bytes);
  }
}

describe('single visitors in ClickHouse', () => {
  let database: Awaited<ReturnType<typeof freshClickhouse>>;
  let admin: ClickHouseClient;
  let events: EventStore;
  let personal: PersonalStore;
  let proxy: Interceptor;
  let proxied: string;

  beforeAll(async () => {
    database = await freshClickhouse();
    admin = createClient({ url: database.url, database: database.database });
    proxy = new Interceptor(database.url);
    proxied = await proxy.listen();
    events = createClickhouseEventStore({ clickhouse: database, telemetry: silentTelemetry() });
    personal = createClickhousePersonal({ ...database, url: proxied });
    await events.migrate();
  });
  afterAll(async () => {
    await Promise.all([events?.close(), personal?.close(), admin?.close()]);
    proxy?.close();
    await database?.drop();
  });

  async function ask(query: string): Promise<string[]> {
    const answer = await admin.query({ query, format: 'JSONCompactEachRow' });
    return (await answer.json<[unknown]>()).map(([value]) => String(value));
  }
  const insert = (rows: readonly Parameters<typeof makeRow>[0][]) =>
    events.insertRows(
      'events',
      rows.map((row) => encodeRow(makeRow(row))),
      freshName('block'),
      Date.now() + 20_000,
    );

  describe('whose rows are gone', () => {
    const rested = () => personal.rewritten(AbortSignal.timeout(5_000));
    const masked = () =>
      ask(
        `SELECT table FROM system.parts WHERE database = currentDatabase() AND active AND has_lightweight_delete`,
      );

    it('wait for their bytes to go, and for nothing else that the server is doing', async () => {
      for (const query of [
        'CREATE TABLE stuck (n UInt8, m UInt8) ENGINE = MergeTree ORDER BY n',
        'INSERT INTO stuck VALUES (1, 1)',
        'SYSTEM STOP MERGES stuck',
        'ALTER TABLE stuck UPDATE m = 2 WHERE n = 1',
      ])
        await admin.command({ query, clickhouse_settings: { mutations_sync: '0', alter_sync: '0' } });
      await insert([{ visitor_id: 'gone' }, { visitor_id: 'stays', event_id: '02'.repeat(16) }]);
      await personal.deleteVisitor(SITE, 'gone');
      await rested();
      expect(await masked()).toEqual([]);
      expect(
        await ask('SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done'),
      ).toEqual(['1']);
      await admin.command({ query: 'DROP TABLE stuck' });
      await personal.deleteSite(SITE);
    });

    it('have their bytes removed that an attempt left which died in between', async () => {
      await insert([{ visitor_id: 'gone' }, { visitor_id: 'stays', event_id: '02'.repeat(16) }]);
      await admin.command({ query: "DELETE FROM events WHERE visitor_id = 'gone'" });
      expect(await masked()).toEqual(['events']);
      await rested();
      expect(await masked()).toEqual([]);
      await personal.deleteSite(SITE);
    });
  });

  it('leave what another site has in quarantine under the same id', async () => {
    const [own, other] = ['aaaaaaaaaaaaaaaa0000000a', 'bbbbbbbbbbbbbbbb0000000b'];
    for (const site of [own, other])
      await admin.command({
        query: `INSERT INTO quarantine (id, site_id, source, row_table, quarantined_at, reason, bytes)
          SELECT 'same', '${site}', 'batch', 'events', now(), 'test', concat(char(3), 'ada')`,
      });
    await personal.deleteVisitor(own, 'ada');
    expect(await ask(`SELECT site_id FROM quarantine WHERE id = 'same'`)).toEqual([other]);
  });

  it('have thousands of rows in quarantine', async () => {
    await admin.command({
      query: `INSERT INTO quarantine (id, site_id, source, row_table, quarantined_at, reason, bytes)
        SELECT lower(hex(sipHash128(number))), '${SITE}', 'batch', 'events', now(), 'test', concat(char(3), 'ada') FROM numbers(5000)`,
    });
    await personal.deleteVisitor(SITE, 'ada');
    expect(await ask(`SELECT count() FROM quarantine WHERE site_id = '${SITE}'`)).toEqual(['0']);
  });

  describe('made anonymous', () => {
    const [QUIET, BUSY] = ['aaaaaaaaaaaaaaaa00000001', 'bbbbbbbbbbbbbbbb00000002'];
    const how = { before: Date.now(), salt: 'c0ffee' };
    const at = how.before - 2 * DAY;
    const stored = (site: string) =>
      ask(`SELECT concat(lower(hex(event_id)), ' ', city, ' ', toString(match(visitor_id, '^anon_[0-9a-f]{16}$')))
        FROM events WHERE site_id = '${site}' ORDER BY event_id`);
    const id = (n: number) => String(n).padStart(32, '0');
    const rollup = (site: string) =>
      ask(`SELECT sum(page_views) FROM session_slots WHERE site_id = '${site}'`);

    it('a row that arrives meanwhile stays', async () => {
      const row = { site_id: BUSY, timestamp: at };
      await insert([{ ...row, event_id: id(1) }]);
      proxy.next({ text: 'INSERT INTO events ', after: () => insert([{ ...row, event_id: id(2) }]) });
      await personal.anonymise(BUSY, how);
      expect(proxy.isArmed).toBe(false);
      expect(await stored(BUSY)).toEqual([`${id(1)}  1`, `${id(2)} Berlin 0`]);
      await personal.anonymise(BUSY, how);
      expect(await stored(BUSY)).toEqual([`${id(1)}  1`, `${id(2)}  1`]);
      expect(await rollup(BUSY)).toEqual(['2']);
    });

    it('a late row that arrives while the rollup is made anew counts once', async () => {
      const site = 'cccccccccccccccc00000003';
      const row = { site_id: site, timestamp: at };
      await insert([{ ...row, event_id: id(5) }]);
      const late = { ...row, event_id: id(6), received_at: Date.now() };
      proxy.next({ text: 'INSERT INTO session_slots SELECT', before: () => insert([late]) });
      await personal.anonymise(site, how);
      expect(proxy.isArmed).toBe(false);
      expect(await stored(site)).toHaveLength(2);
      expect(await rollup(site)).toEqual(['2']);
    });

    it('what an import has added is undone afterwards, in the rollup too', async () => {
      const site = 'dddddddddddddddd00000004';
      const imported = createClickhouseImported({ ...database, url: proxied });
      const row = { site_id: site, timestamp: at };
      await insert([{ ...row, event_id: id(7), session_id: 'own' }]);
      const added = { id: id(8), timestamp: at, visitorId: 'guest', sessionId: 'guest' };
      await imported.note(site, 'an import', 0, [added]);
      await insert([{ ...row, event_id: id(8), visitor_id: 'guest', session_id: 'guest' }]);
      await personal.anonymise(site, how);
      expect(await rollup(site)).toEqual(['2']);
      // The guest comes again in the same quarter of an hour, in that moment.
      const live = {
        ...row,
        event_id: id(9),
        visitor_id: 'guest',
        session_id: 'guest',
        received_at: Date.now(),
      };
      proxy.next({ text: 'INSERT INTO session_slots SELECT', before: () => insert([live]) });
      await imported.undo(site, 'an import');
      expect(proxy.isArmed).toBe(false);
      expect(await stored(site)).toEqual([`${id(7)}  1`, `${id(9)} Berlin 0`]);
      expect(await rollup(site)).toEqual(['2']);
      await imported.close();
    });

    it('rows without visitor or session stay, once', async () => {
      const row = { site_id: QUIET, timestamp: at, session_id: '' };
      await insert([
        { ...row, event_id: id(3), visitor_id: '' },
        { ...row, event_id: id(4) },
      ]);
      for (let i = 0; i < 2; i++) {
        await personal.anonymise(QUIET, how);
        expect(await stored(QUIET)).toEqual([`${id(3)}  1`, `${id(4)}  1`]);
      }
      const ids = `SELECT DISTINCT session_id FROM events WHERE site_id = '${QUIET}'`;
      expect(await ask(ids)).toEqual(['']);
      expect(await rollup(QUIET)).toEqual(['2']);
    });
  });

  describe('and figures from finished days', () => {
    const now = Date.now();
    const scope = { siteId: SITE, from: Math.floor(now / DAY) * DAY - 13 * DAY, to: now, filters: [] };
    let clock = 1;
    let stores: MetricsStore[] = [];
    /** Everything counts as settled that a moment ago was there. */
    const node = (url: string): MetricsStore => {
      const finished = { minRows: 0, isAwaited: true };
      const settled = () => Math.ceil((now + HOUR) / SLOT) * SLOT;
      const store = createClickhouseMetrics(
        { ...database, url },
        { carried: { minRows: 0, settled, clock: () => clock, finished } },
      );
      stores.push(store);
      return store;
    };
    const totals = (store: MetricsStore) => {
      clock += 60_000;
      return store.totals(scope, never);
    };
    const unfinished =
      'SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done';
    /** Nothing is made while the rollup has work that is not done, though it removes nothing. */
    const rested = async () => {
      await personal.rewritten(AbortSignal.timeout(20_000));
      await vi.waitFor(async () => expect(await ask(unfinished)).toEqual(['0']), { timeout: 10_000 });
    };

    /** Of one session three visitors: two of them have only left a page. */
    const visits = ['will shared', 'zed shared', 'zoe shared', 'xena x', 'yann y'].map((names, n) => {
      const [visitor_id = '', session_id = ''] = names.split(' ');
      const timestamp = scope.from + 8 * DAY + n * 1_000;
      const left = { kind: 3, event_type: 'page_exit', time_on_page: 30 };
      const event = { visitor_id, session_id, timestamp, event_id: `f${n}`.repeat(16) };
      return { ...event, ...(visitor_id.startsWith('z') ? left : {}) };
    });
    beforeAll(async () => {
      const { events: generated } = generateEvents(randomOf(11), now, 60);
      await insert([...generated.filter(({ site_id }) => site_id === SITE), ...visits]);
    });
    afterAll(async () => {
      await Promise.all(stores.map((store) => store.close()));
      stores = [];
    });

    it('an erasure of nobody leaves them as they are, for nodes that have counted and for new ones', async () => {
      const first = node(database.url);
      const whole = await totals(first);
      expect(Number((await ask('SELECT count() FROM finished_sessions'))[0])).toBeGreaterThan(10);
      const second = node(database.url);
      expect(await totals(second)).toEqual(whole);
      const work = async () => [
        await ask('SELECT count() FROM system.mutations WHERE database = currentDatabase()'),
        await ask('SELECT count() FROM finished_days'),
      ];
      const before = await work();
      await personal.deleteVisitor(SITE, 'nobody');
      await rested();
      expect(await work()).toEqual(before);
      const later = { ...scope, from: scope.from + DAY };
      const expected = await node(database.url).totals(later, never);
      for (const store of [first, second]) {
        clock += 60_000;
        expect(await store.totals(later, never)).toEqual(expected);
      }
      for (const store of [first, second, node(database.url)]) expect(await totals(store)).toEqual(whole);
    });

    const fromEvents = () => {
      const anew = createClickhouseMetrics(database, { rawOnly: true });
      stores.push(anew);
      return totals(anew);
    };

    it('one of somebody who shared a session leaves the other visitor in it', async () => {
      const first = node(database.url);
      await totals(first);
      const shared = `SELECT count() FROM finished_sessions WHERE session = cityHash64('shared')`;
      expect(await ask(shared)).toEqual(['1']);
      // What was made of all their rows names one of those who left, at most.
      const [isZoe] = await ask(`${shared} AND visitor = cityHash64('zoe')`);
      await personal.deleteVisitor(SITE, isZoe === '1' ? 'zed' : 'zoe');
      expect(await ask(shared)).toEqual(['0']);
      await rested();
      const whole = await fromEvents();
      expect(await totals(first)).toEqual(whole);
      expect(await totals(node(database.url))).toEqual(whole);
    });

    it('one while they are made does not make their remains count', async () => {
      await personal.deleteVisitor(SITE, 'xena');
      await rested();
      proxy.next({
        text: 'INSERT INTO finished_days',
        before: async () => {
          await personal.deleteVisitor(SITE, 'yann');
          await rested();
        },
      });
      await totals(node(proxied));
      expect(proxy.isArmed).toBe(false);
      const whole = await fromEvents();
      await vi.waitFor(async () => expect(await totals(node(database.url))).toEqual(whole), {
        timeout: 5_000,
      });
    });
  });
});
