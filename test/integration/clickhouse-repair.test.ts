import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { partitionOf } from '../../src/events/partition.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import {
  type EventStore,
  RepairFailedError,
  type RepairRange,
  StoreUnavailableError,
} from '../../src/storage/events/event-store.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse, freshName } from '../support/fresh.js';
import { encodeRow, makeRow } from './event-rows.js';

const PARTITIONS = 8;
const HOUR = 3_600_000;
const VALID = Number.POSITIVE_INFINITY;
/** Two sites of one partition, one of another. */
const SITES = ['aaaaaaaaaaaaaaaa00000001', 'bbbbbbbbbbbbbbbb00000009', 'cccccccccccccccc00000002'] as const;
const [DAMAGED, SOUND, FOREIGN] = SITES;

/** Over a connection of its own: the server may just be closing one that was kept. */
async function post(url: URL, body: string, type = 'text/plain') {
  const answer = await new Promise<IncomingMessage | Error>((resolve) => {
    httpRequest(url, { method: 'POST', agent: false, headers: { 'content-type': type } }, resolve)
      .on('error', resolve)
      .end(body);
  });
  if (answer instanceof Error) return { status: 502, type: 'text/plain', text: answer.message };
  return {
    ...{ status: answer.statusCode ?? 502, type: answer.headers['content-type'] ?? 'text/plain' },
    text: await text(answer),
  };
}

