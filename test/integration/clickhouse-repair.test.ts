import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { partitionOf } from '../../src/events/partition.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse, freshName } from '../support/fresh.js';
import { encodeRow, makeRow } from './event-rows.js';

const PARTITIONS = 8;
const HOUR = 3_600_000;
/** Two sites of one partition, one of another. */
const SITES = ['aaaaaaaaaaaaaaaa00000001', 'bbbbbbbbbbbbbbbb00000009', 'cccccccccccccccc00000002'] as const;
const [DAMAGED, SOUND, FOREIGN] = SITES;

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
  const repair = (site: string) => store.repair(partitionOf(site, PARTITIONS), PARTITIONS, HOUR);

  it('finds nothing to mend while all is whole', async () => {
    expect(await repair(DAMAGED)).toBe(0);
    expect(await repair(FOREIGN)).toBe(0);
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

  it('makes years of slots anew, as after an import', { timeout: 30_000 }, async () => {
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
    await query(
      `ALTER TABLE session_slots DELETE WHERE site_id = '${DAMAGED}' AND session = cityHash64('session 3')`,
    );
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
});
