/** Imports at the edge: what is refused, reports, what a node leaves behind. Rows go into the store as the writer would put them. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { importRoutes } from '../../src/edge/routes/imports.js';
import { eventually } from '../../src/edge/testing.js';
import { AppError } from '../../src/errors.js';
import type { SiteFrame } from '../../src/events/frame.js';
import { erasureMetrics } from '../../src/privacy/erasure-metrics.js';
import { forgetfulStore } from '../../src/privacy/forgetful.js';
import { visitorHashOf } from '../../src/privacy/forgotten.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { createPostgresImported } from '../../src/storage/events/transfer/postgres-imported.js';
import { createFolderStore } from '../../src/storage/objects/folder.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { forgetNotes } from '../../src/transfer/forget-notes.js';
import { runImport } from '../../src/transfer/import-run.js';
import { createImportRunner, type ImportRunner } from '../../src/transfer/import-runner.js';
import { createImportService } from '../../src/transfer/import-service.js';
import { transferMetrics } from '../../src/transfer/transfer-metrics.js';
import { undoImport } from '../../src/transfer/undo.js';
import { deleteUpload, storeUpload, sweepUploads } from '../../src/transfer/upload.js';
import { freshPostgres } from '../support/fresh.js';
import { startNode } from './accounts-node.js';
import { encodeRow, makeRow } from './event-rows.js';

const LIMIT = 100_000;
const ROW = {
  event_id: '01234567-0123-4123-8123-0123456789ab',
  timestamp: '2026-01-31T12:00:00.000Z',
  event_type: 'pageview',
  visitor_id: 'v',
  session_id: 's',
};
const line = (changes: object): string => `${JSON.stringify({ ...ROW, ...changes })}\n`;
const id = (n: number): string => `01234567-0123-4123-8123-${n.toString(16).padStart(12, '0')}`;

describe('imports', () => {
  let database: Awaited<ReturnType<typeof freshPostgres>>;
  let events: ReturnType<typeof createPostgresEventStore>;
  let imported: ReturnType<typeof createPostgresImported>;
  let node: Awaited<ReturnType<typeof startNode>>;
  let runner: ImportRunner | undefined;
  let folder: string;
  let token: string;
  let site: { id: string; site_id: string };
  let objects: ReturnType<typeof createFolderStore>;
  const ended: string[] = [];
  /** Ids of imports that are done, in order. */
  const done: string[] = [];
  let written: Pick<typeof events, 'insertRows' | 'addToBooks' | 'quarantine'>;
  /** What the stream and the list of imports say before they do what they should. */
  let beforePublish: () => Promise<void> = async () => {};
  let beforeProgress: () => Promise<void> = async () => {};
  let beforeNote: () => Promise<void> = async () => {};
  let chunkRows = 3;
  type Delivery = { readonly write: (rows?: number) => Promise<void>; readonly book: () => Promise<void> };
  /** What the writer does with a frame, and what it still has to do. */
  const atOnce = async ({ write, book }: Delivery): Promise<void> => {
    await write();
    await book();
  };
  let deliver = atOnce;
  let waiting: (() => Promise<void>)[] = [];
  const drain = async (): Promise<void> => {
    for (const settle of waiting.splice(0)) await settle();
  };

  beforeAll(async () => {
    database = await freshPostgres();
    folder = await mkdtemp(join(tmpdir(), 'imports-'));
    objects = createFolderStore(folder);
    const telemetry = silentTelemetry();
    const options = { url: database.url, maxConnections: 3, minConnections: 0, telemetry };
    events = createPostgresEventStore(options);
    await events.migrate();
    imported = createPostgresImported(options);
    const metrics = transferMetrics(telemetry.registry);
    // The writer's part.
    const publish = async ({ siteId, rows, received, rejected }: SiteFrame): Promise<void> => {
      await beforePublish();
      const counts = { received, rejected, stored: rows.length, duplicate: 0, bot: 0, quarantined: 0 };
      const hour = Math.floor(Date.now() / 3_600_000) * 3_600_000;
      await deliver({
        write: async (count = rows.length) => {
          const bytes = rows.slice(0, count).map((row) => row.subarray(5));
          await written.insertRows('events', bytes, `${Math.random()}`, Date.now() + 30_000);
        },
        book: () => written.addToBooks([{ siteId, source: 'import', hour, ...counts }], `${Math.random()}`),
      });
    };
    node = await startNode({
      databaseUrl: database.url,
      routes: ({ metadata: { imports, erasures } }) => {
        written = forgetfulStore(events, {
          erasures,
          onDropped: async () => {},
          addedBy: (siteId, importIds, ids) => imported.added(siteId, importIds, ids),
          metrics: erasureMetrics(telemetry.registry),
        });
        const run = {
          imports,
          objects,
          events,
          erasures,
          rows: {
            ...imported,
            async note(...call: Parameters<typeof imported.note>) {
              await beforeNote();
              return imported.note(...call);
            },
          },
          publish,
          ...{ metrics, drain, booksMs: 300, turnMs: 0 },
          deleteUpload: (importId: string) => deleteUpload(objects, importId),
          keepsAddresses: async () => false,
        };
        const failing: typeof imports = {
          ...imports,
          async progress(...call) {
            await beforeProgress();
            return imports.progress(...call);
          },
        };
        runner = createImportRunner({
          ...{ imports, metrics, telemetry },
          run: (item, signal) => runImport({ ...run, imports: failing, chunkRows }, item, signal),
          undo: (item, signal) => undoImport(run, item, signal),
          ...{ retryMs: 100, leaseMs: 2_000 },
          async onEnded(item, state) {
            ended.push(state);
            done.push(item.id);
            await deleteUpload(objects, item.id);
          },
        });
        const { wake } = runner;
        return importRoutes({
          imports: createImportService({ imports, objects, limitBytes: LIMIT, maxWaiting: 25, wake }),
          limitBytes: LIMIT,
        });
      },
    });
    const email = 'owner@shop.example';
    const account = { name: 'Owner', email, password: 'correct horse battery' };
    const { body } = await node.call('POST', '/api/v1/user/auth/register', { body: account });
    token = body.data.tokens.access_token;
    const made = await node.call('POST', '/api/v1/user/websites', {
      token,
      body: { name: 'Shop', url: 'https://shop.example' },
    });
    site = made.body.data;
  });
  afterAll(async () => {
    await runner?.stop();
    await node?.stop();
    await events?.close();
    await imported?.close();
    await database?.drop();
    await rm(folder, { recursive: true, force: true });
  });

  const send = async (file: string | Uint8Array | undefined, fields: Record<string, string> = {}) => {
    const form = new FormData();
    for (const [name, value] of Object.entries({ websiteId: site.id, ...fields })) form.append(name, value);
    if (file !== undefined) form.append('file', new Blob([file]), 'file.json');
    const answer = await fetch(`${node.url}/api/v1/analytics/import`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: form,
    });
    // biome-ignore lint/suspicious/noExplicitAny: a JSON answer, looked into by the assertions
    const body: any = await answer.json();
    return { status: answer.status, body };
  };
  const kept = async (): Promise<string[]> => {
    const keys: string[] = [];
    for await (const key of objects.list('imports/')) keys.push(key);
    return keys;
  };

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

  const idsOf = (numbers: readonly number[]) =>
    numbers.map((n) => Buffer.from(id(n).replaceAll('-', ''), 'hex'));
  const stored = async (numbers: readonly number[], siteId = site.site_id): Promise<number> =>
    (await events.existingIds([{ siteId, table: 'events', ids: idsOf(numbers) }])).size;
  const newSite = async (): Promise<typeof site> => {
    const body = { name: 'Other', url: 'https://other.example' };
    return (await node.call('POST', '/api/v1/user/websites', { token, body })).body.data;
  };

  test('P3: leave nothing after they were undone that comes out of a stream or spool later', async () => {
    const numbers = [260, 261, 262, 263];
    const again: (() => Promise<void>)[] = [];
    deliver = async (frame) => {
      again.push(frame.write);
      await atOnce(frame);
    };
    const text = numbers.map((n) => line({ event_id: id(n) })).join('');
    const { body } = await send(text);
    deliver = atOnce;
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
    beforeNote = async () => {
      beforeNote = async () => {};
      isHeld = true;
      await gate;
    };
    let sent = 0;
    beforePublish = async () => void sent++;
    const sending = send(line({ event_id: id(270) }), { websiteId: other.id });
    await eventually(() => isHeld);
    expect((await node.call('DELETE', `/api/v1/user/websites/${other.id}`, { token })).status).toBe(200);
    goOn();
    await sending;
    // The runner is done with it when it has the next one.
    expect((await send(line({ event_id: id(271) }))).body.import.state).toBe('done');
    beforePublish = async () => {};
    expect(sent).toBe(1);
    expect((await imported.imports()).map(({ siteId }) => siteId)).not.toContain(other.site_id);
  });

  test('are left to whoever took them: nothing of theirs is removed, nobody is told', async () => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const before = ended.length;
    let sent = 0;
    beforePublish = async () => {
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
      beforePublish = async () => {};
      await client.end();
    }
  });

  test('of one account take turns, so that a long one keeps no other waiting', async () => {
    const other = await newSite();
    const long = send(Array.from({ length: 15 }, (_, n) => line({ event_id: id(500 + n) })).join(''));
    let short: ReturnType<typeof send> | undefined;
    let sent = 0;
    beforePublish = async () => {
      if (++sent !== 1) return;
      short = send(line({ event_id: id(600) }), { websiteId: other.id });
      await eventually(async () => (await node.metadata.imports.list(other.id, 1)).length === 1);
    };
    const first = await long;
    beforePublish = async () => {};
    const second = await short;
    expect(first.body).toMatchObject({ count: 15, import: { state: 'done' } });
    expect(second?.body).toMatchObject({ count: 1, import: { state: 'done' } });
    const order = [second?.body.import.id, first.body.import.id];
    expect(done.filter((it) => order.includes(it))).toEqual(order);
  });

  test('count once what was sent before something failed', { timeout: 60_000 }, async () => {
    let failures = 0;
    const away = async (): Promise<void> => {
      if (failures++ % 3 === 1) throw new AppError('storage_unavailable', 'away');
    };
    // The stream is waited for; after a failure of the list the chunk is gone on with, whose rows are stored by then.
    beforePublish = away;
    beforeProgress = away;
    const { body } = await send(
      [0, 200, 201, 202, 203, 204, 205, 206].map((n) => line({ event_id: id(n) })).join(''),
    );
    const path = `/api/v1/websites/${site.id}/imports/${body.import.id}`;
    await eventually(async () => (await node.call('GET', path, { token })).body.state === 'done');
    beforePublish = async () => {};
    beforeProgress = async () => {};
    expect(failures).toBeGreaterThan(6);
    const { rows } = (await node.call('GET', path, { token })).body;
    expect(rows).toEqual({ read: 8, added: 7, duplicate: 1, rejected: 0 });
  });

  test('count a chunk by its own rows, whenever the books come', { timeout: 30_000 }, async () => {
    let frames = 0;
    deliver = async ({ write, book }) => {
      frames++;
      if (frames === 1) {
        // Stored, and booked when a message that came before it is.
        await write();
        waiting = [book];
      } else if (frames === 2) {
        // A message that comes again is booked in the place of this one, which is still on its way.
        await book();
        waiting = [write];
      } else {
        // The last row was refused.
        await write(2);
        await book();
      }
    };
    const numbers = Array.from({ length: 9 }, (_, n) => 240 + n);
    const { body } = await send(numbers.map((n) => line({ event_id: id(n) })).join(''));
    deliver = atOnce;
    expect(body.import).toMatchObject({
      state: 'done',
      rows: { read: 9, added: 8, duplicate: 0, rejected: 1 },
      errors: [{ row: 7 }],
    });
  });

  test('lose no row when a chunk ends elsewhere after something failed', { timeout: 30_000 }, async () => {
    chunkRows = 2;
    beforeProgress = async () => {
      beforeProgress = async () => {};
      chunkRows = 3;
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
    beforePublish = async () => {
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
    beforePublish = async () => {};
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
