/** Heatmaps of both event stores against the obvious way to count, and what deleting a page means. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HEAT_DEVICES, HEAT_TYPES } from '../../src/events/heat.js';
import type { HeatPointRow } from '../../src/events/row-decoder.js';
import type { HeatCell, HeatScope, HeatStore } from '../../src/heatmaps/heat-store.js';
import { compareBytes } from '../../src/metrics/figures.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createClickhouseHeat } from '../../src/storage/events/heat/clickhouse-heat.js';
import { createPostgresHeat } from '../../src/storage/events/heat/postgres-heat.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse, freshName, freshPostgres } from '../support/fresh.js';
import { randomOf } from '../support/metrics-events.js';
import { encodeRowOf, makeHeatPoint, SITE } from './event-rows.js';

/** Of today: what is known of deletions lives for forty days. */
const NOW = Date.now();
const DAY = 86_400_000;
const ALL = { from: 0, to: NOW + DAY };
const OTHER = 'f'.repeat(24);
const HOSTILE = `/it's "a" \\ page\n, ['x'] %_ ü`;
const PAGES = ['/', '/a', '/A', '/a/b', HOSTILE, `/${'long'.repeat(500)}`];
const never = new AbortController().signal;

const random = randomOf(20_260_601);
const oneOf = <T>(values: readonly [T, ...T[]] | readonly T[]): T => {
  const value = values[Math.floor(random() * values.length)];
  if (value === undefined) throw new Error('nothing to choose from');
  return value;
};

let serial = 0;
const nextId = () => (++serial).toString(16).padStart(32, '0');
const point = (changes: Partial<HeatPointRow>): HeatPointRow =>
  makeHeatPoint({ event_id: nextId(), ...changes });

const points = Array.from({ length: 3_000 }, () => {
  const timestamp = NOW - Math.floor(random() * 40 * DAY);
  return point({
    timestamp,
    received_at: timestamp + 500,
    site_id: random() < 0.9 ? SITE : OTHER,
    page: oneOf(PAGES),
    point_type: oneOf(HEAT_TYPES),
    device: oneOf(HEAT_DEVICES),
    x: oneOf([-40, 0, 499, 500, 1100]),
    y: oneOf([0, 50, 75, 100, 1000, 1050]),
    selector: oneOf(['', 'a', 'b#ü', 'B']),
    count: 1 + Math.floor(random() * 3),
  });
});

const sum = (rows: readonly HeatPointRow[]) => rows.reduce((total, { count }) => total + count, 0);

function groupBy(rows: readonly HeatPointRow[], key: (row: HeatPointRow) => string) {
  const groups = new Map<string, HeatPointRow[]>();
  for (const row of rows) groups.set(key(row), [...(groups.get(key(row)) ?? []), row]);
  return [...groups.values()];
}

function within(site: string, { from, to }: { from: number; to: number }): HeatPointRow[] {
  return points.filter((row) => row.site_id === site && row.timestamp >= from && row.timestamp <= to);
}

const inScope = (scope: HeatScope) =>
  within(scope.siteId, scope).filter(
    (row) =>
      row.page === scope.page &&
      row.point_type === scope.type &&
      (scope.device === undefined || row.device === scope.device),
  );

function naiveElements(rows: readonly HeatPointRow[]) {
  return groupBy(rows, (row) => row.selector)
    .map((same) => ({ selector: same[0]?.selector ?? '', count: sum(same) }))
    .sort((a, b) => b.count - a.count || compareBytes(a.selector, b.selector));
}

function naiveCells(scope: HeatScope): HeatCell[] {
  return groupBy(inScope(scope), (row) => `${row.x} ${row.y}`)
    .map((same) => {
      return {
        x: same[0]?.x ?? 0,
        y: same[0]?.y ?? 0,
        count: sum(same),
        selector:
          same
            .map(({ selector }) => selector)
            .sort(compareBytes)
            .at(-1) ?? '',
        lastSeen: Math.max(...same.map(({ timestamp }) => timestamp)),
      };
    })
    .sort((a, b) => b.count - a.count || a.y - b.y || a.x - b.x);
}

