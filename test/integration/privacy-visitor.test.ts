/** Export and erasure of a single visitor, of the whole program on both event stores. */
import Type from 'typebox';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFailed, vi } from 'vitest';
import { ERASURES_KNOWN_AFTER_MS } from '../../src/privacy/known-erasures.js';
import type { Site } from '../support/api.js';
import { pause, until } from '../support/wait.js';
import { type PrivacyProgram, parse, startPrivacyProgram } from './privacy-program.js';
import { snapshotEvents, textChange } from './recordings.js';

const NOW = Date.now();
const ADA = 'visitor-ada';
const BOB = 'visitor-bob';

const Rows = Type.Array(Type.Record(Type.String(), Type.Unknown()));
const Export = Type.Object({
  website_id: Type.String(),
  visitor_id: Type.String(),
  events: Rows,
  bot_events: Rows,
  funnel_events: Rows,
  automation_executions: Rows,
  recordings: Type.Array(Type.Object({ session_id: Type.String(), chunks: Rows })),
});
const REPORTS = [
  ...['dashboard', 'top-pages', 'top-referrers', 'top-countries', 'top-browsers', 'custom-events'],
  ...['daily-stats', 'visitor-insights', 'user-retention', 'traffic-summary'],
];

describe.each(['clickhouse', 'postgres'] as const)('one visitor of many on %s', (kind) => {
  let node: PrivacyProgram;
  let site: Site;
  /** A site that Ada has never seen, and on which Bob did the same. */
  let without: Site;

  beforeAll(async () => {
    node = await startPrivacyProgram(kind);
    site = await node.site();
    without = await node.site();
    await visit(site, ADA);
    for (const each of [site, without]) await visit(each, BOB);
    await node.booked(site, 12);
    await node.booked(without, 6);
  });
  beforeEach(() => onTestFailed(() => node.program.showLog()));
  afterAll(() => node?.stop());

  /** Two pages, a purchase, a bot's visit, a step of a funnel and a recording. */
  async function visit({ siteId }: Site, visitor: string): Promise<void> {
    const of = { visitor_id: visitor, session_id: `session of ${visitor}` };
    const at = (ms: number) => new Date(NOW - 60_000 + ms).toISOString();
    const events = [
      { ...of, page: '/', referrer: `https://${visitor}.example/`, timestamp: at(0) },
      { ...of, page: '/pricing', timestamp: at(5_000) },
      { ...of, page: '/pricing', event_type: 'purchase', timestamp: at(9_000), properties: { of: visitor } },
    ];
    await node.send('analytics/batch', { siteId, events });
    const bot = { 'user-agent': 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)' };
    await node.send('analytics/event', { website_id: siteId, ...of, page: '/bot', timestamp: at(0) }, bot);
    const step = { ...of, funnel_id: 'f', event_type: 'start', timestamp: at(0) };
    await node.send('funnels/batch', { website_id: siteId, events: [step] });
    const recording = [...snapshotEvents(NOW, 'a page'), textChange(NOW + 5, `secret of ${visitor}`)];
    const chunk = {
      website_id: siteId,
      session_id: of.session_id,
      sequence: 0,
      page: '/',
      events: recording,
    };
    expect((await node.send('replays/record', chunk)).body).toEqual({ status: 'success' });
  }

  const exported = async (visitor: string) => {
    const { status, body } = await node.call('GET', `websites/${site.id}/visitors/${visitor}/export`);
    expect(status).toBe(200);
    return parse(Export, body);
  };
  const figures = async ({ id }: Site): Promise<unknown> => {
    const found = [];
    for (const report of REPORTS) {
      const { status, body } = await node.call('GET', `analytics/${report}/${id}?days=30`);
      expect(status).toBe(200);
      found.push(JSON.parse(JSON.stringify(body).replaceAll(/"website_id":"[^"]*"/g, '"website_id":""')));
    }
    return found;
  };

  it('exports everything that is kept of a visitor, and nothing of others', async () => {
    const found = await exported(ADA);
    expect(found.events).toHaveLength(3);
    expect(found.events.map(({ page, event_type }) => [page, event_type])).toEqual(
      expect.arrayContaining([
        ['/', 'pageview'],
        ['/pricing', 'pageview'],
        ['/pricing', 'purchase'],
      ]),
    );
    const purchase = found.events.find((event) => event.event_type === 'purchase');
    expect(purchase).toMatchObject({ visitor_id: ADA, properties: { of: ADA } });
    expect(purchase?.event_id).toMatch(/^[0-9a-f]{32}$/);
    expect(purchase?.timestamp).toBe(new Date(NOW - 51_000).toISOString());
    expect(found.bot_events).toHaveLength(1);
    expect(found.funnel_events).toMatchObject([{ funnel_id: 'f', visitor_id: ADA }]);
    expect(found.recordings).toMatchObject([{ session_id: `session of ${ADA}` }]);
    expect(JSON.stringify(found.recordings)).toContain(`secret of ${ADA}`);
    expect(JSON.stringify(found)).not.toContain(BOB);
  });

  it('lets only who may manage the website export or erase', async () => {
    await node.call('POST', 'user/auth/register', {
      ...{ name: 'Eve', email: 'eve@shop.example', password: 'correct horse battery' },
    });
    const eve = await node.signIn('eve@shop.example', 'correct horse battery');
    const path = `websites/${site.id}/visitors/${ADA}`;
    expect((await node.call('GET', `${path}/export`, undefined, eve)).status).toBe(403);
    expect((await node.call('DELETE', path, undefined, eve)).status).toBe(403);
    expect((await exported(ADA)).events).toHaveLength(3);
  });

  it('P9: erases a visitor from rows, rollups and recordings; the figures are as if they had never come', async () => {
    const { status, body } = await node.call('DELETE', `websites/${site.siteId}/visitors/${ADA}`);
    expect({ status, body }).toMatchObject({ status: 200, body: { success: true, status: 'completed' } });
    const left = await exported(ADA);
    expect(left).toMatchObject({ events: [], bot_events: [], funnel_events: [], recordings: [] });
    // An answer serves for two seconds.
    const reference = await figures(without);
    await vi.waitFor(async () => expect(await figures(site)).toEqual(reference), { timeout: 10_000 });
    expect((await exported(BOB)).recordings).toHaveLength(1);
    const { body: list } = await node.call('GET', `replays/sessions?website_id=${site.id}`);
    expect(JSON.stringify(list)).not.toContain(ADA);
    const [row] = await node.sql
      .query("SELECT visitor_id, salt FROM privacy_requests WHERE type = 'delete_visitor'")
      .then((found) => found.rows);
    expect(row).toEqual({ visitor_id: null, salt: null });
  });

  it('counts a visitor who comes again, but no row that was received before', async () => {
    await node.send('analytics/event', { website_id: site.siteId, visitor_id: ADA, page: '/again' });
    await until(async () => (await exported(ADA)).events.length === 1, { what: 'the new visit' });
    await node.sql.query("UPDATE erasures SET received_until = now() + interval '1 hour'");
    // As an eraser does before it counts on the writers.
    await pause(ERASURES_KNOWN_AFTER_MS);
    await node.send('analytics/event', { website_id: site.siteId, visitor_id: ADA, page: '/late' });
    await node.send('analytics/event', { website_id: site.siteId, visitor_id: BOB, page: '/late' });
    await until(async () => (await exported(BOB)).events.length === 4, { what: "the other's visit" });
    await node.booked(site, 15);
    expect((await exported(ADA)).events.map(({ page }) => page)).toEqual(['/again']);
  });

  it('erases again, and somebody who was never there', async () => {
    for (const visitor of [ADA, 'nobody'])
      expect((await node.call('DELETE', `websites/${site.id}/visitors/${visitor}`)).status).toBe(200);
    expect((await exported(ADA)).events).toEqual([]);
  });
});
