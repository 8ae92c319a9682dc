/** Visitors of trackers that send no visitor id: how they count, and that their keys are destroyed. */
import { randomBytes } from 'node:crypto';
import Type from 'typebox';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFailed } from 'vitest';
import { openDailySalts } from '../../src/privacy/daily-salts.js';
import type { MetadataStore } from '../../src/storage/metadata/metadata.js';
import { createMetadataStore } from '../../src/storage/metadata/postgres-store.js';
import { silentTelemetry } from '../../src/telemetry.js';
import type { Site } from '../support/api.js';
import { freshPostgres } from '../support/fresh.js';
import { until } from '../support/wait.js';
import { type PrivacyProgram, parse, startPrivacyProgram } from './privacy-program.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const Accepted = Type.Object({
  event_id: Type.String(),
  visitor_id: Type.String(),
  session_id: Type.String(),
});

describe.each(['clickhouse', 'postgres'] as const)('events without a visitor id on %s', (kind) => {
  let node: PrivacyProgram;
  let site: Site;

  beforeAll(async () => {
    node = await startPrivacyProgram(kind);
    site = await node.site();
  });
  beforeEach(() => onTestFailed(() => node.program.showLog()));
  afterAll(() => node?.stop());

  const ADDRESS = '203.0.113.77';
  const from = (address: string, agent?: string) => ({
    'x-forwarded-for': address,
    ...(agent === undefined ? {} : { 'user-agent': agent }),
  });
  const record = async (event: object, headers: Record<string, string>, of = site) => {
    const { status, body } = await node.send('analytics/event', { website_id: of.siteId, ...event }, headers);
    expect(status).toBe(201);
    return parse(Accepted, body);
  };

  it('are of one visitor by address and browser, once, and the address is stored nowhere', async () => {
    const other = await node.site();
    const timestamp = new Date().toISOString();
    const first = await record({ page: '/a', timestamp }, from(ADDRESS));
    expect(first.visitor_id).toMatch(/^[0-9a-f]{32}$/);
    expect(first.session_id).toBe(`${first.visitor_id}:${timestamp.slice(0, 10)}`);
    const again = await record({ page: '/a', timestamp }, from(ADDRESS));
    expect(again).toEqual(first);
    const agent = 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0';
    const ids = [
      first.visitor_id,
      (await record({ page: '/b', timestamp, visitor_id: '' }, from('203.0.113.78'))).visitor_id,
      (await record({ page: '/b', timestamp, visitor_id: null }, from(ADDRESS, agent))).visitor_id,
      (await record({ page: '/b', timestamp }, from(ADDRESS), other)).visitor_id,
    ];
    expect(new Set(ids).size).toBe(4);
    const kept = await record({ page: '/b', timestamp, visitor_id: 'own', session_id: 's' }, from(ADDRESS));
    expect(kept).toMatchObject({ visitor_id: 'own', session_id: 's' });
    const events = [
      { page: '/c', timestamp },
      { page: '/d', timestamp },
    ];
    const batch = { siteId: site.siteId, events };
    expect((await node.send('analytics/batch', batch, from(ADDRESS))).body).toMatchObject({
      events_count: 2,
      rejected: 0,
    });
    expect(await node.booked(site, 7)).toMatchObject({ stored: 6, duplicate: 1, rejected: 0 });
    const figures = await until(
      async () => {
        const found = await node.api.dashboard(site);
        return found.page_views === 6 ? found : undefined;
      },
      { what: 'six page views' },
    );
    // Three made visitors' days and one that brought its own ids; the first one's batch is of its session.
    expect(figures).toMatchObject({ unique_visitors: 4, total_visitors: 4 });
    for (const table of ['events', 'bot_events', 'ingest_books', 'quarantine'])
      expect(JSON.stringify(await node.rows(`SELECT * FROM ${table}`))).not.toContain(ADDRESS);
    expect(await node.program.log()).not.toContain(ADDRESS);
  });

  it('count in funnels as the same visitors', async () => {
    const { visitor_id } = await record({ page: '/shop' }, from('203.0.113.90'));
    const body = { website_id: site.siteId, funnel_id: 'f', event_type: 'start' };
    expect((await node.send('funnels/track', body, from('203.0.113.90'))).status).toBe(200);
    const [row] = await until(
      async () => {
        const found = await node.rows('SELECT visitor_id, session_id FROM funnel_events');
        return found.length > 0 ? found : undefined;
      },
      { what: 'a funnel event' },
    );
    expect(row).toEqual({ visitor_id, session_id: expect.stringContaining(`${visitor_id}:20`) });
  });
});

