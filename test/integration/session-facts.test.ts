import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { createClickhouseSessionFacts } from '../../src/storage/events/sessions/clickhouse-session-facts.js';
import { createPostgresSessionFacts } from '../../src/storage/events/sessions/postgres-session-facts.js';
import type { SessionFactsStore } from '../../src/storage/events/sessions/session-facts-row.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { encodeRow, makeRow, SITE } from './event-rows.js';

const NOW = Date.now();
const MINUTE = 60_000;
const OTHER = '65f1a2b3c4d5e6f708192a3c';

const rows = [
  // Ann came a month ago, and now by a campaign.
  { visitor_id: 'ann', session_id: 'a0', timestamp: NOW - 30 * 1_440 * MINUTE },
  {
    visitor_id: 'ann',
    session_id: 'a1',
    timestamp: NOW - 9 * MINUTE,
    channel: 'Paid Search',
    utm_source: 'google',
    device: 'Tablet',
  },
  {
    visitor_id: 'ann',
    session_id: 'a1',
    timestamp: NOW - 8 * MINUTE,
    channel: 'Direct',
    referrer_host: '',
    kind: 2,
    event_type: 'click',
  },
  { visitor_id: 'ann', session_id: 'a1', timestamp: NOW - 7 * MINUTE, channel: 'Direct', referrer_host: '' },
  // Bob is here for the first time; Ann of the other site is somebody else.
  {
    visitor_id: 'bob',
    session_id: 'b1',
    timestamp: NOW - 5 * MINUTE,
    referrer_host: 'news.example',
    channel: 'Referral',
  },
  { visitor_id: 'bob', session_id: 'b1', timestamp: NOW + 5 * MINUTE },
  { visitor_id: 'bob', session_id: 'b0', timestamp: NOW - 100 * MINUTE, site_id: OTHER },
  // Cleo has seen no page.
  { visitor_id: 'cleo', session_id: 'c1', timestamp: NOW - MINUTE, kind: 2, event_type: 'paid' },
].map((changes, i) =>
  encodeRow(makeRow({ event_id: String(i + 1).padStart(32, '0'), received_at: NOW, ...changes })),
);

interface Opened {
  readonly facts: SessionFactsStore;
  close(): Promise<void>;
}

async function closeAll(
  facts: SessionFactsStore,
  events: EventStore,
  drop: () => Promise<void>,
): Promise<void> {
  await Promise.all([facts.close(), events.close()]);
  await drop();
}

const openers: Record<string, () => Promise<Opened>> = {
  async clickhouse() {
    const { url, database, drop } = await freshClickhouse();
    const events = createClickhouseEventStore({
      clickhouse: { url, database },
      telemetry: silentTelemetry(),
    });
    await events.migrate();
    await events.insertRows('events', rows, 'token', Date.now() + 60_000);
    const facts = createClickhouseSessionFacts({ url, database });
    return {
      facts,
      close: () => closeAll(facts, events, drop),
    };
  },
  async postgres() {
    const { url, drop } = await freshPostgres();
    const options = { url, maxConnections: 4, minConnections: 0, telemetry: silentTelemetry() };
    const events = createPostgresEventStore(options);
    await events.migrate();
    await events.insertRows('events', rows, 'token', Date.now() + 60_000);
    const facts = createPostgresSessionFacts({ ...options, telemetry: silentTelemetry() });
    return {
      facts,
      close: () => closeAll(facts, events, drop),
    };
  },
};

describe.each(Object.keys(openers))('what %s knows of a session', (kind) => {
  let opened: Opened;
  beforeAll(async () => {
    const opener = openers[kind];
    if (opener === undefined) throw new Error(kind);
    opened = await opener();
  });
  afterAll(() => opened?.close());

  it('is the same in both stores', async () => {
    const where = { device: 'Desktop', country: 'DE', browser: 'Firefox', os: 'Linux' };
    const ask = (visitor: string, session: string, site = SITE) =>
      opened.facts.sessionFacts(site, visitor, session, NOW);
    expect(await ask('ann', 'a1')).toEqual({
      ...where,
      device: 'Tablet',
      isNewVisitor: false,
      pageViews: 2,
      traffic: { channel: 'Paid Search', referrerHost: 'google.com', utmSource: 'google' },
    });
    expect(await ask('bob', 'b1')).toEqual({
      ...where,
      isNewVisitor: true,
      pageViews: 1,
      traffic: { channel: 'Referral', referrerHost: 'news.example', utmSource: '' },
    });
    expect(await ask('cleo', 'c1')).toEqual({ ...where, isNewVisitor: true, pageViews: 0, traffic: null });
    expect(await ask('nobody', 'x')).toEqual({
      ...{ device: '', country: '', browser: '', os: '' },
      ...{ isNewVisitor: true, pageViews: 0, traffic: null },
    });
    expect((await ask("'; DROP TABLE events; --", '\\', OTHER)).pageViews).toBe(0);
  });
});
