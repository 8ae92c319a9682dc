/** A node that imports, with the part of the writer played by the test, and hooks where things go wrong. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { importRoutes } from '../../src/edge/routes/imports.js';
import type { SiteFrame } from '../../src/events/frame.js';
import { erasureMetrics } from '../../src/privacy/erasure-metrics.js';
import { forgetfulStore } from '../../src/privacy/forgetful.js';
import type { EventStore } from '../../src/storage/events/event-store.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { createPostgresImported } from '../../src/storage/events/transfer/postgres-imported.js';
import type { MetadataStore } from '../../src/storage/metadata/metadata.js';
import { createFolderStore } from '../../src/storage/objects/folder.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { runImport } from '../../src/transfer/import-run.js';
import { createImportRunner, type ImportRunner } from '../../src/transfer/import-runner.js';
import { createImportService } from '../../src/transfer/import-service.js';
import { transferMetrics } from '../../src/transfer/transfer-metrics.js';
import { undoImport } from '../../src/transfer/undo.js';
import { createUndoneRows } from '../../src/transfer/undone-rows.js';
import { deleteUpload } from '../../src/transfer/upload.js';
import { freshPostgres } from '../support/fresh.js';
import { signUp, startNode } from './accounts-node.js';

/** Bytes of a file. */
export const LIMIT = 100_000;
const ROW = {
  event_id: '01234567-0123-4123-8123-0123456789ab',
  timestamp: '2026-01-31T12:00:00.000Z',
  event_type: 'pageview',
  visitor_id: 'v',
  session_id: 's',
};
/** A row of a file. */
export const line = (changes: object): string => `${JSON.stringify({ ...ROW, ...changes })}\n`;
export const id = (n: number): string => `01234567-0123-4123-8123-${n.toString(16).padStart(12, '0')}`;
/** As the stores take them. */
export const idsOf = (numbers: readonly number[]) =>
  numbers.map((n) => Buffer.from(id(n).replaceAll('-', ''), 'hex'));

/** What the writer has to do with a frame: store its first rows (default: all), book it. */
export interface Delivery {
  readonly siteId: string;
  readonly write: (rows?: number) => Promise<void>;
  readonly book: () => Promise<void>;
}

export async function atOnce({ write, book }: Delivery): Promise<void> {
  await write();
  await book();
}

const nothing = async (): Promise<void> => {};
type Written = Pick<EventStore, 'insertRows' | 'addToBooks' | 'quarantine'>;

