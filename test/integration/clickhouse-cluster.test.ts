/**
 * The event store on a ClickHouse cluster of two shards beside one on a single server: the same calls, the same answers. The site asked
 * about lies on the shard that the product does not speak to. What the cluster of the tests lacks: support/engines/clickhouse-cluster.ts.
 */
import { setMaxListeners } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ByteWriter } from '../../src/enrich/byte-writer.js';
import { type Filter, parseFilters } from '../../src/metrics/filters.js';
import type { FunnelQuestion } from '../../src/metrics/funnel-metrics.js';
import type { MetricsStore, Scope } from '../../src/metrics/metrics-store.js';
import type { PersonalRow } from '../../src/privacy/personal-store.js';
import { chunkIdOf, type RecordingPart, readPart, writeParts } from '../../src/replays/recording-row.js';
import type { ClickhouseOptions } from '../../src/storage/clickhouse.js';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import { createClickhouseInstanceStats } from '../../src/storage/events/clickhouse-instance-stats.js';
import { createClickhouseMetrics } from '../../src/storage/events/clickhouse-metrics.js';
import { createClickhouseRetention } from '../../src/storage/events/clickhouse-retention.js';
import { createClickhouseHeat } from '../../src/storage/events/heat/clickhouse-heat.js';
import { createClickhousePersonal } from '../../src/storage/events/personal/clickhouse-personal.js';
import { createClickhouseReplays } from '../../src/storage/events/replays/clickhouse-replays.js';
import { createClickhouseSessionFacts } from '../../src/storage/events/sessions/clickhouse-session-facts.js';
import { createClickhouseImported } from '../../src/storage/events/transfer/clickhouse-imported.js';
import { createClickhouseRaw } from '../../src/storage/events/transfer/clickhouse-raw.js';
import { silentTelemetry } from '../../src/telemetry.js';
import {
  CLUSTER,
  type ClickhouseCluster,
  DOUBLING_CLUSTER,
  startClickhouseCluster,
} from '../support/engines/clickhouse-cluster.js';
import { freshClickhouse } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { generateEvents, NEIGHBOUR, randomOf } from '../support/metrics-events.js';
import { encodeRow, encodeRowOf, makeHeatPoint, SITE } from './event-rows.js';

const DAY = 86_400_000;
const HOUR = 3_600_000;
const NOW = Date.parse('2026-11-02T03:37:13Z');
const TODAY = Date.parse('2026-11-02T00:00:00Z');
/** On the first shard, while SITE is on the second. */
const NEAR = '75f1a2b3c4d5e6f708192a3e';
const never = new AbortController().signal;
setMaxListeners(0, never);

/** What counts as settled, hours before NOW. */
let settledHours = 0;
const settled = () => Math.floor((NOW - settledHours * HOUR) / 900_000) * 900_000;
/** Goes on when answers of before are to be asked again. */
let clock = 1;

function open(clickhouse: ClickhouseOptions) {
  const carried = { minRows: 0, settled, clock: () => clock, finished: { minRows: 1e9 } };
  return {
    events: createClickhouseEventStore({ clickhouse, telemetry: silentTelemetry() }),
    metrics: createClickhouseMetrics(clickhouse, { carried }),
    raw: createClickhouseMetrics(clickhouse, { rawOnly: true }),
    personal: createClickhousePersonal(clickhouse),
    retention: createClickhouseRetention(clickhouse),
    heat: createClickhouseHeat(clickhouse),
    replays: createClickhouseReplays(clickhouse),
    imported: createClickhouseImported(clickhouse),
    exports: createClickhouseRaw(clickhouse),
    stats: createClickhouseInstanceStats(clickhouse),
    facts: createClickhouseSessionFacts(clickhouse),
  };
}
type Opened = ReturnType<typeof open>;

let guard: Guard;
let cluster: ClickhouseCluster;
let single: Awaited<ReturnType<typeof freshClickhouse>>;
let clustered: Opened;
let alone: Opened;
const rows = generateEvents(randomOf(11), NOW, 120).events.map((row) => ({
  ...row,
  site_id: row.site_id === NEIGHBOUR ? NEAR : row.site_id,
}));

beforeAll(async () => {
  guard = await Guard.start();
  [cluster, single] = await Promise.all([startClickhouseCluster(guard), freshClickhouse()]);
  clustered = open({ url: cluster.url, database: cluster.database, cluster: CLUSTER });
  alone = open({ url: single.url, database: single.database });
  await both(({ events }) => events.migrate());
}, 60_000);

