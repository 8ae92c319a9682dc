/**
 * P9: a text is put into every field that takes one; then who or what it belongs to is deleted, and it is looked for everywhere. Postgres
 * is asked by queries: its files are not looked into, because the space of deleted rows and the write-ahead log are freed by Postgres
 * in its own time (VACUUM, checkpoints), as with every database that keeps versions.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import Type, { type Static, type TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { afterAll, beforeAll, beforeEach, describe, expect, inject, onTestFailed, test, vi } from 'vitest';
import { createFolderStore } from '../../src/storage/objects/folder.js';
import type { ObjectStore } from '../../src/storage/objects/objects.js';
import { createS3Store } from '../../src/storage/objects/s3.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { startClickhouse } from '../support/engines/clickhouse.js';
import { startNats } from '../support/engines/nats.js';
import { freshName, freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';
import { plantAutomation, plantSite, plantVisit, type Send } from './forgetting/plant.js';
import {
  type AskClickhouse,
  hiddenParts,
  inClickhouse,
  inFiles,
  inObjects,
  inPostgres,
} from './forgetting/traces.js';

const PASSWORD = 'correct horse battery';
const SignedIn = Type.Object({ data: Type.Object({ tokens: Type.Object({ access_token: Type.String() }) }) });
const Created = Type.Object({ data: Type.Object({ site_id: Type.String() }) });
const Books = Type.Object({ received: Type.Number(), balanced: Type.Boolean() });

function parse<Schema extends TSchema>(schema: Schema, value: unknown): Static<Schema> {
  if (!Value.Check(schema, value)) throw new Error(`unexpected answer: ${JSON.stringify(value)}`);
  return value;
}

const newMarker = (of: string): string => `zq${of}${randomBytes(6).toString('hex')}`;

describe.each(['embedded', 'servers', 'postgres'] as const)('P9: forgetting is complete (%s)', (mode) => {
  let guard: Guard;
  let program: Program;
  let postgres: Awaited<ReturnType<typeof freshPostgres>>;
  let sql: pg.Client;
  let objects: ObjectStore;
  let ask: AskClickhouse | undefined;
  let tables: string[] = [];

  beforeAll(async () => {
    guard = await Guard.start();
    postgres = await freshPostgres();
    sql = new pg.Client({ connectionString: postgres.url });
    await sql.connect();
    const dataDir = join(guard.directory, 'data');
    const shared = {
      ...{
        DATABASE_URL: postgres.url,
        ALLOW_REGISTRATION: 'true',
        JWT_SECRET: freshName('a secret, long enough'),
      },
      ...{ FLUSH_INTERVAL_MS: '50', RECORDINGS_FLUSH_MS: '50' },
    };
    if (mode === 'servers') {
      const { programs, s3 } = inject('servers');
      const [nats, clickhouse] = await Promise.all([startNats(guard, programs.nats), startClickhouse(guard)]);
      const bucket = freshName('forgetting').replaceAll('_', '-');
      const keys = { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey };
      program = await Program.start(guard, {
        dataDir,
        env: {
          ...shared,
          ...{
            NATS_URL: nats.url,
            CLICKHOUSE_URL: clickhouse.url,
            CLICKHOUSE_DB: 'forgetting',
            PARTITIONS: '4',
          },
          ...{ S3_ENDPOINT: s3.endpoint, S3_BUCKET_REPLAYS: bucket },
          ...{ AWS_ACCESS_KEY_ID: keys.accessKeyId, AWS_SECRET_ACCESS_KEY: keys.secretAccessKey },
        },
      });
      objects = await createS3Store(
        { ...keys, endpoint: s3.endpoint, region: 'us-east-1', bucket },
        silentTelemetry(),
      );
      ask = askClickhouse(clickhouse.url, 'forgetting', {});
    } else {
      const env = mode === 'postgres' ? { ...shared, EVENT_STORE: 'postgres' } : shared;
      program = await Program.start(guard, { dataDir, env });
      objects = createFolderStore(join(dataDir, 'objects'));
      if (mode === 'embedded') ask = await askEmbedded(dataDir);
    }
    tables = (
      (await ask?.(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'",
      )) ?? []
    ).map(({ name }) => String(name));
    // On servers old parts are kept for some minutes, against power cuts.
    for (const table of tables) await ask?.(`ALTER TABLE ${table} MODIFY SETTING old_parts_lifetime = 0`);
  });
  beforeEach(() => onTestFailed(() => program.showLog()));
  afterAll(async () => {
    await program?.stop();
    await guard?.stop();
    await objects?.close();
    await sql?.end();
    await postgres?.drop();
  });

  const askClickhouse =
    (url: string, database: string, headers: Record<string, string>): AskClickhouse =>
    async (query) => {
      const target = `${url}/?database=${database}&default_format=JSON&mutations_sync=2`;
      const answer = await fetch(target, { method: 'POST', body: query, headers });
      const text = await answer.text();
      if (!answer.ok) throw new Error(text);
      return text === '' ? [] : JSON.parse(text).data;
    };

  /** The engine of the program takes requests with the key of this run only. */
  async function askEmbedded(dataDir: string): Promise<AskClickhouse> {
    const config = await readFile(join(dataDir, 'clickhouse', 'config.xml'), 'utf8');
    const [, name = '', key = ''] = /<headers><([\w-]+)>([0-9a-f]+)</.exec(config) ?? [];
    const port = (await program.children())
      .map(({ command }) => /--http_port=(\d+)/.exec(command)?.[1])
      .find(Boolean);
    const databases = askClickhouse(`http://127.0.0.1:${port}`, 'default', { [name]: key });
    const [row] = await databases("SELECT database FROM system.tables WHERE name = 'session_slots'");
    return askClickhouse(`http://127.0.0.1:${port}`, String(row?.database), { [name]: key });
  }

  const sender =
    (token: string): Send =>
    async (method, path, body, headers = {}) => {
      const answer = await fetch(`${program.url}/api/v1/${path}`, {
        method,
        headers: {
          ...{ 'content-type': 'application/json', origin: 'https://shop.example' },
          ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(60_000),
      });
      const text = await answer.text();
      if (answer.status !== 200 && answer.status !== 201)
        throw new Error(`${method} ${path}: ${answer.status} ${text}`);
      return text === '' ? null : JSON.parse(text);
    };
  const tracker = sender('');

  async function signUp(name: string): Promise<Send> {
    const email = `${name}@shop.example`;
    const body = await tracker('POST', 'user/auth/register', { name, email, password: PASSWORD });
    return sender(parse(SignedIn, body).data.tokens.access_token);
  }
  const newSite = async (api: Send): Promise<string> =>
    parse(Created, await api('POST', 'user/websites', { name: 'Shop', url: 'https://shop.example' })).data
      .site_id;
  const booked = (api: Send, siteId: string, received: number) =>
    vi.waitFor(
      async () => {
        const books = parse(Books, await api('GET', `websites/${siteId}/ingestion`, undefined));
        expect(books).toMatchObject({ received, balanced: true });
      },
      { timeout: 20_000 },
    );

  /** A row that the store refused, as it came, and a message that nobody could read. */
  async function plantQuarantine(siteId: string, marker: string): Promise<void> {
    const visitor = `visitor ${marker}`;
    const row = Buffer.concat([Buffer.from([1, 2, visitor.length]), Buffer.from(visitor), Buffer.from([3])]);
    const message = Buffer.from(`SITE ${siteId} ${visitor} ?`);
    for (const [site, bytes] of [[siteId, row] as const, ['', message] as const]) {
      const id = randomBytes(16).toString('hex');
      const into = 'INSERT INTO quarantine (id, site_id, source, row_table, quarantined_at, reason, bytes)';
      const values = `'${id}', '${site}', 'batch', 'events', now(), 'test'`;
      if (ask) await ask(`${into} SELECT ${values}, unhex('${bytes.toString('hex')}')`);
      else await sql.query(`${into} SELECT ${values}, decode('${bytes.toString('hex')}', 'hex')`);
    }
  }

  /** Where the text is found. */
  async function traces(siteId: string, marker: string): Promise<string[]> {
    const index = 'SELECT object_key, object_offset, object_length, raw_bytes FROM replay_chunks';
    const rows = ask
      ? await ask(`${index} FINAL WHERE site_id = '${siteId}'`)
      : (await sql.query(`${index} WHERE site_id = $1`, [siteId])).rows;
    const parts = rows.map((row) => ({
      ...{ key: String(row.object_key), offset: Number(row.object_offset) },
      ...{ length: Number(row.object_length), rawBytes: Number(row.raw_bytes) },
    }));
    return [
      ...(await inPostgres(sql, marker)),
      ...(ask ? await inClickhouse(ask, marker) : []),
      ...(ask ? await hiddenParts(ask) : []),
      ...(await inObjects(objects, `replays/${siteId}/`, parts, marker)),
      ...(await inFiles(guard.directory, marker)),
    ];
  }
  /** What ClickHouse does with parts out of use every few minutes, now: it happens with every dropping of a partition, here of none. */
  async function sweepParts(): Promise<void> {
    for (const table of tables) await ask?.(`ALTER TABLE ${table} DROP PARTITION ID 'none'`);
  }
  const expectGone = (siteId: string, marker: string) =>
    vi.waitFor(
      async () => {
        await sweepParts();
        expect(await traces(siteId, marker)).toEqual([]);
      },
      { timeout: 90_000, interval: 250 },
    );

  /** So that the search is known to find what is there: in tables, objects and the stream. */
  async function expectPlanted(siteId: string, marker: string): Promise<void> {
    const found = (await traces(siteId, marker)).join('\n');
    for (const table of [
      'events',
      'bot_events',
      'funnel_events',
      'replay_chunks',
      'quarantine',
      'automation_executions',
    ])
      expect(found).toMatch(new RegExp(`(^|\\.)${table}$`, 'm'));
    expect(found).toContain(`replays/${siteId}/`);
    // NATS frees what is acknowledged by itself where nothing else is in a file.
    if (mode !== 'servers') expect(found).toMatch(/data\/stream\/.*\.seg/);
  }

  test('of a visitor, with another one on the same pages', async () => {
    const api = await signUp('visited');
    const siteId = await newSite(api);
    const [gone, stays] = [newMarker('gone'), newMarker('stays')];
    await plantAutomation(api, siteId, 'shop');
    for (const marker of [gone, stays]) await plantVisit(tracker, siteId, marker);
    await booked(api, siteId, 14);
    await plantQuarantine(siteId, gone);
    await expectPlanted(siteId, gone);
    // On its way when the visitor is erased.
    await plantVisit(tracker, siteId, gone);
    await api('DELETE', `websites/${siteId}/visitors/${encodeURIComponent(`visitor ${gone}`)}`, undefined);
    await expectGone(siteId, gone);
    expect((await traces(siteId, stays)).join('\n')).toMatch(/events/);
  }, 180_000);

  test('of a website, with what is still on its way', async () => {
    const api = await signUp('owning');
    const siteId = await newSite(api);
    const marker = newMarker('site');
    await plantSite(api, tracker, siteId, marker);
    await plantAutomation(api, siteId, marker);
    await plantVisit(tracker, siteId, marker);
    await booked(api, siteId, 8);
    await plantQuarantine(siteId, marker);
    await expectPlanted(siteId, marker);
    await plantVisit(tracker, siteId, marker);
    await api('DELETE', `user/websites/${siteId}`, undefined);
    await expectGone(siteId, marker);
    for await (const key of objects.list(`replays/${siteId}/`)) expect.fail(`${key} is left`);
  }, 180_000);

  test('of an account', async () => {
    const marker = newMarker('account');
    const api = await signUp(marker);
    const siteId = await newSite(api);
    await plantSite(api, tracker, siteId, marker);
    await plantAutomation(api, siteId, marker);
    await plantVisit(tracker, siteId, marker);
    await booked(api, siteId, 8);
    await api('POST', 'user/privacy/requests', { type: 'export', reason: marker });
    await api('POST', 'user/api-keys', { name: marker, scopes: ['read'] });
    await plantQuarantine(siteId, marker);
    await expectPlanted(siteId, marker);
    await plantVisit(tracker, siteId, marker);
    await api('POST', 'user/privacy/delete', { reason: marker, confirmPassword: PASSWORD });
    await expectGone(siteId, marker);
  }, 180_000);
});
