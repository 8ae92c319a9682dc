import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Type, { type Static, type TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { afterEach, describe, expect, it } from 'vitest';
import { createPartitionWriter } from '../../src/actors/partition-writer.js';
import { ingestionRoutes } from '../../src/edge/routes/ingestion.js';
import { SITE, startApp } from '../../src/edge/testing.js';
import type { BookEntry, QuarantinedRow } from '../../src/storage/events/event-store.js';
import { openLocalLog } from '../../src/storage/stream/local-log.js';
import { createPublisher } from '../../src/storage/stream/publisher.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { until } from '../support/wait.js';
import { encodeRow, encodeRowOf, makeFunnelEvent, makeHeatPoint, makeRow } from './event-rows.js';
import { openers } from './event-stores.js';

const NOW = Date.UTC(2026, 4, 20, 12, 30);
const HOUR_MS = 3_600_000;

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(kind: 'clickhouse' | 'postgres') {
  const opened = await openers[kind]();
  cleanups.push(() => opened.close());
  const directory = await mkdtemp(join(tmpdir(), 'ingestion-'));
  cleanups.push(() => rm(directory, { recursive: true }));
  const telemetry = silentTelemetry();
  const stream = await openLocalLog({ directory, partitions: 2, limitBytes: 1 << 26, telemetry });
  cleanups.push(() => stream.close());
  const { store } = opened;
  const writer = createPartitionWriter({ store, partitions: 2, telemetry: silentTelemetry(), flushMs: 10 });
  cleanups.push(() => writer.stop(1_000));
  const subscription = await stream.consume(writer);
  cleanups.push(() => subscription.stop());
  const publisher = createPublisher({ stream, telemetry });
  const app = await startApp({
    routes: ingestionRoutes({
      store,
      publish: (frame) => publisher.publish(frame),
      publishRecording: () => Promise.reject(new Error('there are no recordings here')),
      clock: () => NOW,
    }),
    // The token `admin` stands for a member who may look only.
    authorize: (principal, _site, action) =>
      principal.kind === 'account' &&
      (principal.userId === 'owner' || (principal.userId === 'admin' && action === 'read')),
  });
  cleanups.push(() => app.app.close(1_000));
  const call = async (method: string, path: string, token: string, body?: unknown) => {
    const answer = await fetch(`${app.url}/api/v1/websites/${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const json: unknown = await answer.json();
    return { status: answer.status, json };
  };
  const drained = () =>
    until(async () => (await stream.status()).lagMessages === 0, {
      what: 'the stream to run dry',
      everyMs: 20,
    });
  return { ...opened, call, drained };
}

function parse<T extends TSchema>(schema: T, value: unknown): Static<T> {
  if (!Value.Check(schema, value)) throw new Error(`unexpected answer: ${JSON.stringify(value)}`);
  return value;
}

const booked = (hour: number, source: BookEntry['source'], changes: Partial<BookEntry>): BookEntry => ({
  ...{ siteId: SITE.siteId, hour, source },
  ...{ received: 0, stored: 0, duplicate: 0, bot: 0, rejected: 0, quarantined: 0 },
  ...changes,
});

/** Row n as it lies in the quarantine: a good row that was refused for a reason that is gone. */
function refused(n: number): QuarantinedRow {
  const id = (n + 1).toString(16).padStart(32, '0');
  const bytes = encodeRow(makeRow({ event_id: id, site_id: SITE.siteId, timestamp: NOW, received_at: NOW }));
  const table = n % 2 === 0 ? 'events' : 'bot_events';
  return {
    id,
    siteId: SITE.siteId,
    source: 'batch',
    table,
    quarantinedAt: NOW + n,
    reason: `refused ${n}`,
    bytes,
  };
}

const Page = Type.Object({
  rows: Type.Array(Type.Object({ id: Type.String(), reason: Type.String(), bytes: Type.String() })),
  next: Type.Union([Type.String(), Type.Null()]),
});

describe.each(['clickhouse', 'postgres'] as const)('the ingestion routes on %s', (kind) => {
  it('answer the books of a period, by source, and whether they balance', async () => {
    const { store, call } = await setUp(kind);
    const today = Math.floor(NOW / HOUR_MS) * HOUR_MS;
    await store.addToBooks(
      [
        booked(today, 'event', { received: 10, stored: 7, duplicate: 2, bot: 1 }),
        booked(today - HOUR_MS, 'batch', { received: 5, stored: 3, rejected: 1, quarantined: 1 }),
        booked(today - 8 * 24 * HOUR_MS, 'event', { received: 100, stored: 100 }),
      ],
      'books',
    );
    const { status, json } = await call('GET', `${SITE.id}/ingestion?timezone=Europe/Berlin`, 'owner');
    expect(status).toBe(200);
    expect(json).toEqual({
      website_id: SITE.id,
      from: '2026-05-13T22:00:00.000Z',
      to: new Date(NOW + 1).toISOString(),
      ...{ received: 15, stored: 10, duplicate: 2, bot: 1, rejected: 1, quarantined: 1, balanced: true },
      sources: [
        {
          source: 'event',
          ...{ received: 10, stored: 7, duplicate: 2, bot: 1, rejected: 0, quarantined: 0, balanced: true },
        },
        {
          source: 'batch',
          ...{ received: 5, stored: 3, duplicate: 0, bot: 0, rejected: 1, quarantined: 1, balanced: true },
        },
      ],
    });
    await store.addToBooks([booked(today, 'import', { received: 2, stored: 1 })], 'more');
    expect((await call('GET', `${SITE.id}/ingestion`, 'owner')).json).toMatchObject({ balanced: false });
    expect((await call('GET', `${SITE.id}/ingestion?days=0`, 'owner')).status).toBe(400);
    expect((await call('GET', `${SITE.id}/ingestion`, 'stranger')).status).toBe(403);
    expect((await call('GET', `${SITE.id}/ingestion`, 'admin')).status).toBe(200);
    expect((await call('GET', 'nowhere/ingestion', 'owner')).status).toBe(404);
  });

  it('list the quarantine by pages, newest first, and send rows from it through the stream again', async () => {
    const { store, rows, call, drained } = await setUp(kind);
    const all = Array.from({ length: 5 }, (_, n) => refused(n));
    await store.quarantine(all, 'refused');
    const first = parse(Page, (await call('GET', `${SITE.id}/quarantine?limit=3`, 'owner')).json);
    const second = parse(
      Page,
      (await call('GET', `${SITE.id}/quarantine?limit=3&before=${first.next}`, 'owner')).json,
    );
    const listed = [...first.rows, ...second.rows];
    expect(listed.map(({ reason }) => reason)).toEqual([4, 3, 2, 1, 0].map((n) => `refused ${n}`));
    expect(second.next).toBeNull();
    expect(Buffer.from(listed[0]?.bytes ?? '', 'base64')).toEqual(Buffer.from(all[4]?.bytes ?? []));

    // Whole events are not for those who may see figures only.
    expect((await call('GET', `${SITE.id}/quarantine`, 'admin')).status).toBe(403);

    const replay = `${SITE.id}/quarantine/replay`;
    const gone = 'f'.repeat(32);
    const ids = [all[0]?.id, all[3]?.id, gone];
    expect((await call('POST', replay, 'stranger', { ids })).status).toBe(403);
    expect((await call('POST', replay, 'owner', { ids: ['x'] })).status).toBe(400);
    const { status, json } = await call('POST', replay, 'owner', { ids });
    expect(status).toBe(202);
    expect(json).toEqual({ website_id: SITE.id, replayed: 2, missing: [gone] });
    await drained();
    expect((await rows('events')).map(([id]) => id)).toEqual([all[0]?.id]);
    expect((await rows('bot_events')).map(([id]) => id)).toEqual([all[3]?.id]);
    const left = parse(Page, (await call('GET', `${SITE.id}/quarantine`, 'owner')).json);
    expect(left.rows.map(({ reason }) => reason)).toEqual(['refused 4', 'refused 2', 'refused 1']);

    // Sent once more (a crash before the removal would do that), a row still counts once.
    await store.quarantine(all.slice(0, 1), 'again');
    await call('POST', replay, 'owner', { ids: [all[0]?.id] });
    await drained();
    expect(await rows('events')).toHaveLength(1);
    const books = await store.books(SITE.siteId, 0, NOW + 24 * HOUR_MS);
    expect(books).toEqual([
      expect.objectContaining({ source: 'replay', received: 3, stored: 1, bot: 1, duplicate: 1 }),
    ]);
  });

  it('know heat points and funnel events, and send them to their own tables again', async () => {
    const { store, rows, call, drained } = await setUp(kind);
    const header = { site_id: SITE.siteId, timestamp: NOW, received_at: NOW };
    const common = { siteId: SITE.siteId, quarantinedAt: NOW, reason: '' };
    const [heat, funnel] = ['a'.repeat(32), 'b'.repeat(32)];
    await store.quarantine(
      [
        {
          ...{ ...common, id: '1'.repeat(32), source: 'heatmap', table: 'heat_points' },
          bytes: encodeRowOf('heat_points', makeHeatPoint({ ...header, event_id: heat })),
        },
        {
          ...{ ...common, id: '2'.repeat(32), source: 'funnel', table: 'funnel_events' },
          bytes: encodeRowOf('funnel_events', makeFunnelEvent({ ...header, event_id: funnel })),
        },
      ],
      'refused',
    );
    const page = await call('GET', `${SITE.id}/quarantine`, 'owner');
    expect(page.status).toBe(200);
    expect(page.json).toMatchObject({
      rows: [
        { source: 'funnel', table: 'funnel_events' },
        { source: 'heatmap', table: 'heat_points' },
      ],
    });
    const ids = ['1'.repeat(32), '2'.repeat(32)];
    expect((await call('POST', `${SITE.id}/quarantine/replay`, 'owner', { ids })).status).toBe(202);
    await drained();
    expect((await rows('heat_points')).map(([id]) => id)).toEqual([heat]);
    expect((await rows('funnel_events')).map(([id]) => id)).toEqual([funnel]);
    await store.addToBooks([booked(NOW, 'heatmap', { received: 4, stored: 3, rejected: 1 })], 'heat');
    const books = parse(
      Type.Object({ sources: Type.Array(Type.Object({ source: Type.String(), stored: Type.Number() })) }),
      (await call('GET', `${SITE.id}/ingestion`, 'owner')).json,
    );
    expect(books.sources.map(({ source, stored }) => [source, stored])).toEqual([
      ['replay', 2],
      ['heatmap', 3],
    ]);
  });
});
