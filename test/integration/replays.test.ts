import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { SITE } from '../../src/edge/testing.js';
import { createPlayback } from '../../src/replays/playback.js';
import { recordingStoreMetrics } from '../../src/replays/recording-store-metrics.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { pause, until } from '../support/wait.js';
import { clicks, moves, snapshotEvents, textChange, upload } from './recordings.js';
import { IPHONE, type ReplayNode, startReplayNode } from './replay-node.js';

const COMBINATIONS = [
  { store: 'clickhouse', objects: 's3' },
  { store: 'postgres', objects: 'folder' },
] as const;

describe.each(COMBINATIONS)('recordings in $store and $objects', (kinds) => {
  let node: ReplayNode;
  /** A session whose last chunk is of now has the right clock, although it began ten minutes ago. */
  let now = 0;
  let start = 0;

  beforeEach(() => {
    now = Date.now();
    start = now - 600_000;
  });

  beforeAll(async () => {
    node = await startReplayNode(kinds);
  });
  afterAll(() => node.stop());

  const recorded = async (...uploads: unknown[]) => {
    for (const one of uploads)
      expect(await node.record(one)).toEqual({ status: 200, body: { status: 'success' } });
    await node.flush();
  };
  const session = async (id: string) =>
    (await node.list('&limit=100')).body.sessions.find((it: { session_id: string }) => it.session_id === id);
  // biome-ignore lint/suspicious/noExplicitAny: a JSON answer, looked into by the assertions
  const texts = (chunks: any[]): string[] =>
    chunks
      .flatMap((chunk) => chunk.data)
      .flatMap((event) => event.data.texts?.map((it: { value: string }) => it.value) ?? []);

  it('come back as they were, with what is known of them', async () => {
    const first = snapshotEvents(start, 'hello', '/shop');
    const last = [...clicks(now - 3_000, 2), textChange(now - 1_000, 'bye')];
    await recorded(upload('whole', 0, first, '/shop/'), upload('whole', 1, last, '/shop/cart?x=1'));
    const { body } = await node.data('whole');
    expect(body.missing_chunks).toBe(0);
    expect(body.chunks).toMatchObject([
      { website_id: SITE.siteId, session_id: 'whole', sequence: 0, timestamp: new Date(start).toISOString() },
      { sequence: 1 },
    ]);
    expect(body.chunks[0].data[0]).toEqual(first[0]);
    expect(JSON.stringify(body.chunks[0].data[1])).toContain('hello');
    expect(body.chunks[1].data).toEqual(last);
    expect(body.chunks[0].id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-/);
    expect(await session('whole')).toEqual({
      session_id: 'whole',
      website_id: SITE.siteId,
      start_time: new Date(start).toISOString(),
      end_time: new Date(now - 1_000).toISOString(),
      duration_seconds: 599,
      chunk_count: 2,
      browser: 'Chrome',
      device: 'Desktop',
      os: 'Windows',
      country: 'Unknown',
      country_code: '',
      entry_page: '/shop',
      pages: ['/shop', '/shop/cart'],
      clicks: 2,
      rage_clicks: 0,
      errors: 0,
      has_full_snapshot: true,
      incomplete: false,
    });
  });

  it('are played in the order of their own clock, whatever came first', async () => {
    await recorded(
      upload('order', 2, [textChange(now - 1_000, 'three')]),
      upload('order', 0, [...snapshotEvents(start, 'one'), textChange(start + 5, 'one')]),
      upload('order', 1, [textChange(start + 60_000, 'two')]),
    );
    expect(texts((await node.data('order')).body.chunks)).toEqual(['one', 'two', 'three']);
    expect(await session('order')).toMatchObject({ incomplete: false, chunk_count: 3 });
    // Another tab has counted anew.
    await recorded(
      upload('tabs', 1, [textChange(now - 1_000, 'last')]),
      upload('tabs', 5, [...snapshotEvents(now - 9_000, 'x'), textChange(now - 8_000, 'first')]),
    );
    expect(texts((await node.data('tabs')).body.chunks)).toEqual(['first', 'last']);
  });

  it('keep both of two chunks with one number, and one of a chunk that came twice', async () => {
    const tail = upload('reused', 1, [textChange(start + 9_000, 'tail of the first page')]);
    await recorded(
      upload('reused', 0, snapshotEvents(start, 'first page')),
      tail,
      upload('reused', 1, [
        ...snapshotEvents(start + 20_000, 'second page'),
        textChange(start + 20_005, 'second page'),
      ]),
    );
    // Once in the memory of the writer, once against the store.
    await recorded(tail);
    const { chunks } = (await node.data('reused')).body;
    expect(chunks.map((chunk: { sequence: number }) => chunk.sequence)).toEqual([0, 1, 1]);
    expect(texts(chunks)).toEqual(['tail of the first page', 'second page']);
  });

  it('are listed and marked when their beginning was lost', async () => {
    await recorded(
      upload('headless', 3, moves(now - 5_000, 5)),
      upload('gap', 0, snapshotEvents(now - 9_000, 'x')),
      upload('gap', 2, moves(now - 5_000, 5)),
    );
    expect(await session('headless')).toMatchObject({
      ...{ incomplete: true, has_full_snapshot: false, chunk_count: 1 },
      ...{ browser: 'Chrome', os: 'Windows', duration_seconds: 4 },
    });
    expect(await session('gap')).toMatchObject({ incomplete: true, has_full_snapshot: true });
    await recorded(upload('second', 1, snapshotEvents(now - 9_000, 'x')));
    expect(await session('second')).toMatchObject({ incomplete: true, has_full_snapshot: true });
  });

  it('may have snapshots of several MB that do not compress', async () => {
    const text = randomBytes(3_700_000).toString('base64');
    const events = snapshotEvents(now - 2_000, text);
    await recorded(upload('huge', 0, events));
    const { body } = await node.data('huge');
    expect(body.chunks).toHaveLength(1);
    expect(
      body.chunks[0].data[1].data.node.childNodes[1].childNodes[1].childNodes[0].textContent === text,
    ).toBe(true);
  }, 20_000);

  it.each([
    '../../../etc/passwd',
    'a/b\\c',
    '%2e%2e%2f',
    "'; DROP TABLE replay_chunks; --",
    '\u{1f600}é',
    'x'.repeat(255),
  ])('take the session id %j as a text like any other', async (id) => {
    await recorded(upload(id, 0, snapshotEvents(now - 2_000, 'odd')));
    expect((await node.data(id)).body.chunks).toHaveLength(1);
    expect(await session(id)).toMatchObject({ session_id: id });
    for (const key of await node.keys())
      expect(key).toMatch(/^replays\/[0-9a-f]{24}\/\d{8}\/[0-9a-f]{32}\.bin$/);
  });

  it.each([
    ['a session id of 1 KB', upload('y'.repeat(1_024), 0, snapshotEvents(now, 'x'))],
    ['no session id', { website_id: SITE.siteId, events: snapshotEvents(now, 'x'), sequence: 0 }],
    ['a session id that is no text', { ...upload('', 0, snapshotEvents(now, 'x')), session_id: { a: 1 } }],
    ['no events', upload('none', 0, [])],
    ['events that are none', upload('none', 0, ['x', null, { type: 'x' }])],
    ['a sequence that is none', { ...upload('none', 0, snapshotEvents(now, 'x')), sequence: 'one' }],
    ['broken JSON', '{"website_id":"aaaaaaaaaaaaaaaaaaaaaaaa","session_id":'],
  ])('are refused with 400, which the tracker drops: %s', async (_what, body) => {
    const answer = await node.record(body);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ error: expect.any(String), message: expect.any(String) });
  });

  it('of a recorder with a wrong clock are moved to where they belong; their length is its own', async () => {
    const off = now - 30 * 86_400_000;
    await recorded(
      upload('skewed', 0, snapshotEvents(off, 'late')),
      upload('skewed', 1, [textChange(off + 90_000, 'x')]),
    );
    const found = await session('skewed');
    expect(found.duration_seconds).toBe(90);
    expect(Math.abs(Date.parse(found.end_time) - Date.now())).toBeLessThan(30_000);
  });

  it('with a missing object are played without it, and say so', async () => {
    const before = new Set(await node.keys());
    await recorded(upload('holed', 0, snapshotEvents(start, 'a')));
    const [lost = ''] = (await node.keys()).filter((key) => !before.has(key));
    await recorded(upload('holed', 1, [textChange(now - 1_000, 'still here')]));
    await node.objects.delete([lost]);
    const { status, body } = await node.data('holed');
    expect(status).toBe(200);
    expect(body.missing_chunks).toBe(1);
    expect(texts(body.chunks)).toEqual(['still here']);
  });

  it('give the newest look of a page', async () => {
    await recorded(
      upload('look-1', 0, snapshotEvents(start, 'old look'), '/look'),
      upload('look-2', 0, snapshotEvents(now - 5_000, 'new look'), '/look/'),
      upload('look-3', 1, moves(now - 1_000, 1), '/look'),
    );
    const of = (url: string) => node.call('GET', `snapshot?website_id=${SITE.siteId}&url=${url}`);
    const { status, body } = await of('/look');
    expect(status).toBe(200);
    expect(body[1].data.node.childNodes[1].childNodes[1].childNodes[0].textContent).toBe('new look');
    expect(await of('/nowhere')).toMatchObject({
      status: 404,
      body: { error: 'No snapshot found for this URL' },
    });
    expect(await node.call('GET', `snapshot?website_id=${SITE.siteId}`)).toMatchObject({
      status: 400,
      body: { error: 'website_id and url are required' },
    });
  });

  it('are found by their attributes, page by page', async () => {
    const site = { ...SITE, siteId: 'bbbbbbbbbbbbbbbbbbbbbbbb', id: '22222222-2222-4222-8222-222222222222' };
    node.sites.set(site.siteId, site);
    const other = (id: string, events: unknown[], page: string) => ({
      ...upload(id, 0, events, page),
      website_id: site.id,
    });
    // Not so long ago that their clock would be taken for a wrong one.
    const first = now - 50_000;
    for (let i = 0; i < 7; i++)
      await node.record(
        other(
          `s${i}`,
          [...snapshotEvents(first + i * 5_000, 'x'), ...moves(first + i * 5_000, 1 + i)],
          `/p${i}`,
        ),
      );
    await node.record(
      other('mobile', [...snapshotEvents(now - 9_000, 'x'), ...clicks(now - 5_000, 6)], '/Deep/Page'),
      { 'user-agent': IPHONE },
    );
    await node.flush();
    const list = async (query: string) => {
      const { status, body } = await node.call('GET', `sessions?website_id=${site.siteId}${query}`);
      expect([status, body.error]).toEqual([200, undefined]);
      return { ...body, ids: body.sessions.map((it: { session_id: string }) => it.session_id) };
    };
    const all = ['mobile', 's6', 's5', 's4', 's3', 's2', 's1', 's0'];
    expect(await list('')).toMatchObject({ ids: all, total: 8, next_cursor: null });
    expect(await list('&limit=3&offset=2')).toMatchObject({ ids: all.slice(2, 5), total: 8 });
    const walked: string[] = [];
    let cursor = '';
    do {
      const page = await list(`&limit=3&cursor=${cursor}`);
      expect(page.total).toBe(8);
      walked.push(...page.ids);
      cursor = page.next_cursor;
    } while (cursor !== null);
    expect(walked).toEqual(all);
    expect((await list('&device=mobile')).ids).toEqual(['mobile']);
    expect((await list('&device=all&browser=CHROME')).total).toBe(7);
    expect((await list('&os=ios&browser=safari')).ids).toEqual(['mobile']);
    expect((await list('&has_rage_clicks=true')).ids).toEqual(['mobile']);
    expect((await list('&has_rage_clicks=false')).total).toBe(7);
    expect((await list('&has_errors=true')).total).toBe(0);
    expect((await list('&page=deep')).ids).toEqual(['mobile']);
    expect((await list('&min_duration=2&max_duration=4')).ids).toEqual(['s4', 's3', 's2']);
    expect((await list('&country=Germany')).total).toBe(0);
    expect((await list('&country=unknown')).total).toBe(8);
    const at = (i: number) => new Date(first + i * 5_000).toISOString();
    expect((await list(`&from=${at(2)}&to=${at(4)}`)).ids).toEqual(['s4', 's3', 's2']);
    expect((await node.call('GET', `sessions?website_id=${site.siteId}&from=soon`)).status).toBe(400);
    expect((await node.call('GET', `sessions?website_id=${site.siteId}&cursor=zz`)).status).toBe(400);
  });

  it('are read by viewers and nobody else, and deleted by nobody who only views', async () => {
    await recorded(upload('private', 0, snapshotEvents(now - 2_000, 'secret'), '/private'));
    const id = SITE.siteId;
    const reads = [
      `sessions?website_id=${id}`,
      `data/private?website_id=${id}`,
      `snapshot?website_id=${id}&url=/private`,
    ];
    for (const path of reads) {
      expect((await node.call('GET', path, undefined, 'viewer')).status).toBe(200);
      expect((await node.call('GET', path, undefined, 'stranger')).status).toBe(403);
      expect((await node.call('GET', path, undefined, 'nobody')).status).toBe(401);
      expect((await node.call('GET', path.replace(id, 'c'.repeat(24)))).status).toBe(404);
    }
    for (const token of ['viewer', 'stranger']) {
      expect((await node.call('DELETE', `sessions/private?website_id=${id}`, undefined, token)).status).toBe(
        403,
      );
      expect(
        (await node.call('DELETE', 'bulk-delete', { website_id: id, session_ids: ['private'] }, token))
          .status,
      ).toBe(403);
    }
    expect((await node.data('private')).body.chunks).toHaveLength(1);
  });

  it('that nobody has made are an empty list', async () => {
    expect((await node.data('never')).body).toEqual({ chunks: [], session_id: 'never', missing_chunks: 0 });
  });

  it('are read no further when the client leaves', async () => {
    const text = () => randomBytes(500_000).toString('base64');
    for (let i = 0; i < 24; i++) await node.record(upload('long', i, [textChange(start + i, text())]));
    await node.flush();
    let reads = 0;
    const { get } = node.objects;
    node.objects.get = (key, range) => {
      reads++;
      return get.call(node.objects, key, range);
    };
    try {
      const leaving = new AbortController();
      const answer = await fetch(`${node.app.url}/api/v1/replays/data/long?website_id=${SITE.siteId}`, {
        headers: { authorization: 'Bearer owner', 'accept-encoding': 'identity' },
        signal: leaving.signal,
      });
      const reader = answer.body?.getReader();
      await reader?.read();
      leaving.abort();
      await until(async () => (await node.app.metric('seentics_http_aborted_requests_total')) > 0, {
        what: 'the server to notice',
      });
      // What was under way may end; then nothing more is read.
      await until(
        async () => {
          const before = reads;
          await pause(100);
          return before === reads;
        },
        { what: 'reading to end' },
      );
      expect(reads).toBeLessThan(40);
    } finally {
      node.objects.get = get;
    }
  }, 30_000);

  it('are played only so far, and say so', async () => {
    await recorded(
      ...[0, 1, 2].map((n) => upload('endless', n, clicks(now - 9_000 + n * 1_000, 2), '/shop')),
    );
    const telemetry = silentTelemetry();
    const played = async (mostParts: number) => {
      const metrics = recordingStoreMetrics(silentTelemetry().registry);
      const playback = createPlayback({ ...node, metrics, log: telemetry.log, mostParts });
      const pieces: Uint8Array[] = [];
      for await (const piece of playback.session(SITE.siteId, 'endless')) pieces.push(piece);
      const { chunks, truncated, missing_chunks } = JSON.parse(Buffer.concat(pieces).toString());
      return [chunks.map((chunk: { sequence: number }) => chunk.sequence), truncated, missing_chunks];
    };
    expect(await played(2)).toEqual([[0, 1], true, 0]);
    expect(await played(4)).toEqual([[0, 1, 2], undefined, 0]);
  });
});