describe('P3: a rollup that a crash left without a part of the events', () => {
  let database: Awaited<ReturnType<typeof freshClickhouse>>;
  let store: EventStore;
  const now = Date.now();

  beforeAll(async () => {
    database = await freshClickhouse();
    store = createClickhouseEventStore({
      clickhouse: { url: database.url, database: database.database },
      telemetry: silentTelemetry(),
    });
    await store.migrate();
    for (const [block, ageMs] of [20 * 60_000, 0].entries()) {
      const rows = SITES.flatMap((site_id, s) =>
        Array.from({ length: 40 }, (_, i) =>
          encodeRow(
            makeRow({
              event_id: `${block}${s}${i}`.padStart(32, '0'),
              site_id,
              timestamp: now - ageMs - i * 1_000,
              received_at: now,
              kind: (i % 3) + 1,
              event_type: i % 3 === 2 ? 'page_exit' : i % 3 === 1 ? 'click' : 'pageview',
              time_on_page: i,
              visitor_id: `visitor ${i % 7}`,
              session_id: `session ${i % 7}`,
              page: `/${i % 5}`,
            }),
          ),
        ),
      );
      await store.insertRows('events', rows, freshName('block'), Date.now() + 20_000);
    }
  });
  afterAll(async () => {
    await store.close();
    await database.drop();
  });

  const query = async (sql: string) => {
    const answer = await fetch(`${database.url}/?database=${database.database}&mutations_sync=2`, {
      method: 'POST',
      body: sql,
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
    return text;
  };
  const rollup = () =>
    query(`SELECT site_id, slot, session, visitor, place, agent, min(first_ts), max(last_ts), sum(page_views), sum(customs),
             max(last_view), max(last_exit), min(source), arraySort(groupArrayArray(arrayZip(view_ts, view_page)))
           FROM session_slots GROUP BY ALL ORDER BY ALL`);
  const repair = (site: string, range: Partial<RepairRange> = {}, of = store) =>
    of.repair(partitionOf(site, PARTITIONS), PARTITIONS, { backMs: HOUR, validUntil: () => VALID, ...range });
  const open = (url: string) =>
    createClickhouseEventStore({
      clickhouse: { url, database: database.database },
      telemetry: silentTelemetry(),
    });
  const damage = () =>
    query(
      `ALTER TABLE session_slots DELETE WHERE site_id = '${DAMAGED}' AND session = cityHash64('session 3')`,
    );

  it('finds nothing to mend while all is whole', async () => {
    let changes = 0;
    expect(await repair(DAMAGED, { changing: () => changes++ })).toBe(0);
    expect(await repair(FOREIGN)).toBe(0);
    expect(changes).toBe(0);
  });

  it('makes the missing slots anew, and touches nothing else', async () => {
    expect(partitionOf(SOUND, PARTITIONS)).toBe(partitionOf(DAMAGED, PARTITIONS));
    expect(partitionOf(FOREIGN, PARTITIONS)).not.toBe(partitionOf(DAMAGED, PARTITIONS));
    const whole = await rollup();
    const recent = `slot >= toDateTime(${Math.floor(now / 1000) - 900}, 'UTC')`;
    await query(
      `ALTER TABLE session_slots DELETE WHERE site_id IN ('${DAMAGED}', '${FOREIGN}') AND ${recent}`,
    );
    expect(await rollup()).not.toBe(whole);
    expect(await repair(DAMAGED)).toBeGreaterThan(0);
    const half = await rollup();
    expect(half.split('\n').filter((line) => line.startsWith(FOREIGN))).not.toEqual(
      whole.split('\n').filter((line) => line.startsWith(FOREIGN)),
    );
    expect(await repair(FOREIGN)).toBeGreaterThan(0);
    expect(await rollup()).toBe(whole);
    expect([await repair(DAMAGED), await repair(FOREIGN)]).toEqual([0, 0]);
  });

  it('makes years of slots anew, as after an import', async () => {
    const site_id = 'dddddddddddddddd00000003';
    const slots = 13_000;
    const rows = Array.from({ length: slots }, (_, n) =>
      encodeRow(
        makeRow({
          site_id,
          event_id: `d${n}`.padStart(32, '0'),
          timestamp: now - n * 900_000,
          received_at: now,
        }),
      ),
    );
    await store.insertRows('events', rows, freshName('block'), Date.now() + 20_000);
    await query(`ALTER TABLE session_slots DELETE WHERE site_id = '${site_id}'`);
    expect(await repair(site_id)).toBe(slots);
    expect(await query(`SELECT sum(page_views) FROM session_slots WHERE site_id = '${site_id}'`)).toBe(
      `${slots}\n`,
    );
  });

  it('completes a slot of which only some sessions are missing', async () => {
    const whole = await rollup();
    await damage();
    const damaged = await rollup();
    // Said before anything is taken away.
    const changing = () => {
      throw new StoreUnavailableError('not yet');
    };
    await expect(repair(DAMAGED, { changing })).rejects.toThrow('not yet');
    expect(await rollup()).toBe(damaged);
    expect(await repair(DAMAGED)).toBeGreaterThan(0);
    expect(await rollup()).toBe(whole);
  });

  it('completes what was stored right before the server went away, however long ago', async () => {
    const before = now - 50 * HOUR;
    const site_id = 'eeeeeeeeeeeeeeee00000004';
    const rows = Array.from({ length: 3 }, (_, i) =>
      encodeRow(
        makeRow({
          ...{ event_id: `e${i}`.padStart(32, '0'), site_id, timestamp: before - i, received_at: before - i },
          ...{ kind: 1, visitor_id: 'v', session_id: 's' },
        }),
      ),
    );
    await store.insertRows('events', rows, freshName('block'), Date.now() + 20_000);
    const counts = { received: 3, stored: 3, duplicate: 0, bot: 0, rejected: 0, quarantined: 0 };
    const hour = before - (before % HOUR);
    await store.addToBooks([{ siteId: site_id, hour, source: 'batch', ...counts }], freshName('books'));
    const whole = await rollup();
    await query(`ALTER TABLE session_slots DELETE WHERE site_id = '${site_id}'`);
    expect(await repair(site_id)).toBe(1);
    expect(await rollup()).toBe(whole);
  });

  it('compares what was received long before the newest when it is told to', async () => {
    const site_id = 'ffffffffffffffff00000005';
    const ages = [3 * HOUR, 0];
    const rows = ages.map((age, i) =>
      encodeRow(
        makeRow({
          ...{ event_id: `f${i}`.padStart(32, '0'), site_id, timestamp: now - age, received_at: now - age },
          ...{ kind: 1, visitor_id: 'v', session_id: 's' },
        }),
      ),
    );
    await store.insertRows('events', rows, freshName('block'), Date.now() + 20_000);
    const whole = await rollup();
    await query(`ALTER TABLE session_slots DELETE WHERE site_id = '${site_id}'`);
    expect(await repair(site_id)).toBe(1);
    expect(await repair(site_id, { since: now - 3 * HOUR })).toBe(1);
    expect(await rollup()).toBe(whole);
  });

  it('changes nothing once the partition may be of another owner', async () => {
    const whole = await rollup();
    await damage();
    const damaged = await rollup();
    await expect(repair(DAMAGED, { validUntil: () => Date.now() })).rejects.toThrow(StoreUnavailableError);
    expect(await rollup()).toBe(damaged);
    expect(await repair(DAMAGED)).toBeGreaterThan(0);
    expect(await rollup()).toBe(whole);
  });

  it('is whole in the end though an attempt that was given up takes effect late, and lets the server end first', async () => {
    const whole = await rollup();
    await damage();
    let isLate = true;
    const seconds: number[] = [];
    const proxy = createServer(async (request, response) => {
      const body = await text(request);
      const url = new URL(request.url ?? '/', database.url);
      const send = () => post(url, body, request.headers['content-type']);
      let answer = await send();
      if (/(DELETE FROM|INSERT INTO) session_slots/.test(body)) {
        seconds.push(Number(url.searchParams.get('max_execution_time')));
        if (body.includes('INSERT INTO') && isLate) {
          isLate = false;
          const late = await send();
          if (late.status !== 200) answer = late;
        }
      }
      response.writeHead(answer.status, { 'content-type': answer.type }).end(answer.text);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const address = proxy.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const proxied = open(`http://127.0.0.1:${address.port}`);
    try {
      expect(await repair(DAMAGED, { validUntil: () => Date.now() + 60_000 }, proxied)).toBeGreaterThan(0);
      expect(isLate).toBe(false);
      expect(await rollup()).toBe(whole);
      expect(Math.min(...seconds)).toBeGreaterThan(0);
      expect(Math.max(...seconds)).toBeLessThan(30);
    } finally {
      await proxied.close();
      proxy.close();
    }
  });

  it('says whether the server is away or cannot do it', async () => {
    const away = open('http://127.0.0.1:1');
    await expect(repair(DAMAGED, {}, away)).rejects.toThrow(StoreUnavailableError);
    await away.close();
    await query('RENAME TABLE session_slots TO hidden_slots');
    await expect(repair(DAMAGED)).rejects.toThrow(RepairFailedError);
    await query('RENAME TABLE hidden_slots TO session_slots');
    expect(await repair(DAMAGED)).toBe(0);
  });
});
