/** The event store contract for the tables beside the events: heat points and funnel events. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FunnelEventRow, HeatPointRow } from '../../src/events/row-decoder.js';
import type { RowTable } from '../../src/events/tables.js';
import { StoreUnavailableError } from '../../src/storage/events/event-store.js';
import { freshName } from '../support/fresh.js';
import { encodeRow, encodeRowOf, makeFunnelEvent, makeHeatPoint, makeRow } from './event-rows.js';
import { type OpenStore, openers } from './event-stores.js';

const id = (name: string): string => createHash('md5').update(name).digest('hex');
const raw = (name: string): Uint8Array => Buffer.from(id(name), 'hex');
const siteId = (name: string): string => id(name).slice(0, 24);
const soon = (): number => Date.now() + 20_000;

const heat = (name: string, changes: Partial<HeatPointRow> = {}): Uint8Array =>
  encodeRowOf('heat_points', makeHeatPoint({ event_id: id(name), ...changes }));
const funnel = (name: string, changes: Partial<FunnelEventRow> = {}): Uint8Array =>
  encodeRowOf('funnel_events', makeFunnelEvent({ event_id: id(name), ...changes }));

/** A row of each table. */
const MAKERS = {
  events: (name: string, site: string) => encodeRow(makeRow({ event_id: id(name), site_id: site })),
  heat_points: (name: string, site: string) => heat(name, { site_id: site }),
  funnel_events: (name: string, site: string) => funnel(name, { site_id: site }),
} as const;
const NEW_TABLES = ['heat_points', 'funnel_events'] as const;

const LONG = 'ü€😀\u{10FFFF}"\'\\\n\t%_'.repeat(200);
/** More bytes than an index entry of Postgres holds. */
const LONG_PAGE = `/${'\u20ac\u4e2d'.repeat(1_000)}${'z'.repeat(47)}`;