function naivePages(site: string, range: { from: number; to: number }) {
  const of = (rows: readonly HeatPointRow[], type: string) => rows.filter((row) => row.point_type === type);
  return groupBy(within(site, range), (row) => row.page)
    .map((same) => ({
      page: same[0]?.page ?? '',
      views: sum(of(same, 'pageview')),
      clicks: sum(of(same, 'click')),
      loads: sum(of(same, 'scroll').filter(({ y }) => y === 0)),
      bands: sum(of(same, 'scroll').filter(({ y }) => y >= 50 && y <= 1000 && y % 50 === 0)),
    }))
    .sort((a, b) => b.clicks - a.clicks || b.views - a.views || compareBytes(a.page, b.page));
}

const RANGES = [
  ALL,
  { from: NOW - 20 * DAY, to: NOW },
  { from: NOW - 40 * DAY, to: NOW - 30 * DAY },
  { from: NOW + 1, to: NOW + 2 },
];

interface Opened {
  readonly events: EventStore;
  readonly heat: HeatStore;
  /** Rows of a table, whatever the store shows of them. */
  stored(table: 'heat_points' | 'heat_deletions', site: string): Promise<number>;
  close(): Promise<void>;
}

const openers = {
  async clickhouse(): Promise<Opened> {
    const fresh = await freshClickhouse();
    const events = createClickhouseEventStore({ clickhouse: fresh, telemetry: silentTelemetry() });
    await events.migrate();
    const heat = createClickhouseHeat(fresh);
    return {
      events,
      heat,
      async stored(table, site) {
        const query = `SELECT count() FROM ${table} WHERE site_id = '${site}' FORMAT TSV`;
        const answer = await fetch(`${fresh.url}/?database=${fresh.database}`, {
          method: 'POST',
          body: query,
        });
        return Number(await answer.text());
      },
      async close() {
        await Promise.all([events.close(), heat.close()]);
        await fresh.drop();
      },
    };
  },
  async postgres(): Promise<Opened> {
    const fresh = await freshPostgres();
    const options = { url: fresh.url, maxConnections: 4, minConnections: 0, telemetry: silentTelemetry() };
    const events = createPostgresEventStore(options);
    await events.migrate();
    const heat = createPostgresHeat({ ...options, telemetry: silentTelemetry() });
    const client = new pg.Client({ connectionString: fresh.url });
    await client.connect();
    return {
      events,
      heat,
      async stored(table, site) {
        const { rows } = await client.query(`SELECT count(*)::int AS n FROM ${table} WHERE site_id = $1`, [
          site,
        ]);
        return rows[0].n;
      },
      async close() {
        await client.end();
        await Promise.all([events.close(), heat.close()]);
        await fresh.drop();
      },
    };
  },
};

