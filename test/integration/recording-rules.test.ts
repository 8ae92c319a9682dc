import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SITE } from '../../src/edge/testing.js';
import { ByteWriter } from '../../src/enrich/byte-writer.js';
import { chunkIdOf, RECORDING_FLAGS, writeParts } from '../../src/replays/recording-row.js';
import type { Site } from '../../src/websites/site.js';
import { snapshotEvents, upload } from './recordings.js';
import { type ReplayNode, startReplayNode } from './replay-node.js';

/** A good row of a recording as it lies in the quarantine. */
function refused(siteId: string, sequence: number) {
  const now = Date.now();
  const out = new ByteWriter(512);
  const chunk = { siteId, sessionId: 'refused', sequence, receivedAt: now, firstMs: now, lastMs: now };
  const facts = { page: '/', count: 1, rawBytes: 1, browser: '', os: '', device: '', countryCode: '' };
  const signals = { hasFullSnapshot: false, clicks: 0, rageClicks: 0, errors: 0 };
  const data = Buffer.of(sequence);
  const id = chunkIdOf(siteId, 'refused', sequence, data);
  writeParts(out, { ...chunk, ...facts, ...signals }, id, data, RECORDING_FLAGS);
  const bytes = Buffer.from(out.take()).subarray(5);
  const common = { siteId, source: 'recording', table: 'events', quarantinedAt: now, reason: '' } as const;
  return { ...common, id: bytes.toString('hex', 0, 16), bytes };
}

