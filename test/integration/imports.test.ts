/** Imports at the edge: what is refused, reports, what a node leaves behind. Rows go into the store as the writer would put them. */

import { gzipSync } from 'node:zlib';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../../src/edge/testing.js';
import { AppError } from '../../src/errors.js';
import { visitorHashOf } from '../../src/privacy/forgotten.js';
import { forgetNotes } from '../../src/transfer/forget-notes.js';
import { storeUpload, sweepUploads } from '../../src/transfer/upload.js';
import { signUp } from './accounts-node.js';
import { encodeRow, makeRow } from './event-rows.js';
import { atOnce, type ImportsNode, id, idsOf, LIMIT, line, startImportsNode } from './imports-node.js';

describe('imports', () => {
  let database: ImportsNode['database'];
  let events: ImportsNode['events'];
  let written: ImportsNode['written'];
  let imported: ImportsNode['imported'];
  let node: ImportsNode['node'];
  let objects: ImportsNode['objects'];
  let token: string;
  let site: ImportsNode['site'];
  let hooks: ImportsNode['hooks'];
  let ended: ImportsNode['ended'];
  let done: ImportsNode['done'];
  let send: ImportsNode['send'];
  let kept: ImportsNode['kept'];
  let stored: ImportsNode['stored'];
  let newSite: ImportsNode['newSite'];
  let stop: ImportsNode['stop'];

  beforeAll(async () => {
    ({
      database,
      events,
      written,
      imported,
      node,
      objects,
      token,
      site,
      hooks,
      ended,
      done,
      send,
      kept,
      stored,
      newSite,
      stop,
    } = await startImportsNode());
  });
  afterAll(() => stop?.());

  test('count what became of every row, over chunks', async () => {
    const text = [0, 1, 2, 2, 3, 4, 5].map((n) => line({ event_id: id(n) })).join('');
    const { status, body } = await send(
      gzipSync(`${text}{"event_id":"x"}\nnonsense\n${line({ event_id: id(1) })}`),
    );
    expect({ status, body }).toMatchObject({
      status: 200,
      body: {
        count: 6,
        message: 'Data imported successfully',
        import: {
          state: 'done',
          rows: { read: 10, added: 6, duplicate: 2, rejected: 2 },
          errors: [
            { row: 8, error: 'event_id is no UUID' },
            { row: 9, error: 'is not a JSON object' },
          ],
        },
      },
    });
    await eventually(() => ended.includes('done'));
    await eventually(async () => (await kept()).length === 0);
    expect((await send(text)).body).toMatchObject({ count: 0, import: { rows: { added: 0, duplicate: 7 } } });
  });

  test('are undone to the row', async () => {
    const before = await node.call('GET', `/api/v1/websites/${site.id}/imports`, { token });
    const { body } = await send([1, 2, 90, 91].map((n) => line({ event_id: id(n) })).join(''));
    expect(body.import.rows).toEqual({ read: 4, added: 2, duplicate: 2, rejected: 0 });
    const path = `/api/v1/websites/${site.id}/imports/${body.import.id}`;
    const undone = await node.call('DELETE', path, { token });
    expect(undone).toMatchObject({ status: 200, body: { import: { state: 'undone' } } });
    const ids = [1, 2, 90, 91].map((n) => Buffer.from(id(n).replaceAll('-', ''), 'hex'));
    const existing = await events.existingIds([{ siteId: site.site_id, table: 'events', ids }]);
    expect([...existing].map((it) => it.slice(-2)).sort()).toEqual(['01', '02']);
    expect((await node.call('GET', path, { token })).body).toMatchObject({ state: 'undone' });
    const after = await node.call('GET', `/api/v1/websites/${site.id}/imports`, { token });
    expect(after.body.imports).toHaveLength(before.body.imports.length + 1);
  });

  test('P3: leave nothing after they were undone that comes out of a stream or spool later', async () => {
    const numbers = [260, 261, 262, 263];
    const again: (() => Promise<void>)[] = [];
    hooks.deliver = async (frame) => {
      again.push(frame.write);
      await atOnce(frame);
    };
    const text = numbers.map((n) => line({ event_id: id(n) })).join('');
    const { body } = await send(text);
    hooks.deliver = atOnce;
    const own = makeRow({
      site_id: site.site_id,
      event_id: '26'.repeat(16),
      received_at: Date.now() - 1_000,
    });
    const path = `/api/v1/websites/${site.id}/imports/${body.import.id}`;
    expect((await node.call('DELETE', path, { token })).body.import.state).toBe('undone');
    for (const write of again) await write();
    expect(await stored(numbers)).toBe(0);
    // Nothing but what the import has sent.
    await written.insertRows('events', [encodeRow(own)], 'own', Date.now() + 30_000);
    const asked = [
      { siteId: site.site_id, table: 'events', ids: [Buffer.from('26'.repeat(16), 'hex')] },
    ] as const;
    expect((await events.existingIds(asked)).size).toBe(1);
    // And once more: it is another import.
    expect((await send(text)).body).toMatchObject({ count: 4, import: { state: 'done' } });
    expect(await stored(numbers)).toBe(4);

    // What tells all that goes when nothing can be on its way any more.
    const tokens = async () =>
      (
        await imported.added(
          site.site_id,
          [body.import.id],
          idsOf(numbers).map((it) => it.toString('hex')),
        )
      ).size;
    await forgetNotes(imported, node.metadata.imports);
    expect(await tokens()).toBe(4);
    await node.metadata.erasures.expire(0);
    await forgetNotes(imported, node.metadata.imports);
    expect(await tokens()).toBe(0);
    expect(await stored(numbers)).toBe(4);
  });

  test('P9: leave no notes of a website that was deleted meanwhile', async () => {
    const other = await newSite();
    let goOn = () => {};
    const gate = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    let isHeld = false;
    hooks.beforeNote = async () => {
      hooks.beforeNote = async () => {};
      isHeld = true;
      await gate;
    };
    let sent = 0;
    hooks.beforePublish = async () => void sent++;
    const sending = send(line({ event_id: id(270) }), { websiteId: other.id });
    await eventually(() => isHeld);
    expect((await node.call('DELETE', `/api/v1/user/websites/${other.id}`, { token })).status).toBe(200);
    goOn();
    await sending;
    // The runner is done with it when it has the next one.
    expect((await send(line({ event_id: id(271) }))).body.import.state).toBe('done');
    hooks.beforePublish = async () => {};
    expect(sent).toBe(1);
    expect((await imported.imports()).map(({ siteId }) => siteId)).not.toContain(other.site_id);
  });

  test('are left to whoever took them: nothing of theirs is removed, nobody is told', async () => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const before = ended.length;
    let sent = 0;
    hooks.beforePublish = async () => {
      if (++sent !== 1) return;
      await client.query(
        "UPDATE imports SET lease = gen_random_uuid(), lease_until = now() + interval '1 hour' WHERE state = 'running'",
      );
    };
    const numbers = [280, 281, 282, 283];
    const sending = send(numbers.map((n) => line({ event_id: id(n) })).join(''));
    try {
      await eventually(() => sent === 1);
      const other = await newSite();
      expect((await send(line({ event_id: id(284) }), { websiteId: other.id })).body.import.state).toBe(
        'done',
      );
      expect(ended.slice(before)).toEqual(['done']);
      expect(await kept()).toHaveLength(1);
      await client.query("UPDATE imports SET lease_until = now() WHERE state = 'running'");
      expect((await sending).body.import).toMatchObject({ state: 'done', rows: { added: 4, duplicate: 0 } });
    } finally {
      hooks.beforePublish = async () => {};
      await client.end();
    }
  });

  test('of one account take turns, so that a long one keeps no other waiting', async () => {
    const other = await newSite();
    const long = send(Array.from({ length: 15 }, (_, n) => line({ event_id: id(500 + n) })).join(''));
    let short: ReturnType<typeof send> | undefined;
    let sent = 0;
    hooks.beforePublish = async () => {
      if (++sent !== 1) return;
      short = send(line({ event_id: id(600) }), { websiteId: other.id });
      await eventually(async () => (await node.metadata.imports.list(other.id, 1)).length === 1);
    };
    const first = await long;
    hooks.beforePublish = async () => {};
    const second = await short;
    expect(first.body).toMatchObject({ count: 15, import: { state: 'done' } });
    expect(second?.body).toMatchObject({ count: 1, import: { state: 'done' } });
    const order = [second?.body.import.id, first.body.import.id];
    expect(done.filter((it) => order.includes(it))).toEqual(order);
  });

  test('wait for a writer that stands still without keeping others waiting, but for more of the same account', async () => {
    const stuck = [await newSite(), await newSite()];
    const [third, foreign] = [await newSite(), await signUp(node, 'other@shop.example')];
    const other = await newSite(foreign.token);
    const [row, held] = [line({ event_id: id(650) }), new Map<string, () => Promise<void>>()];
    hooks.deliver = async (frame) => {
      if (stuck.some(({ site_id }) => site_id === frame.siteId)) held.set(frame.siteId, () => atOnce(frame));
      else await atOnce(frame);
    };
    try {
      const sending = stuck.map(({ id }) => send(row, { websiteId: id }));
      await eventually(() => held.size === 2);
      const waiting = send(row, { websiteId: third.id });
      await eventually(async () => (await node.metadata.imports.list(third.id, 1)).length === 1);
      // Before the second one the runner has looked for more to do.
      for (const count of [1, 0]) {
        const quick = await send(row, { websiteId: other.id }, foreign.token);
        expect(quick.body).toMatchObject({ count, import: { state: 'done' } });
      }
      expect(await node.metadata.imports.list(third.id, 1)).toMatchObject([{ state: 'queued' }]);
      for (const deliver of held.values()) await deliver();
      await Promise.all([...sending, waiting]);
      const isDone = async ({ id }: { id: string }) =>
        (await node.metadata.imports.list(id, 1))[0]?.state === 'done';
      await eventually(async () => (await Promise.all([...stuck, third].map(isDone))).every(Boolean));
    } finally {
      hooks.deliver = atOnce;
    }
  });

  test('count once what was sent before something failed', { timeout: 60_000 }, async () => {
    let failures = 0;
    const away = async (): Promise<void> => {
      if (failures++ % 3 === 1) throw new AppError('storage_unavailable', 'away');
    };
    // The stream is waited for; after a failure of the list the chunk is gone on with, whose rows are stored by then.
    hooks.beforePublish = away;
    hooks.beforeProgress = away;
    const { body } = await send(
      [0, 200, 201, 202, 203, 204, 205, 206].map((n) => line({ event_id: id(n) })).join(''),
    );
    const path = `/api/v1/websites/${site.id}/imports/${body.import.id}`;
    await eventually(async () => (await node.call('GET', path, { token })).body.state === 'done');
    hooks.beforePublish = async () => {};
    hooks.beforeProgress = async () => {};
    expect(failures).toBeGreaterThan(6);
    const { rows } = (await node.call('GET', path, { token })).body;
    expect(rows).toEqual({ read: 8, added: 7, duplicate: 1, rejected: 0 });
  });

  test('count a chunk by its own rows, whenever the books come', { timeout: 30_000 }, async () => {
    let frames = 0;
    hooks.deliver = async ({ write, book }) => {
      frames++;
      if (frames === 1) {
        // Stored, and booked when a message that came before it is.
        await write();
        hooks.waiting = [book];
      } else if (frames === 2) {
        // A message that comes again is booked in the place of this one, which is still on its way.
        await book();
        hooks.waiting = [write];
      } else {
        // The last row was refused.
        await write(2);
        await book();
      }
    };
    const numbers = Array.from({ length: 9 }, (_, n) => 240 + n);
    const { body } = await send(numbers.map((n) => line({ event_id: id(n) })).join(''));
    hooks.deliver = atOnce;
    expect(body.import).toMatchObject({
      state: 'done',
      rows: { read: 9, added: 8, duplicate: 0, rejected: 1 },
      errors: [{ row: 7 }],
    });
  });

  test('lose no row when a chunk ends elsewhere after something failed', { timeout: 30_000 }, async () => {
    hooks.chunkRows = 2;
    hooks.beforeProgress = async () => {
      hooks.beforeProgress = async () => {};
      hooks.chunkRows = 3;
      throw new AppError('storage_unavailable', 'away');
    };
    const { body } = await send([220, 221, 222, 223].map((n) => line({ event_id: id(n) })).join(''));
    const path = `/api/v1/websites/${site.id}/imports/${body.import.id}`;
    await eventually(async () => (await node.call('GET', path, { token })).body.state === 'done');
    expect((await node.call('GET', path, { token })).body.rows).toMatchObject({ added: 4, duplicate: 0 });
    await node.call('DELETE', path, { token });
    const ids = [220, 221, 222, 223].map((n) => Buffer.from(id(n).replaceAll('-', ''), 'hex'));
    const left = await events.existingIds([{ siteId: site.site_id, table: 'events', ids }]);
    expect(left.size).toBe(0);
  });

  test('stop where they are and leave nothing when they are undone before their end', async () => {
    let goOn = () => {};
    const gate = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    let sent = 0;
    hooks.beforePublish = async () => {
      if (++sent === 2) await gate;
    };
    const numbers = Array.from({ length: 12 }, (_, n) => 300 + n);
    const sending = send(numbers.map((n) => line({ event_id: id(n) })).join(''));
    await eventually(() => sent === 2);
    const list = await node.call('GET', `/api/v1/websites/${site.id}/imports`, { token });
    const [running] = list.body.imports;
    expect(running).toMatchObject({ state: 'running', rows: { added: 3 } });
    const undoing = node.call('DELETE', `/api/v1/websites/${site.id}/imports/${running.id}`, { token });
    const { metadata } = node;
    await eventually(async () => (await metadata.imports.find(site.id, running.id))?.state === 'undoing');
    goOn();
    expect(await undoing).toMatchObject({ status: 200, body: { import: { state: 'undone' } } });
    expect((await sending).body.import.id).toBe(running.id);
    expect(sent).toBe(2);
    hooks.beforePublish = async () => {};
    const ids = numbers.map((n) => Buffer.from(id(n).replaceAll('-', ''), 'hex'));
    const existing = await events.existingIds([{ siteId: site.site_id, table: 'events', ids }]);
    expect(existing.size).toBe(0);
  });

  test('come in after an erasure that has just ended, and not while it goes on', {
    timeout: 30_000,
  }, async () => {
    const { erasures, imports } = node.metadata;
    const note = (receivedUntil: number) =>
      erasures.note({ siteId: site.site_id, visitorHash: null, receivedUntil });
    const text = [400, 401, 402, 403, 404].map((n) => line({ event_id: id(n) })).join('');
    await note(Date.now());
    const { body } = await send(text);
    const added = { read: 5, added: 5, duplicate: 0, rejected: 0 };
    expect(body.import).toMatchObject({ state: 'done', rows: added });
    const ids = [400, 404].map((n) => Buffer.from(id(n).replaceAll('-', ''), 'hex'));
    const asked = [{ siteId: site.site_id, table: 'events', ids }] as const;
    expect((await events.existingIds(asked)).size).toBe(2);
    await node.call('DELETE', `/api/v1/websites/${site.id}/imports/${body.import.id}`, { token });

    await note(Date.now() + 3_600_000);
    const sending = send(text);
    await eventually(async () => {
      const [newest] = await imports.list(site.id, 1);
      return newest !== undefined && newest.id !== body.import.id && newest.state === 'running';
    });
    expect((await events.existingIds(asked)).size).toBe(0);
    const [newest] = await imports.list(site.id, 1);
    const both = [body.import.id, newest?.id ?? ''];
    // Only the file of this one is still needed.
    expect([...(await imports.unfinished(both))]).toEqual([newest?.id]);
    await note(Date.now());
    expect((await sending).body.import).toMatchObject({ state: 'done', rows: added });
  });

  test('leave out who was erased since they were asked for, and nobody else', {
    timeout: 30_000,
  }, async () => {
    const note = (visitorId: string, receivedUntil: number) =>
      node.metadata.erasures.note({
        ...{ siteId: site.site_id, receivedUntil },
        visitorHash: visitorHashOf(site.site_id, visitorId),
      });
    await note('back', Date.now());
    await note('gone', Date.now() + 3_600_000);
    const visitors = ['back', 'gone', 'other'];
    const rows = visitors.map((visitor_id, n) => line({ event_id: id(410 + n), visitor_id }));
    const { body } = await send(rows.join(''));
    expect(body.import).toMatchObject({
      state: 'done',
      rows: { read: 3, added: 2, duplicate: 0, rejected: 1 },
      errors: [{ row: 2, error: 'the visitor was erased after the import began' }],
    });
    const ids = [410, 411, 412].map((n) => Buffer.from(id(n).replaceAll('-', ''), 'hex'));
    const existing = await events.existingIds([{ siteId: site.site_id, table: 'events', ids }]);
    expect([...existing].map((it) => it.slice(-3)).sort()).toEqual(['19a', '19c']);
  });

  test('keep a report as it is, until it is undone', async () => {
    const report = {
      ...{ website_id: 'x', period_days: 7, exported_at: '2026-01-31T12:00:00Z' },
      metrics: { page_views: 5, bounce_rate: 12.5 },
      top_pages: [{ page: '/', views: 3 }],
      top_sources: [],
    };
    const { body } = await send(JSON.stringify(report, null, 2));
    expect(body).toMatchObject({ count: 3, import: { format: 'report', state: 'done', report } });
    const table = await send('Metric,Value\nTotal Visitors,12\nBounce Rate,33.33\n');
    expect(table.body).toMatchObject({
      count: 2,
      import: { report: { metrics: { 'Total Visitors': 12, 'Bounce Rate': 33.33 } } },
    });
    const path = `/api/v1/websites/${site.id}/imports/${table.body.import.id}`;
    expect((await node.call('DELETE', path, { token })).body.import).toMatchObject({ state: 'undone' });
    expect((await node.call('GET', path, { token })).body.report).toBeNull();
  });

  test('are listed without what reports say, which is asked for one by one', async () => {
    const { body } = await send('Metric,Value\nTotal Visitors,12\n');
    const list = await node.call('GET', `/api/v1/websites/${site.id}/imports`, { token });
    expect(list.body.imports[0]).toMatchObject({ id: body.import.id, format: 'report', report: null });
    const one = await node.call('GET', `/api/v1/websites/${site.id}/imports/${body.import.id}`, { token });
    expect(one.body.report).toEqual({ metrics: { 'Total Visitors': 12 } });
  });

  test('are bounded: so many reports, so many at work; those that were undone count no more', async () => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const made = await node.call('POST', '/api/v1/user/websites', {
      token,
      body: { name: 'Full', url: 'https://full.example' },
    });
    const { id: websiteId, site_id } = made.body.data;
    const report = 'Metric,Value\nTotal Visitors,12\n';
    const codeOf = async (file: string) => {
      const { status, body } = await send(file, { websiteId });
      return `${status} ${body.code ?? body.import.state}`;
    };
    // What has work to do is leased to somebody, so that the runner leaves it as it is.
    const fill = (count: number, format: string, state: string) =>
      client.query(
        `INSERT INTO imports (id, website_id, site_id, format, file_name, state, bytes, lease, lease_until)
         SELECT gen_random_uuid(), $1, $2, $3, 'x', $4, 1, CASE WHEN $4 = 'queued' THEN gen_random_uuid() END, now() + interval '1 hour' FROM generate_series(1, $5::int)`,
        [websiteId, site_id, format, state, count],
      );
    try {
      await fill(99, 'report', 'done');
      await fill(50, 'report', 'undone');
      const answers = await Promise.all([codeOf(report), codeOf(report), codeOf(report)]);
      expect(answers.sort()).toEqual(['200 done', '400 limit_reached', '400 limit_reached']);
      expect(await codeOf(line({ event_id: id(900) }))).toBe('200 done');
      await fill(20, 'ndjson', 'queued');
      expect(await codeOf(line({ event_id: id(901) }))).toBe('400 limit_reached');
      // Of all the websites of an account together: 25 here.
      const elsewhere = async () => (await send(line({ event_id: id(902) }))).body;
      expect((await elsewhere()).import.state).toBe('done');
      await fill(5, 'ndjson', 'queued');
      expect(await elsewhere()).toMatchObject({
        code: 'limit_reached',
        message: expect.stringContaining('25'),
      });
      await eventually(async () => (await kept()).length === 0);
    } finally {
      await client.query('DELETE FROM imports WHERE website_id = $1', [websiteId]);
      await client.end();
    }
  });

  const REPORT = { period_days: 7, metrics: { page_views: 5 }, top_pages: [], top_sources: [] };
  test.each([
    ['figures within figures', { metrics: { page_views: { of: 5 } } }],
    ['a list of more than a hundred', { top_pages: Array.from({ length: 101 }, () => ({ page: '/' })) }],
    ['lists within lines', { top_sources: [{ source: ['x'] }] }],
    ['a text that is a novel', { top_pages: [{ page: 'x'.repeat(2_049) }] }],
    [
      'more than a hundred figures',
      { metrics: Object.fromEntries(Array.from({ length: 101 }, (_, n) => [n, n])) },
    ],
    ['NUL', { exported_at: 'a\0' }],
    ['half a character', { website_id: '\ud800' }],
  ])('take no report with %s', async (_, changes) => {
    expect((await send(JSON.stringify({ ...REPORT, ...changes }))).status).toBe(400);
    const { body } = await send(JSON.stringify({ ...REPORT, beside: { x: [1] } }));
    expect(body.import.report).toEqual(REPORT);
  });

  test.each([
    ['no file', undefined, {}, 400, 'file is required'],
    ['an empty file', '', {}, 400, 'The file is empty'],
    ['something else', 'a,b\n1,2\n', {}, 400, 'The file is neither'],
    ['another program’s file', line({}), { source: 'ga4' }, 400, 'source must be seentics'],
    ['broken gzip', gzipSync('x'.repeat(1_000)).subarray(0, 20), {}, 400, 'damaged gzip'],
    ['more text than allowed', gzipSync('x'.repeat(LIMIT + 1)), {}, 413, 'exceeds'],
    ['a file without a single event', line({ event_id: 'x' }), {}, 400, 'No row could be imported: row 1'],
  ])('refuse %s and keep nothing of it', async (_, file, fields, status, message) => {
    const answer = await send(file, fields);
    expect(answer.status).toBe(status);
    expect(answer.body.message).toContain(message);
    await eventually(async () => (await kept()).length === 0);
  });

  test('that nobody knows of are swept after a day', async () => {
    async function* bytes() {
      yield Buffer.from('left behind');
    }
    const { id: left } = await storeUpload(objects, bytes(), LIMIT);
    const none = async () => new Set<string>();
    expect(await sweepUploads(objects, none, Date.now())).toBe(0);
    expect(await sweepUploads(objects, async (ids) => new Set(ids), Date.now() + 2 * 86_400_000)).toBe(0);
    expect(await kept()).toEqual([`imports/${left}/000000.gz`]);
    expect(await sweepUploads(objects, none, Date.now() + 2 * 86_400_000)).toBe(1);
    expect(await kept()).toEqual([]);
  });
});