describe.each(['clickhouse', 'postgres'] as const)('heatmaps on %s', (kind) => {
  let opened: Opened;
  let heat: HeatStore;

  const insert = (rows: readonly HeatPointRow[]) =>
    opened.events.insertRows(
      'heat_points',
      rows.map((row) => encodeRowOf('heat_points', row)),
      freshName('token'),
      Date.now() + 20_000,
    );

  beforeAll(async () => {
    opened = await openers[kind]();
    heat = opened.heat;
    await insert(points);
  });
  afterAll(() => opened?.close());

  it('count cells as the naive way does, by range, device and type', async () => {
    let cells = 0;
    for (const range of RANGES)
      for (const page of PAGES)
        for (const [i, type] of HEAT_TYPES.entries()) {
          const device = [undefined, ...HEAT_DEVICES][i % 4];
          const scope = { siteId: SITE, page, type, device, ...range };
          const expected = naiveCells(scope);
          cells += expected.length;
          expect(await heat.cells(scope, 5_000, never)).toEqual(expected);
        }
    expect(cells).toBeGreaterThan(1_000);
    const scope = { siteId: SITE, page: '/a', type: 'click', device: undefined, ...ALL } as const;
    expect(await heat.cells(scope, 3, never)).toEqual(naiveCells(scope).slice(0, 3));
  });

  it('list pages, elements and types', async () => {
    for (const range of RANGES) {
      const pages = naivePages(SITE, range);
      expect(await heat.pages(SITE, range, 100, 0, never)).toEqual({ rows: pages, total: pages.length });
      if (pages.length > 0)
        expect(await heat.pages(SITE, range, 2, 3, never)).toEqual({
          rows: pages.slice(3, 5),
          total: pages.length,
        });
      const scope = { siteId: SITE, page: '/a', type: 'click', device: undefined, ...range } as const;
      const elements = naiveElements(inScope(scope).filter(({ selector }) => selector !== ''));
      expect(await heat.topElements(scope, 20, never)).toEqual(elements);
      expect(await heat.topElements(scope, 1, never)).toEqual(elements.slice(0, 1));
      const totals = Object.fromEntries(
        HEAT_TYPES.map((type) => [type, sum(within(SITE, range).filter((row) => row.point_type === type))]),
      );
      expect(await heat.typeTotals(SITE, range, never)).toEqual(totals);
    }
    expect(await heat.trackedPages(SITE, 100, never)).toEqual(PAGES.toSorted(compareBytes));
    expect(await heat.trackedPages(SITE, 2, never)).toEqual(PAGES.toSorted(compareBytes).slice(0, 2));
    expect(await heat.trackedPages('0'.repeat(24), 2, never)).toEqual([]);
  });

  it('forget deleted pages for good, and other pages and sites not', async () => {
    const [site, other] = ['a1'.repeat(12), 'a2'.repeat(12)];
    for (const site_id of [site, other])
      await insert(
        [...PAGES, '/kept'].map((page) => point({ site_id, page, received_at: NOW, timestamp: NOW })),
      );
    const many = Array.from({ length: 300 }, (_, n) => `/none/${'n'.repeat(300)}/${n}`);
    await heat.deletePages(site, [...PAGES, ...many], NOW);
    expect(await opened.stored('heat_points', site)).toBe(1);
    expect(await opened.stored('heat_points', other)).toBe(PAGES.length + 1);
    expect(await heat.trackedPages(site, 10, never)).toEqual(['/kept']);
  });

  it('never show points of a deleted page that come out of the stream later, but those received later', async () => {
    const site = 'b1'.repeat(12);
    const at = (received_at: number, changes: Partial<HeatPointRow> = {}) =>
      point({ site_id: site, page: HOSTILE, timestamp: NOW, received_at, selector: 'a', ...changes });
    await insert([at(NOW)]);
    await heat.deletePages(site, [HOSTILE], NOW);
    // A second deletion with an earlier clock must not take the first one back.
    await heat.deletePages(site, [HOSTILE], NOW - DAY);
    await insert([at(NOW - 1), at(NOW)]);
    const scope = { siteId: site, page: HOSTILE, type: 'click', device: undefined, ...ALL } as const;
    const seen = async () => [
      (await heat.cells(scope, 10, never)).map(({ count }) => count),
      (await heat.topElements(scope, 10, never)).map(({ count }) => count),
      (await heat.pages(site, ALL, 10, 0, never)).rows.map(({ clicks }) => clicks),
      await heat.trackedPages(site, 10, never),
      (await heat.typeTotals(site, ALL, never)).click,
    ];
    expect(await opened.stored('heat_points', site)).toBe(2);
    expect(await seen()).toEqual([[], [], [], [], 0]);

    await insert([at(NOW + 1, { count: 2 }), at(NOW, { page: '/other' })]);
    expect((await seen()).slice(0, 2)).toEqual([[2], [2]]);
    expect(await heat.trackedPages(site, 10, never)).toEqual([HOSTILE, '/other'].toSorted(compareBytes));
    expect(await heat.sweep()).toBe(1);
    expect(await opened.stored('heat_points', site)).toBe(2);
    expect((await seen()).slice(0, 2)).toEqual([[2], [2]]);
    expect(await heat.sweep()).toBe(0);
  });

  it('are gone with their site, and so is what is known of deleted pages', async () => {
    const site = 'c1'.repeat(12);
    await insert([point({ site_id: site, page: '/kept' })]);
    await heat.deletePages(site, ['/x'], NOW);
    expect(await opened.stored('heat_deletions', site)).toBe(1);
    await opened.events.deleteSite(site);
    expect(await opened.stored('heat_points', site)).toBe(0);
    expect(await opened.stored('heat_deletions', site)).toBe(0);
  });

  it('end a question whose caller has left', async () => {
    const caller = AbortSignal.abort(new Error('gone'));
    await expect(heat.trackedPages(SITE, 1, caller)).rejects.toThrow('gone');
  });
});
