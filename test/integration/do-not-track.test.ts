/** `DNT: 1` and `Sec-GPC: 1` on every route that records, over HTTP. What is stored does not depend on the event store. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFailed } from 'vitest';
import type { Site } from '../support/api.js';
import { until } from '../support/wait.js';
import { type PrivacyProgram, startPrivacyProgram } from './privacy-program.js';

const NO = { dnt: '1' };
const GPC = { 'sec-gpc': '1' };

describe('visitors who do not want to be tracked', () => {
  let node: PrivacyProgram;
  let respecting: Site;
  let other: Site;

  beforeAll(async () => {
    node = await startPrivacyProgram('postgres');
    respecting = await node.site({ respectDoNotTrack: true });
    other = await node.site();
  });
  beforeEach(() => onTestFailed(() => node.program.showLog()));
  afterAll(() => node?.stop());

  const event = (site: Site) => ({ website_id: site.siteId, visitor_id: 'v', page: '/', session_id: 's' });
  const batch = (site: Site) => ({ siteId: site.siteId, events: Array(12).fill({ visitor_id: 'v' }) });
  const points = (site: Site) => ({
    website_id: site.siteId,
    points: [1, 2, 3].map((x) => ({ type: 'click', x, y: 1, url: '/' })),
  });
  const funnel = { funnel_id: 'f', visitor_id: 'v', session_id: 's', event_type: 'start' };
  const recording = (site: Site) => ({
    ...{ website_id: site.siteId, session_id: 's', sequence: 0, page: '/' },
    events: [
      { type: 4, timestamp: Date.now(), data: { href: 'https://shop.example/', width: 9, height: 9 } },
    ],
  });

  it('are answered 2xx on every route, nothing of them is stored, and the books count it', async () => {
    const ignored = { status: 200, body: { status: 'ignored', reason: 'do_not_track' } };
    const rejected = { status: 200, body: { status: 'rejected', code: 'do_not_track' } };
    const site = respecting;
    expect(await node.send('analytics/event', event(site), NO)).toMatchObject(ignored);
    expect(await node.send('analytics/event', event(site), GPC)).toMatchObject(ignored);
    expect(await node.send('analytics/batch', batch(site), GPC)).toMatchObject({
      status: 200,
      body: { status: 'rejected', code: 'do_not_track', events_count: 0, rejected: 12 },
    });
    expect(await node.send('heatmaps/record', points(site), NO)).toMatchObject(rejected);
    const events = [funnel, funnel];
    expect(await node.send('funnels/batch', { website_id: site.siteId, events }, GPC)).toMatchObject(
      rejected,
    );
    expect(await node.send('funnels/track', { website_id: site.siteId, ...funnel }, NO)).toMatchObject(
      ignored,
    );
    expect(await node.send('replays/record', recording(site), GPC)).toMatchObject(ignored);
    // 2 events, 12 of a batch, 3 points, 3 of funnels, 1 recording.
    expect(await node.booked(site, 21)).toMatchObject({ rejected: 21, stored: 0, bot: 0, quarantined: 0 });
    for (const table of ['events', 'bot_events', 'heat_points', 'funnel_events', 'replay_chunks'])
      expect(await node.rows(`SELECT * FROM ${table} WHERE site_id = '${site.siteId}'`)).toEqual([]);
    const metrics = await (await fetch(`${node.program.url}/metrics`)).text();
    expect(metrics).toMatch(/seentics_ingest_events_rejected_total\{code="do_not_track"\} 1\d/);
    expect(metrics).toMatch(/seentics_recording_uploads_total\{outcome="ignored",reason="do_not_track"\} 1/);
  });

  it('are stored where the site does not ask, and so is who says 0', async () => {
    expect((await node.send('analytics/event', event(other), NO)).status).toBe(201);
    expect((await node.send('replays/record', recording(other), GPC)).body).toEqual({ status: 'success' });
    const unasked = { ...event(respecting), visitor_id: 'willing' };
    expect((await node.send('analytics/event', unasked, { dnt: '0', 'sec-gpc': '' })).status).toBe(201);
    const stored = await until(
      async () => {
        const found = await node.rows(
          'SELECT site_id FROM events UNION ALL SELECT site_id FROM replay_chunks',
        );
        return found.length === 3 ? found : undefined;
      },
      { what: 'three rows' },
    );
    expect(stored.filter(({ site_id }) => site_id === respecting.siteId)).toHaveLength(1);
  });

  it('meet the same preflight as everybody', async () => {
    const answer = await fetch(`${node.program.url}/api/v1/analytics/batch`, {
      method: 'OPTIONS',
      headers: { ...NO, origin: 'https://shop.example', 'access-control-request-method': 'POST' },
    });
    expect(answer.status).toBe(204);
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://shop.example');
  });
});