afterAll(async () => {
  for (const store of [clustered, alone]) for (const part of Object.values(store)) await part.close();
  await Promise.all([cluster.close(), single.drop()]);
  await guard.stop();
});

/** What both say to the same call; of the cluster first. */
const both = <T>(call: (store: Opened) => Promise<T>): Promise<[T, T]> =>
  Promise.all([call(clustered), call(alone)]);

async function same<T>(call: (store: Opened) => Promise<T>): Promise<T> {
  const [onCluster, onOne] = await both(call);
  expect(onCluster).toEqual(onOne);
  return onCluster;
}

/** Asks one server past the product. */
async function direct(url: string, database: string, text: string): Promise<string> {
  const answer = await fetch(`${url}/?database=${database}`, { method: 'POST', body: text });
  const body = await answer.text();
  if (!answer.ok) throw new Error(body);
  return body;
}

/** The first column of a query. */
async function values(url: string, database: string, query: string): Promise<unknown[]> {
  const { data }: { data: unknown[][] } = JSON.parse(
    await direct(url, database, `${query} FORMAT JSONCompact`),
  );
  return data.map(([value]) => value);
}

/** Of each shard. */
const onShards = (query: string) =>
  Promise.all(cluster.shards.map((url) => values(url, cluster.database, query)));

/** A share of the events as if it arrived some hours before NOW, sent twice as after a lost answer. */
async function arrive(part: number, parts: number, hoursAgo: number): Promise<void> {
  const servers = [
    ...cluster.shards.map((url) => ({ url, database: cluster.database })),
    { url: single.url, database: single.database },
  ];
  for (const { url, database } of servers) {
    const [view] = await values(url, database, VIEW);
    const at = `toDateTime(${Math.floor((NOW - hoursAgo * HOUR) / 1000)}, 'UTC')`;
    const query = String(view).replace(/now\('UTC'\)|toDateTime\(\d+, 'UTC'\)/, at);
    await direct(
      url,
      database,
      `ALTER TABLE session_slots_view MODIFY QUERY ${query.replace('\uFFFD', '\\xFF')}`,
    );
  }
  const share = rows.filter((_, i) => i % parts === part).map(encodeRow);
  for (let time = 0; time < 2; time++)
    await both(({ events }) => events.insertRows('events', share, `part-${part}`, Date.now() + 60_000));
}

const VIEW =
  "SELECT as_select FROM system.tables WHERE name = 'session_slots_view' AND database = currentDatabase()";

const FILTERS: readonly (readonly Filter[])[] = [[], parseFilters({ country: 'de', page_path: '~docs' })];

async function figures(store: MetricsStore, of: Scope): Promise<unknown> {
  const starts = Array.from({ length: 15 }, (_, i) => of.from + i * DAY);
  const unordered = (list: readonly unknown[]) => list.map((one) => JSON.stringify(one)).sort();
  const wanted = [
    { attribute: 'country_code', missing: '', limit: undefined },
    { attribute: 'channel', missing: 'Direct', limit: 3 },
  ] as const;
  return Promise.all([
    store.totals(of, never),
    store.returningVisitors(of, never),
    store.timeline(of, starts, never),
    store.breakdowns(of, wanted, never),
    store.places(of, 'city', 'Unknown', 10, never),
    store.pages(of, 'visitors', 10, never),
    store.pages(of, 'exits', 10, never),
    store.eventTypes(of, 10, never),
    store.eventTimeline(of, starts, never),
    store.cohorts(of.siteId, starts, never).then(unordered),
    store.properties(of, 'click', 10, never),
    store.webVitals(of, never).then(unordered),
    store.goals(of, [{ on: 'event', type: 'signup' }], never),
    store.funnel(of, FUNNEL, never),
  ]);
}

const FUNNEL: FunnelQuestion = {
  steps: [
    { on: 'page', how: 'contains', text: '/' },
    { on: 'event', type: 'click' },
  ],
  order: 'ordered',
  windowMs: DAY,
};

let turn = 0;

/** Figures of both stores, of the cluster carried on from before, with one of the filters in turn. */
async function compare(): Promise<void> {
  clock += 60_000;
  const filters = FILTERS[turn++ % FILTERS.length] ?? [];
  const scope = { ...of(SITE), filters };
  const [onCluster, onOne] = await Promise.all([
    figures(clustered.metrics, scope),
    figures(alone.raw, scope),
  ]);
  expect(onCluster).toEqual(onOne);
}

