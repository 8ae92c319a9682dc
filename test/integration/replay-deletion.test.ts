import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { SITE } from '../../src/edge/testing.js';
import { sessionKeyOf } from '../../src/replays/recording-row.js';
import { moves, snapshotEvents, textChange, upload } from './recordings.js';
import { type ReplayNode, startReplayNode } from './replay-node.js';

const COMBINATIONS = [
  { store: 'clickhouse', objects: 'folder' },
  { store: 'postgres', objects: 's3' },
] as const;

describe.each(COMBINATIONS)('deleting recordings in $store and $objects', (kinds) => {
  let node: ReplayNode;
  let now = 0;

  beforeAll(async () => {
    node = await startReplayNode(kinds);
  });
  beforeEach(() => {
    now = Date.now();
    node.clock.ms = 0;
  });
  afterAll(() => node.stop());

  const record = async (...uploads: unknown[]) => {
    for (const one of uploads) expect((await node.record(one)).body).toEqual({ status: 'success' });
  };
  const ids = async () =>
    (await node.list('&limit=100')).body.sessions.map((it: { session_id: string }) => it.session_id);
  /** The compressed bytes of a session's parts. */
  const bytesOf = async (session: string) => {
    const parts = await node.replays.partsOf(SITE.siteId, sessionKeyOf(SITE.siteId, session), 1_000);
    return Promise.all(
      parts.map(async ({ objectKey, offset, length }) =>
        Buffer.from((await node.objects.get(objectKey, { start: offset, end: offset + length - 1 })) ?? []),
      ),
    );
  };
  /** How many of these bytes stand in any object. */
  const left = async (pieces: readonly Buffer[]) => {
    let count = 0;
    for (const key of await node.keys()) {
      const object = Buffer.from((await node.objects.get(key)) ?? []);
      count += pieces.filter((piece) => piece.length > 0 && object.includes(piece)).length;
    }
    return count;
  };
  const remove = (session: string) =>
    node.call('DELETE', `sessions/${encodeURIComponent(session)}?website_id=${SITE.siteId}`);

  it('takes their bytes out of objects that others share, and every trace out of the tables', async () => {
    for (let i = 0; i < 3; i++) {
      await record(
        upload('gone-marker', i, [...snapshotEvents(now + i, `secret ${i}`), ...moves(now + i, 3)]),
        upload('kept', i, [textChange(now + i, `kept ${i}`)]),
      );
      await node.flush();
    }
    const gone = await bytesOf('gone-marker');
    expect(await left(gone)).toBe(3);
    expect(await node.searchTables('gone-marker')).toEqual(['replay_chunks']);
    const before = await node.keys();

    expect(await remove('gone-marker')).toEqual({ status: 200, body: { status: 'success' } });

    expect(await left(gone)).toBe(0);
    expect(await node.searchTables('gone-marker')).toEqual([]);
    expect(await ids()).toEqual(['kept']);
    expect((await node.data('gone-marker')).body.chunks).toEqual([]);
    const { body } = await node.data('kept');
    expect(body.missing_chunks).toBe(0);
    expect(body.chunks.map((it: { data: unknown[] }) => it.data)).toEqual(
      [0, 1, 2].map((i) => [textChange(now + i, `kept ${i}`)]),
    );
    const after = await node.keys();
    expect(after).toHaveLength(3);
    expect(after.filter((key) => before.includes(key))).toEqual([]);
  });

  it('removes objects that nobody else is in, several sessions at once', async () => {
    await record(upload('one', 0, snapshotEvents(now, 'one')), upload('two', 0, snapshotEvents(now, 'two')));
    await node.flush();
    const before = await node.keys();
    const answer = await node.call('DELETE', 'bulk-delete', {
      website_id: SITE.id,
      session_ids: ['one', 'two', 'never there'],
    });
    expect(answer).toEqual({ status: 200, body: { status: 'success' } });
    expect(await node.keys()).toHaveLength(before.length - 1);
    expect(await ids()).not.toContain('one');
  });

  it('keeps chunks out that come later, also those that were on their way', async () => {
    await record(upload('late', 0, snapshotEvents(now, 'x')));
    await node.flush();
    await record(upload('late', 1, moves(now, 2)), upload('other', 0, snapshotEvents(now, 'x')));
    await remove('late');
    await node.flush();
    await record(upload('late', 2, moves(now + 9, 2)));
    await node.flush();
    expect(await ids()).toContain('other');
    expect(await ids()).not.toContain('late');
    expect(await node.searchTables('late')).toEqual([]);
  });

  it('comes back for what was stored in the very moment of the deletion', async () => {
    await record(upload('race', 0, snapshotEvents(now, 'race')), upload('by', 0, snapshotEvents(now, 'by')));
    const { buried } = node.replays;
    // The writer has asked before the session was deleted.
    node.replays.buried = async () => new Set();
    await remove('race');
    await node.flush();
    node.replays.buried = buried;
    // Nobody sees it any more, but it is there.
    expect(await ids()).not.toContain('race');
    expect(await node.searchTables('race')).toContain('replay_chunks');
    await node.upkeep.sweep();
    expect(await node.searchTables('race')).toEqual([]);
    expect((await node.data('by')).body).toMatchObject({ missing_chunks: 0, chunks: [{}] });
  });

  it.each(['move', 'removeObjects'])('can be begun again after it broke off at %s', async (step) => {
    const session = `broken-${step}`;
    await record(
      upload(session, 0, snapshotEvents(now, session)),
      upload(`fine-${step}`, 0, snapshotEvents(now, 'fine')),
    );
    await node.flush();
    const gone = await bytesOf(session);
    const { move, removeObjects } = node.replays;
    const killed = () => Promise.reject(new Error('killed'));
    if (step === 'move') node.replays.move = killed;
    else node.replays.removeObjects = killed;
    expect((await remove(session)).status).toBe(503);
    Object.assign(node.replays, { move, removeObjects });
    expect(await ids()).not.toContain(session);
    await node.upkeep.sweep();
    expect(await left(gone)).toBe(0);
    expect(await node.searchTables(session)).toEqual([]);
    expect((await node.data(`fine-${step}`)).body).toMatchObject({ missing_chunks: 0, chunks: [{}] });
  });

  it('completes a block that a crash left with its object and without its rows; no object stays behind', async () => {
    const { insertParts } = node.replays;
    let attempts = 0;
    node.replays.insertParts = (parts, token, deadline) => {
      attempts++;
      return attempts < 3 ? Promise.reject(new Error('killed')) : insertParts(parts, token, deadline);
    };
    const before = (await node.keys()).length;
    await record(upload('crash', 0, snapshotEvents(now, 'crash')));
    await node.flush();
    node.replays.insertParts = insertParts;
    expect(attempts).toBe(3);
    expect((await node.data('crash')).body.chunks).toHaveLength(1);
    expect(await node.keys()).toHaveLength(before + 1);

    // What another grouping after a restart would leave: noted, written, and in no row.
    const orphan = `replays/${SITE.siteId}/20260101/${'0'.repeat(32)}.bin`;
    await node.replays.noteObjects([{ siteId: SITE.siteId, objectKey: orphan, writtenAt: Date.now() }]);
    await node.objects.put(orphan, Buffer.from('lost'), 'application/octet-stream');
    await node.upkeep.collect();
    expect(await node.keys()).toContain(orphan);
    node.clock.ms = 3_600_000;
    await node.upkeep.collect();
    expect(await node.keys()).toHaveLength(before + 1);
    expect((await node.data('crash')).body.missing_chunks).toBe(0);
  });

  it('does not disturb who is just watching another session of the same object', async () => {
    await record(
      upload('watched', 0, snapshotEvents(now, 'watched')),
      upload('leaving', 0, snapshotEvents(now, 'x')),
    );
    await node.flush();
    const { get } = node.objects;
    let isFirst = true;
    node.objects.get = async (key, range) => {
      if (isFirst) {
        isFirst = false;
        await remove('leaving');
      }
      return get.call(node.objects, key, range);
    };
    const { body } = await node.data('watched');
    node.objects.get = get;
    expect(body).toMatchObject({ missing_chunks: 0, chunks: [{}] });
  });

  it('by age takes whole objects, and what was rewritten has the age of what is in it', async () => {
    const all = await ids();
    expect(all.length).toBeGreaterThan(3);
    expect(await node.upkeep.deleteOlderThan(SITE.siteId, now - 3_600_000)).toBe(0);
    const removed = await node.upkeep.deleteOlderThan(SITE.siteId, Date.now() + 1);
    expect(removed).toBeGreaterThan(3);
    expect(await ids()).toEqual([]);
    expect(await node.keys()).toEqual([]);
  });

  it('of a site leaves no object, and what comes afterwards goes too', async () => {
    const site = { ...SITE, siteId: 'dddddddddddddddddddddddd', id: '44444444-4444-4444-8444-444444444444' };
    node.sites.set(site.siteId, site);
    const of = (sequence: number) => ({
      ...upload('s', sequence, snapshotEvents(now + sequence, 'x')),
      website_id: site.siteId,
    });
    await record(upload('stays', 0, snapshotEvents(now, 'x')), of(0));
    await node.flush();
    await record(of(1));
    node.sites.delete(site.siteId);
    // A block of the writer comes between the deletion and its proof.
    const { delete: remove } = node.objects;
    vi.spyOn(node.objects, 'delete').mockImplementationOnce(async (keys) => {
      await remove.call(node.objects, keys);
      await node.objects.put(
        `replays/${site.siteId}/20260101/${'0'.repeat(32)}.bin`,
        Buffer.from('x'),
        'x/x',
      );
    });
    await node.upkeep.deleteSite(site.siteId);
    await node.deleteRows(site.siteId);
    await node.flush();
    const ofSite = async () => (await node.keys()).filter((key) => key.includes(site.siteId));
    expect(await ofSite()).toEqual([]);
    expect((await node.searchTables(site.siteId)).filter((table) => table !== 'ingest_books')).toEqual([]);

    // Past the look-up of the writer: the collection finds it.
    const key = `replays/${site.siteId}/20260101/${'1'.repeat(32)}.bin`;
    await node.replays.noteObjects([{ siteId: site.siteId, objectKey: key, writtenAt: Date.now() }]);
    await node.objects.put(key, Buffer.from('late'), 'application/octet-stream');
    await node.upkeep.collect();
    expect(await ofSite()).toEqual([]);
    expect(await node.searchTables(site.siteId)).toEqual([]);
    expect(await ids()).toEqual(['stays']);
  });
});