describe.each(Object.entries(openers))('event store contract, further tables: %s', (_, open) => {
  let opened: OpenStore;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened.close());

  const stored = async (table: RowTable, site: string) =>
    (await opened.rows(table)).filter((values) => values[3] === site);
  const insert = (table: RowTable, rows: readonly Uint8Array[], token = freshName('token')) =>
    opened.store.insertRows(table, rows, token, soon());

  it('keeps every column of heat points', async () => {
    const site = siteId('heat columns');
    const rows = [
      makeHeatPoint({ event_id: id('a'), site_id: site }),
      makeHeatPoint({
        ...{ event_id: id('b'), site_id: site, timestamp: 0, received_at: 0, page: '', point_type: '' },
        ...{ device: '', x: -32_768, y: -1, selector: '', count: 0 },
      }),
      makeHeatPoint({
        ...{ event_id: id('c'), site_id: site, timestamp: 4_102_444_799_999, page: LONG_PAGE },
        ...{ x: 32_767, y: 32_767, selector: LONG, count: 4_294_967_295 },
      }),
    ];
    await insert(
      'heat_points',
      rows.map((row) => encodeRowOf('heat_points', row)),
    );
    const expected = rows.toSorted((a, b) => (a.event_id < b.event_id ? -1 : 1));
    expect(await stored('heat_points', site)).toEqual(expected.map((row) => Object.values(row)));
  });

  it('keeps every column of funnel events', async () => {
    const site = siteId('funnel columns');
    const rows = [
      makeFunnelEvent({ event_id: id('a'), site_id: site }),
      makeFunnelEvent({
        ...{ event_id: id('b'), site_id: site, funnel_id: '', visitor_id: '', session_id: '' },
        ...{ event_type: '', step_name: '', current_step: 0, completed_steps: '', started_at: 0 },
      }),
      makeFunnelEvent({
        ...{ event_id: id('c'), site_id: site, funnel_id: 'f'.repeat(255), visitor_id: 'ü'.repeat(255) },
        ...{ step_name: LONG, current_step: 65_535, completed_steps: LONG, started_at: 4_102_444_799_999 },
        ...{ event_type: 'conversion', converted: 1 },
      }),
    ];
    await insert(
      'funnel_events',
      rows.map((row) => encodeRowOf('funnel_events', row)),
    );
    const expected = rows.toSorted((a, b) => (a.event_id < b.event_id ? -1 : 1));
    expect(await stored('funnel_events', site)).toEqual(expected.map((row) => Object.values(row)));
  });

  it.each(NEW_TABLES)('stores a block of %s once, also when its answer was lost', async (table) => {
    const site = siteId(`once ${table}`);
    const token = freshName('token');
    const rows = Array.from({ length: 50 }, (_, n) => MAKERS[table](`once ${n}`, site));
    const lost = opened.proxy.loseAnswerTo(opened.commitText);
    await expect(insert(table, rows, token)).rejects.toThrow(StoreUnavailableError);
    await lost;
    await Promise.all([insert(table, rows, token), insert(table, rows, token)]);
    expect(await stored(table, site)).toHaveLength(50);
  });

  it.each(NEW_TABLES)('refuses rows that have not the layout of %s', async (table) => {
    const site = siteId(`layout ${table}`);
    const other = table === 'heat_points' ? 'funnel_events' : 'heat_points';
    const rows = [MAKERS[table]('good', site), MAKERS[other]('other', site), MAKERS.events('event', site)];
    await expect(insert(table, rows)).rejects.toMatchObject({ name: 'RowsRefusedError', badRows: [1, 2] });
    expect(await stored(table, site)).toHaveLength(0);
  });

  it('looks for the id of a row in its own table only', async () => {
    const site = siteId('own table');
    for (const table of ['events', ...NEW_TABLES] as const)
      await insert(table, [MAKERS[table](`only in ${table}`, site), MAKERS[table]('in all', site)]);
    for (const table of ['events', ...NEW_TABLES] as const) {
      const ids = ['events', ...NEW_TABLES].map((name) => raw(`only in ${name}`));
      const asked = { siteId: site, table, ids: [...ids, raw('in none')] };
      const only = new Set([id(`only in ${table}`)]);
      expect(await opened.store.existingIds([asked])).toEqual(only);
      // Known times narrow the search.
      const { timestamp } = makeHeatPoint();
      const inTime = { ...asked, from: timestamp, to: timestamp };
      expect(await opened.store.existingIds([inTime])).toEqual(only);
    }
    // Several tables in one call, and many ids.
    const many = Array.from({ length: 6_000 }, (_, n) => heat(`many ${n}`, { site_id: site }));
    await insert('heat_points', many);
    const found = await opened.store.existingIds([
      { siteId: site, table: 'heat_points', ids: many.map((row) => row.subarray(0, 16)) },
      { siteId: site, table: 'funnel_events', ids: [raw('only in funnel_events')] },
      { siteId: site, table: 'events', ids: [raw('only in heat_points')] },
      { siteId: siteId('nobody'), table: 'heat_points', ids: [raw('in all')] },
    ]);
    expect(found.size).toBe(6_001);
  });

  it('lists the ids received lately of all tables', async () => {
    const since = Date.UTC(2031, 0, 1);
    const site = siteId('recent');
    const at = (received_at: number) => ({ site_id: site, received_at });
    await insert('events', [encodeRow(makeRow({ event_id: id('recent e'), ...at(since) }))]);
    await insert('heat_points', [heat('recent h', at(since)), heat('old h', at(since - 1))]);
    await insert('funnel_events', [funnel('recent f', at(since)), funnel('old f', at(since - 1))]);
    const ids = await opened.store.recentIds(0, 1, since, 10);
    expect(ids?.map((one) => Buffer.from(one).toString('hex')).sort()).toEqual(
      ['recent e', 'recent h', 'recent f'].map(id).sort(),
    );
    expect(await opened.store.recentIds(0, 1, since, 2)).toBeNull();
  });

  it('knows of a quarantined row which table it was for, and from which source', async () => {
    const site = siteId('quarantine');
    const common = { siteId: site, quarantinedAt: 1, reason: '', bytes: Uint8Array.of(1) };
    await opened.store.quarantine(
      [
        { ...common, id: id('q heat'), source: 'heatmap', table: 'heat_points' },
        { ...common, id: id('q funnel'), source: 'funnel', table: 'funnel_events' },
      ],
      freshName('token'),
    );
    const kept = await opened.store.listQuarantine(site, 10);
    expect(kept.map(({ source, table }) => `${source} ${table}`).sort()).toEqual([
      'funnel funnel_events',
      'heatmap heat_points',
    ]);
  });

  it('forgets a site in these tables, too', async () => {
    const [gone, kept] = [siteId('gone'), siteId('kept')];
    for (const site of [gone, kept])
      for (const table of NEW_TABLES) await insert(table, [MAKERS[table](`${site} ${table}`, site)]);
    await opened.store.deleteSite(gone);
    for (const table of NEW_TABLES) {
      expect(await stored(table, gone)).toHaveLength(0);
      expect(await stored(table, kept)).toHaveLength(1);
    }
  });
});