describe('a ClickHouse cluster', () => {
  it('gets its tables on every shard, once', async () => {
    const tables = 'SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name';
    const [first = [], second] = await onShards(tables);
    expect(first).toEqual(second);
    expect(first).toEqual(expect.arrayContaining(['events', 'events_local', 'session_slots_view']));
    const before = cluster.distributed.length;
    await clustered.events.migrate();
    expect(cluster.distributed.slice(before)).toEqual([expect.stringContaining('schema_migrations')]);
  });

  it.each([
    ['absent', /has no such cluster/],
    [DOUBLING_CLUSTER, /internal_replication/],
  ])('does not start on a cluster that cannot hold its promises: %s', async (name, reason) => {
    const { events, ...others } = open({ url: cluster.url, database: 'refused', cluster: name });
    await expect(events.migrate()).rejects.toThrow(reason);
    await Promise.all([events, ...Object.values(others)].map((part) => part.close()));
    expect(await onShards("SELECT count() FROM system.databases WHERE name = 'refused'")).toEqual([[0], [0]]);
  });

  it('keeps a block that is sent twice once, each site on a shard of its own', async () => {
    for (const part of [0, 1]) await arrive(part, 4, 30 - part);
    const sent = (site: string) => rows.filter((row, i) => i % 4 < 2 && row.site_id === site).length;
    const ofSites = 'SELECT count() FROM events_local GROUP BY site_id';
    expect(await onShards(ofSites)).toEqual([[sent(NEAR)], [sent(SITE)]]);
    const ids = rows.filter((_, i) => i % 4 < 2).map((row) => row.event_id);
    const asked = { siteId: SITE, table: 'events' as const, ids: ids.map((id) => Buffer.from(id, 'hex')) };
    expect((await same(({ events }) => events.existingIds([asked]))).size).toBe(sent(SITE));
    const recent = async ({ events }: Opened) => {
      const found = await events.recentIds(0, 1, 0, 1_000_000);
      return found?.map((id) => Buffer.from(id).toString('hex')).sort();
    };
    expect(await same(recent)).toHaveLength(ids.length);
    const books = {
      siteId: SITE,
      hour: NOW - (NOW % HOUR),
      source: 'event',
      received: 3,
      stored: 3,
    } as const;
    const entry = { ...books, duplicate: 0, bot: 0, rejected: 0, quarantined: 0 };
    for (let time = 0; time < 2; time++) await both(({ events }) => events.addToBooks([entry], 'books'));
    expect(await same(({ events }) => events.books(SITE, 0, NOW))).toMatchObject([{ received: 3 }]);
  });

  it('answers as one server does while events arrive', async () => {
    settledHours = 26;
    for (const _ of FILTERS) await compare();
    await arrive(2, 4, 3);
    for (const _ of FILTERS) await compare();
    settledHours = 2;
    await compare();
    await arrive(3, 4, 1);
    for (const _ of FILTERS) await compare();
  });

  it('answers what else is asked: instances, automations, exports', async () => {
    const row = rows.find(({ site_id, kind }) => site_id === SITE && kind === 1);
    await same(({ stats }) => stats.totals(TODAY, never));
    await same(({ stats }) => stats.ofSites([SITE, NEAR], TODAY - 7 * DAY, TODAY, never));
    await same(({ facts }) => facts.sessionFacts(SITE, row?.visitor_id ?? '', row?.session_id ?? '', NOW));
    const asked = { siteId: SITE, from: TODAY - 5 * DAY, to: NOW, bots: 'include', after: null } as const;
    const exported = async ({ exports }: Opened) => collected(exports.read(asked, never));
    expect((await same(exported)).length).toBeGreaterThan(50);
    await same(({ raw }) => figures(raw, of(SITE)));
    await same(({ metrics }) => figures(metrics, of(NEAR)));
    await same(({ raw }) => raw.live(SITE, TODAY, never));
    await same(({ raw }) => raw.propertyValues(of(SITE), 'click', 'n', 10, never));
    await same(({ raw }) => raw.countEventTypes(of(SITE), never));
  });

  it('forgets a visitor, on whichever shard', async () => {
    const visitor = rows.find((row) => row.site_id === SITE)?.visitor_id ?? '';
    expect(await same(({ personal }) => personal.sessionsOf(SITE, visitor).then(sorted))).not.toEqual([]);
    await both(({ personal }) => personal.deleteVisitor(SITE, visitor));
    expect(await same(({ personal }) => personal.sessionsOf(SITE, visitor))).toEqual([]);
    await compare();
    await clustered.personal.rewritten(AbortSignal.timeout(20_000));
    const masked =
      'SELECT DISTINCT table FROM system.parts WHERE database = currentDatabase() AND active AND has_lightweight_delete';
    expect(await onShards(masked)).toEqual([[], []]);
  });

  it('keeps what was refused, and gives it back', async () => {
    const entry = { siteId: SITE, source: 'event', table: 'events', quarantinedAt: NOW } as const;
    const refused = ['1', '2'].map((n) => ({
      ...{ ...entry, id: n.repeat(32), reason: 'why', bytes: Buffer.from(`row ${n}`) },
    }));
    for (let time = 0; time < 2; time++) await both(({ events }) => events.quarantine(refused, 'refused'));
    expect(await same(({ events }) => events.listQuarantine(SITE, 10))).toHaveLength(2);
    const taken = await same(({ events }) => events.takeQuarantined(SITE, ['1'.repeat(32)]));
    expect(taken).toMatchObject([{ reason: 'why' }]);
    expect(await same(({ events }) => events.listQuarantine(SITE, 10))).toHaveLength(1);
  });

  it('has maps, and deletes their pages', async () => {
    const points = Array.from({ length: 50 }, (_, i) =>
      makeHeatPoint({
        ...{ event_id: (i + 1).toString(16).padStart(32, '0'), site_id: SITE, x: i % 5, y: 0 },
        ...{ page: i % 2 ? '/a' : '/b', timestamp: NOW, received_at: NOW },
      }),
    );
    const block = points.map((point) => encodeRowOf('heat_points', point));
    const map = { siteId: SITE, page: '/a', type: 'click', device: undefined, from: 0, to: NOW } as const;
    const pages = ({ heat }: Opened) => heat.pages(SITE, { from: 0, to: NOW }, 10, 0, never);
    await both(({ events }) => events.insertRows('heat_points', block, 'points', Date.now() + 60_000));
    expect(await same(({ heat }) => heat.cells(map, 10, never))).toHaveLength(5);
    expect(await same(({ heat }) => heat.trackedPages(SITE, 10, never))).toEqual(['/a', '/b']);
    await same(pages);
    await both(({ heat }) => heat.deletePages(SITE, ['/a'], NOW));
    await both(({ events }) => events.insertRows('heat_points', block, 'late', Date.now() + 60_000));
    expect(await same(({ heat }) => heat.cells(map, 10, never))).toEqual([]);
    await same(pages);
    expect(await same(({ heat }) => heat.sweep())).toBe(1);
    expect(await onShards("SELECT count() FROM heat_points_local WHERE page = '/a'")).toEqual([[0], [0]]);
  });

  it('has recordings, moves and removes them', async () => {
    const parts = ['one', 'two'].map((session) => partOf(session));
    const keys = parts.map(({ sessionKey }) => sessionKey);
    const [first = '', second = ''] = keys;
    const placed = parts.map((part, i) => ({ part, objectKey: `object-${i}`, offset: 0 }));
    const deadline = Date.now() + 60_000;
    const noted = ['object-0', 'object-1', 'lost'].map((objectKey) => ({
      ...{ siteId: SITE, objectKey, writtenAt: NOW },
    }));
    for (let time = 0; time < 2; time++) {
      await both(({ replays }) => replays.noteObjects(noted));
      await both(({ replays }) => replays.insertParts(placed, 'parts', deadline));
    }
    const sessions = ({ replays }: Opened) => replays.sessions({ siteId: SITE, limit: 10, offset: 0 });
    expect(await same(sessions)).toHaveLength(2);
    const lost = { since: 0, before: NOW + 1, limit: 10 };
    expect(await same(({ replays }) => replays.orphans(lost))).toMatchObject([{ objectKey: 'lost' }]);
    await both(({ replays }) =>
      replays.move(SITE, [{ eventId: parts[1]?.eventId ?? '', objectKey: 'moved', offset: 7 }]),
    );
    const held = await same(({ replays }) => replays.partsIn(SITE, ['object-1', 'moved']));
    expect(held).toMatchObject([{ objectKey: 'moved', offset: 7 }]);
    await both(({ replays }) => replays.bury(SITE, [first], NOW));
    expect(await same(({ replays }) => replays.buried(SITE, keys))).toEqual(new Set([first]));
    expect(await same(({ replays }) => replays.haunting(0, 10))).toHaveLength(1);
    expect(await same(sessions)).toHaveLength(1);
    await both(({ replays }) => replays.removeObjects(SITE, ['object-0']));
    expect(await same(({ replays }) => replays.haunting(0, 10))).toEqual([]);
    expect(await same(({ replays }) => replays.partsOf(SITE, second, 10))).toHaveLength(1);
  });

  it('undoes an import', async () => {
    const imported = rows.filter((row) => row.site_id === SITE).slice(0, 40);
    const again = imported.map((row, i) => ({
      ...row,
      event_id: (0xf000 + i).toString(16).padStart(32, '0'),
    }));
    const added = again.map(({ event_id: id, timestamp, visitor_id, session_id }) => ({
      ...{ id, timestamp, visitorId: visitor_id, sessionId: session_id },
    }));
    for (let time = 0; time < 2; time++) await both((store) => store.imported.note(SITE, 'import', 1, added));
    expect((await same((store) => store.imported.noted(SITE, 'import', 1))).size).toBe(40);
    const block = again.map(encodeRow);
    await both(({ events }) => events.insertRows('events', block, 'imported', Date.now() + 60_000));
    const events = "SELECT count() FROM events_local WHERE event_id >= unhex(leftPad('f000', 32, '0'))";
    expect(await onShards(events)).toEqual([[0], [40]]);
    await both((store) => store.imported.undo(SITE, 'import'));
    expect(await onShards(events)).toEqual([[0], [0]]);
    await compare();
    await both((store) => store.imported.forget(SITE, 'import'));
    expect(await same((store) => store.imported.imports())).toEqual([]);
  });

  it('removes what has expired', async () => {
    const expiries = [SITE, NEAR].map((siteId) => ({ siteId, before: TODAY - 6 * DAY }));
    const removed = await same(({ retention }) => retention.deleteExpired(expiries, Date.now() + 60_000));
    expect(removed.rows.get('events')).toBeGreaterThan(50);
    await compare();
  });

  it('makes a website anonymous, and a repair counts nothing twice', async () => {
    const visitors = ({ personal }: Opened) => idsOf(personal.rows('events', SITE, null, never));
    const before = await same(visitors);
    await both(({ personal }) => personal.anonymise(SITE, { before: NOW, salt: 'ab'.repeat(16) }));
    const after = await same(visitors);
    expect(after).toHaveLength(before.length);
    expect(after.filter((id) => before.includes(id))).toEqual([]);
    const range = { backMs: 400 * DAY, validUntil: () => Date.now() + 60_000 };
    await both(({ events }) => events.repair(0, 1, range));
    for (const _ of FILTERS) await compare();
  });

  it('forgets a website on all shards, and no other', async () => {
    const kept = await same(({ raw }) => figures(raw, of(NEAR)));
    await both(({ personal }) => personal.deleteSite(SITE));
    const tables = await values(
      ...([cluster.shards[0] ?? '', cluster.database] as const),
      "SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'site_id' AND table LIKE '%_local'",
    );
    expect(tables.length).toBeGreaterThan(8);
    for (const table of tables)
      expect(await onShards(`SELECT count() FROM ${table} WHERE site_id = '${SITE}'`)).toEqual([[0], [0]]);
    clock += 60_000;
    expect(await same(({ metrics }) => metrics.totals(of(SITE), never))).toMatchObject({
      sessions: 0,
      views: 0,
    });
    expect(await same(({ raw }) => figures(raw, of(NEAR)))).toEqual(kept);
  });
});