describe('the keys of the days', () => {
  let database: Awaited<ReturnType<typeof freshPostgres>>;
  let metadata: MetadataStore;
  const opened: { close(): Promise<void> }[] = [];
  const clock = { ms: 0 };

  beforeAll(async () => {
    database = await freshPostgres();
    metadata = await createMetadataStore({
      ...{ url: database.url, maxConnections: 4, minConnections: 0, telemetry: silentTelemetry() },
    });
  });
  afterEach(async () => {
    for (const salts of opened.splice(0)) await salts.close();
    await metadata.visitorSalts.destroy(new Date(8e15), '9999-12-31');
  });
  afterAll(async () => {
    await metadata?.close();
    await database?.drop();
  });

  const open = async (store = metadata.visitorSalts) => {
    const salts = await openDailySalts({ store, telemetry: silentTelemetry(), now: () => clock.ms });
    opened.push(salts);
    return salts;
  };
  const hex = (salts: { current(): readonly { day: number; key: Uint8Array }[] }) =>
    salts
      .current()
      .map(
        ({ day, key }) => `${new Date(day).toISOString().slice(0, 10)} ${Buffer.from(key).toString('hex')}`,
      );

  it('are random, one a day, and the same on all nodes, also after a restart', async () => {
    clock.ms = Date.UTC(2026, 4, 20, 13);
    const [a, b] = await Promise.all([open(), open()]);
    expect(hex(a)).toEqual(hex(b));
    expect(hex(a)).toEqual([expect.stringMatching(/^2026-05-20 [0-9a-f]{64}$/)]);
    clock.ms += DAY;
    await b.refresh();
    await a.refresh();
    expect(hex(a)).toHaveLength(2);
    expect(new Set(hex(a).map((text) => text.slice(11))).size).toBe(2);
    const restarted = await open();
    expect(hex(restarted).sort()).toEqual(hex(a).sort());
  });

  it('are there before midnight', async () => {
    clock.ms = Date.UTC(2026, 4, 20, 22, 59);
    const salts = await open();
    expect(hex(salts)).toHaveLength(1);
    clock.ms = Date.UTC(2026, 4, 20, 23, 30);
    await salts.refresh();
    const before = hex(salts);
    expect(before).toHaveLength(2);
    clock.ms = Date.UTC(2026, 4, 21, 0, 30);
    await salts.refresh();
    expect(hex(salts)).toEqual(before);
  });

  it('are gone 48 hours after they were made, from memory and from the database', async () => {
    const made = Date.UTC(2026, 4, 19, 23, 5);
    clock.ms = made;
    const salts = await open();
    const key = salts.current().find(({ day }) => day === Date.UTC(2026, 4, 20))?.key ?? new Uint8Array(0);
    const text = Buffer.from(key).toString('hex');
    expect(text).toMatch(/^[0-9a-f]{64}$/);
    clock.ms = made + 2 * DAY - 1;
    await salts.refresh();
    expect(hex(salts).join()).toContain(text);
    expect(await metadata.visitorSalts.find('2026-05-20')).not.toBeNull();
    // Memory does not wait for the next round.
    clock.ms = made + 2 * DAY;
    expect(hex(salts).join()).not.toContain(text);
    expect(Buffer.from(key).toString('hex')).toBe('0'.repeat(64));
    await salts.refresh();
    expect(await metadata.visitorSalts.find('2026-05-20')).toBeNull();
    expect(await metadata.visitorSalts.find('2026-05-21')).not.toBeNull();
  });

  it('of before a long stop are destroyed by the next start', async () => {
    clock.ms = Date.UTC(2026, 4, 20, 13);
    await (await open()).close();
    expect(await metadata.visitorSalts.find('2026-05-20')).not.toBeNull();
    clock.ms = Date.UTC(2026, 4, 22, 0, 1);
    const salts = await open();
    expect(await metadata.visitorSalts.find('2026-05-20')).toBeNull();
    expect(hex(salts)).toHaveLength(1);
  });

  it('are made here while the database is away, and shared again when it is back', async () => {
    clock.ms = Date.UTC(2026, 4, 20, 13);
    const faults = { away: true };
    const key = Uint8Array.from(randomBytes(32));
    await metadata.visitorSalts.share('2026-05-20', key, new Date(clock.ms));
    const store = {
      ...metadata.visitorSalts,
      destroy: async (madeBefore: Date, day: string) => {
        if (faults.away) throw new Error('away');
        return metadata.visitorSalts.destroy(madeBefore, day);
      },
    };
    const salts = await open(store);
    const own = hex(salts);
    expect(own).toHaveLength(1);
    await salts.refresh();
    expect(hex(salts)).toEqual(own);
    faults.away = false;
    await salts.refresh();
    expect(hex(salts)).toEqual([`2026-05-20 ${Buffer.from(key).toString('hex')}`]);
  });
});