describe('what is recorded', () => {
  let node: ReplayNode;
  beforeAll(async () => {
    node = await startReplayNode({ store: 'postgres', objects: 'folder', quotaBytes: 20_000 });
  });
  beforeEach(() => {
    node.faults.yielding = false;
  });
  afterAll(() => node.stop());

  let made = 0;
  /** A site of the test's own. */
  const siteWith = (settings: Partial<Site>): Site => {
    made++;
    const siteId = made.toString(16).padStart(24, 'e');
    const site = {
      ...SITE,
      id: `00000000-0000-4000-8000-${String(made).padStart(12, '0')}`,
      siteId,
      ...settings,
    };
    node.sites.set(siteId, site);
    return site;
  };
  const send = (site: Site, session = 's', page = '/', headers = {}) =>
    node.record(
      {
        ...upload(session, 0, snapshotEvents(Date.now() - 1_000, 'x'), page),
        website_id: site.id.toUpperCase(),
      },
      headers,
    );
  const stored = async (site: Site) => {
    await node.flush();
    return (await node.call('GET', `sessions?website_id=${site.siteId}&limit=100`)).body.total;
  };
  const success = { status: 200, body: { status: 'success' } };
  const rejected = (code: string) => ({ status: 200, body: { status: 'rejected', code } });

  it('is nothing of a site that is inactive, unknown, has it switched off, or from a foreign page', async () => {
    const closed = siteWith({ isActive: false });
    expect(await send(closed)).toMatchObject(rejected('website_inactive'));
    const off = siteWith({ replayEnabled: false });
    expect(await send(off)).toMatchObject(rejected('feature_disabled'));
    const site = siteWith({});
    const foreign = { origin: 'https://evil.example' };
    expect(await send(site, 's', '/', foreign)).toMatchObject(rejected('origin_not_allowed'));
    expect(await send(site, 's', '/', { referer: 'https://evil.example/x' })).toMatchObject(
      rejected('origin_not_allowed'),
    );
    expect(await send({ ...site, id: 'f'.repeat(24) })).toMatchObject(rejected('website_not_found'));
    for (const it of [closed, off, site]) expect(await stored(it)).toBe(0);
    expect(await send(site, 's', '/', { origin: 'https://www.shop.example' })).toEqual(success);
    expect(await stored(site)).toBe(1);
    expect(await node.books(site.siteId)).toMatchObject([
      { source: 'recording', received: 3, stored: 1, rejected: 2, duplicate: 0, quarantined: 0 },
    ]);
  });

  it('comes back from the quarantine once it can be read, and stays there until then', async () => {
    const site = siteWith({});
    const [row, other] = [refused(site.siteId, 1), refused(site.siteId, 2)];
    const unreadable = { ...other, bytes: Buffer.concat([other.bytes, Buffer.of(0)]) };
    await node.quarantine([row, unreadable]);
    const path = `websites/${site.siteId}/quarantine`;
    const replay = async (ids: readonly string[]) => {
      const { status, body } = await node.callApi('POST', `${path}/replay`, { ids });
      expect({ status, replayed: body.replayed }).toEqual({ status: 202, replayed: ids.length });
      await node.flush();
      return (await node.callApi('GET', path)).body.rows;
    };
    const left = await replay([row.id, unreadable.id]);
    expect(left).toMatchObject([{ source: 'recording', bytes: unreadable.bytes.toString('base64') }]);
    expect(await stored(site)).toBe(1);
    const again = await replay([left[0].id]);
    expect(again).toMatchObject([{ source: 'recording' }]);
    expect(new Set([unreadable.id, left[0].id, again[0].id]).size).toBe(3);
    // Who was cut off before the removal sends it once more.
    await node.quarantine([row]);
    expect(await replay([row.id])).toEqual(again);
    expect(await stored(site)).toBe(1);
    expect(await node.books(site.siteId)).toMatchObject([
      { source: 'replay', received: 4, stored: 1, quarantined: 2, duplicate: 1 },
    ]);
  });

  it('is what the patterns of pages let through', async () => {
    const site = siteWith({ replayIncludePatterns: '/shop/*\n/', replayExcludePatterns: '/shop/secret*' });
    const excluded = { status: 200, body: { status: 'ignored', reason: 'page_excluded' } };
    expect(await send(site, 'a', '/shop/cart')).toEqual(success);
    expect(await send(site, 'b', '/')).toEqual(success);
    expect(await send(site, 'c', '/shop/secret/1')).toEqual(excluded);
    expect(await send(site, 'd', '/blog')).toEqual(excluded);
    expect(await stored(site)).toBe(2);
  });

  it('is the share of sessions that the site asks for, each whole or not at all', async () => {
    const none = siteWith({ replaySamplingRate: 0 });
    expect(await send(none)).toEqual({ status: 200, body: { status: 'ignored', reason: 'not_sampled' } });
    const site = siteWith({ replaySamplingRate: 0.3 });
    const kept: string[] = [];
    for (let i = 0; i < 60; i++) {
      // Half of them spelled so that only the parser finds the session id.
      const session = i % 2 === 0 ? `visit-${i}` : `visit "${i}"`;
      const one = await send(site, session);
      const two = await send(site, session, '/next');
      expect(two.body).toEqual(one.body);
      if (one.body.status === 'success') kept.push(session);
    }
    expect(kept.length).toBeGreaterThan(8);
    expect(kept.length).toBeLessThan(30);
    expect(await stored(site)).toBe(kept.length);
  });

  it('ends for the day when the quota of the site is used up; others go on', async () => {
    const site = siteWith({});
    const big = () =>
      node.record({
        ...upload(
          'big',
          0,
          snapshotEvents(
            Date.now(),
            Buffer.from(crypto.getRandomValues(new Uint8Array(12_000))).toString('base64'),
          ),
        ),
        website_id: site.siteId,
      });
    expect(await big()).toEqual(success);
    expect(await big()).toEqual(success);
    expect(await big()).toMatchObject(rejected('quota_exceeded'));
    expect(await send(siteWith({}))).toEqual(success);
  });

  it('gives way to events: 503, to be sent again', async () => {
    const site = siteWith({});
    node.faults.yielding = true;
    expect(await send(site)).toMatchObject({ status: 503, body: { code: 'overloaded' } });
    node.faults.yielding = false;
    expect(await send(site)).toEqual(success);
  });

  it('is found by the site that the body names, wherever it stands', async () => {
    const [named, other] = [siteWith({}), siteWith({})];
    const { website_id: _, ...rest } = upload('s', 0, snapshotEvents(Date.now(), 'x'));
    // A scan of the first bytes finds the other one.
    const decoy = { note: { website_id: other.siteId }, ...rest, website_id: named.siteId };
    expect(await node.record(decoy)).toEqual(success);
    expect(await stored(other)).toBe(0);
    const filler = { type: 5, data: { tag: 'x', payload: 'y'.repeat(5_000) }, timestamp: Date.now() };
    const buried = JSON.stringify({
      ...rest,
      events: [...rest.events, filler],
      website_id: named.siteId,
      z: 'z'.repeat(5_000),
    });
    expect(await node.record(buried)).toEqual(success);
    expect(await stored(named)).toBe(1);
    expect((await node.call('GET', `data/s?website_id=${named.siteId}`)).body.chunks).toHaveLength(2);
  });

  it('is no body above the limit, which trackers must not repeat', async () => {
    const site = siteWith({});
    const answer = await node.record({
      ...upload('s', 0, snapshotEvents(Date.now(), 'x'.repeat(13 << 20))),
      website_id: site.siteId,
    });
    expect(answer).toMatchObject(rejected('body_too_large'));
  });
});