export async function startImportsNode() {
  const database = await freshPostgres();
  const folder = await mkdtemp(join(tmpdir(), 'imports-'));
  const objects = createFolderStore(folder);
  const telemetry = silentTelemetry();
  const options = { url: database.url, maxConnections: 3, minConnections: 0, telemetry };
  const events = createPostgresEventStore(options);
  await events.migrate();
  const imported = createPostgresImported(options);
  const metrics = transferMetrics(telemetry.registry);
  const waiting: (() => Promise<void>)[] = [];
  const hooks = {
    /** What the stream, the list of imports and the notes say before they do what they should. */
    beforePublish: nothing,
    beforeProgress: nothing,
    beforeNote: nothing,
    chunkRows: 3,
    deliver: atOnce,
    /** What the writer still has to do. */
    waiting,
  };
  /** States in which imports ended, and their ids. */
  const ended: string[] = [];
  const done: string[] = [];
  const forgetful = ({ erasures, imports }: Pick<MetadataStore, 'erasures' | 'imports'>): Written =>
    forgetfulStore(events, {
      erasures,
      onDropped: nothing,
      undoneOf: createUndoneRows(imported, imports),
      metrics: erasureMetrics(telemetry.registry),
    });

  const publishInto =
    (written: Written) =>
    async ({ siteId, rows, received, rejected }: SiteFrame): Promise<void> => {
      await hooks.beforePublish();
      const counts = { received, rejected, stored: rows.length, duplicate: 0, bot: 0, quarantined: 0 };
      const hour = Math.floor(Date.now() / 3_600_000) * 3_600_000;
      await hooks.deliver({
        siteId,
        write: async (count = rows.length) => {
          const bytes = rows.slice(0, count).map((row) => row.subarray(5));
          await written.insertRows('events', bytes, `${Math.random()}`, Date.now() + 30_000);
        },
        book: () => written.addToBooks([{ siteId, source: 'import', hour, ...counts }], `${Math.random()}`),
      });
    };
  const start = ({ imports, erasures }: Pick<MetadataStore, 'imports' | 'erasures'>, written: Written) => {
    const run = {
      ...{ imports, objects, events, erasures, metrics, booksMs: 300, turnMs: 0 },
      rows: {
        ...imported,
        async note(...call: Parameters<typeof imported.note>) {
          await hooks.beforeNote();
          return imported.note(...call);
        },
      },
      publish: publishInto(written),
      async drain() {
        for (const settle of hooks.waiting.splice(0)) await settle();
      },
      deleteUpload: (importId: string) => deleteUpload(objects, importId),
      keepsAddresses: async () => false,
    };
    const failing: typeof imports = {
      ...imports,
      async progress(...call) {
        await hooks.beforeProgress();
        return imports.progress(...call);
      },
    };
    return createImportRunner({
      ...{ imports, metrics, telemetry, retryMs: 100, leaseMs: 2_000, patienceMs: 500 },
      run: (item, signal) =>
        runImport({ ...run, imports: failing, chunkRows: hooks.chunkRows }, item, signal),
      undo: (item, signal) => undoImport(run, item, signal),
      async onEnded(item, state) {
        ended.push(state);
        done.push(item.id);
        await deleteUpload(objects, item.id);
      },
    });
  };

  let runner: ImportRunner | undefined;
  let written: Written = events;
  const node = await startNode({
    databaseUrl: database.url,
    routes: ({ metadata }) => {
      written = forgetful(metadata);
      runner = start(metadata, written);
      const { imports } = metadata;
      const { wake } = runner;
      return importRoutes({
        imports: createImportService({ imports, objects, limitBytes: LIMIT, maxWaiting: 25, wake }),
        limitBytes: LIMIT,
      });
    },
  });
  const { token } = await signUp(node, 'owner@shop.example');
  const newSite = async (owner = token): Promise<{ id: string; site_id: string }> => {
    const body = { name: 'Shop', url: 'https://shop.example' };
    return (await node.call('POST', '/api/v1/user/websites', { token: owner, body })).body.data;
  };
  const site = await newSite();
  return {
    ...{ database, events, written, imported, node, objects, token, site, hooks, ended, done, newSite },
    /** Uploads a file for the site, or the one that `fields` name. */
    async send(file: string | Uint8Array | undefined, fields: Record<string, string> = {}, owner = token) {
      const form = new FormData();
      for (const [name, value] of Object.entries({ websiteId: site.id, ...fields })) form.append(name, value);
      if (file !== undefined) form.append('file', new Blob([file]), 'file.json');
      const answer = await fetch(`${node.url}/api/v1/analytics/import`, {
        method: 'POST',
        headers: { authorization: `Bearer ${owner}` },
        body: form,
      });
      // biome-ignore lint/suspicious/noExplicitAny: a JSON answer, looked into by the assertions
      const body: any = await answer.json();
      return { status: answer.status, body };
    },
    /** Keys of uploads. */
    async kept(): Promise<string[]> {
      const keys: string[] = [];
      for await (const key of objects.list('imports/')) keys.push(key);
      return keys;
    },
    /** How many of these events the site has. */
    async stored(numbers: readonly number[]): Promise<number> {
      return (await events.existingIds([{ siteId: site.site_id, table: 'events', ids: idsOf(numbers) }]))
        .size;
    },
    async stop() {
      await runner?.stop();
      await node.stop();
      await events.close();
      await imported.close();
      await database.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export type ImportsNode = Awaited<ReturnType<typeof startImportsNode>>;