const sorted = (list: readonly string[]): string[] => [...list].sort();
const of = (siteId: string): Scope => ({ siteId, from: TODAY - 13 * DAY, to: NOW, filters: [] });

async function collected<T>(batches: AsyncIterable<readonly T[]>): Promise<T[]> {
  const all: T[] = [];
  for await (const batch of batches) all.push(...batch);
  return all;
}

async function idsOf(batches: AsyncIterable<PersonalRow[]>): Promise<string[]> {
  return (await collected(batches)).map((row) => String(row.visitor_id)).sort();
}

function partOf(sessionId: string): RecordingPart {
  const out = new ByteWriter(1_024);
  const data = Buffer.from(sessionId);
  const chunk = {
    ...{
      siteId: SITE,
      sessionId,
      sequence: 0,
      receivedAt: NOW,
      firstMs: NOW - 1_000,
      lastMs: NOW,
      page: '/',
    },
    ...{ count: 1, rawBytes: 10, browser: '', os: '', device: '', countryCode: '' },
    ...{ hasFullSnapshot: true, clicks: 0, rageClicks: 0, errors: 0 },
  };
  writeParts(out, chunk, chunkIdOf(SITE, sessionId, 0, data), data, 0);
  // Behind the length of the record and its flags.
  return readPart(new Uint8Array(out.take()).subarray(5));
}
