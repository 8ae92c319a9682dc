/** What an operator does once or twice: comes from the original with all data, and restores a node from backups of every part. */
import { spawnSync } from 'node:child_process';
import { cp, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hash } from 'bcryptjs';
import pg from 'pg';
import Type from 'typebox';
import { afterAll, beforeAll, beforeEach, expect, inject, onTestFailed, test } from 'vitest';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { createS3Store } from '../../src/storage/objects/s3.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { Api, account, type Site } from '../support/api.js';
import { freshClickhouse, freshName, freshPostgres } from '../support/fresh.js';
import { Guard, repositoryRoot } from '../support/guard.js';
import { ORIGINAL_POSTGRES, originalClickhouse } from '../support/original-databases.js';
import { PICTURES } from '../support/pictures.js';
import { Program } from '../support/program.js';

const HOST = 'shop.example';
const SITE: Site = {
  id: '3d6f0a94-1f3a-4d0c-8e3e-2f1a5b6c7d80',
  siteId: '65f1c0ffee5eaf00d15ea5e5',
  host: HOST,
};
const USER = 'b7e5f6a0-5c1d-4e2f-8a9b-0c1d2e3f4a5b';
const Websites = Type.Object({
  data: Type.Array(Type.Object({ site_id: Type.String(), is_active: Type.Boolean() })),
});
const Profile = Type.Object({
  data: Type.Object({ user: Type.Object({ role: Type.String(), avatar: Type.String() }) }),
});

let guard: Guard;
let program: Program;
let api: Api;
let settings: Record<string, string>;
const databases: { drop(): Promise<void> }[] = [];

const keep = <T extends { drop(): Promise<void> }>(database: T): T => {
  databases.push(database);
  return database;
};

async function inPostgres(url: string, ...statements: readonly string[]): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const statement of statements.slice(0, -1)) await client.query(statement);
    return await client.query(statements.at(-1) ?? '');
  } finally {
    await client.end();
  }
}

async function inClickhouse(sql: string): Promise<string> {
  const answer = await fetch(inject('servers').clickhouse, { method: 'POST', body: sql });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text;
}

const start = async (name: string): Promise<void> => {
  program = await Program.start(guard, { dataDir: join(guard.directory, name), env: settings });
  api = await Api.login(() => program.url);
};

beforeAll(async () => {
  guard = await Guard.start();
  const [postgres, clickhouse] = await Promise.all([freshPostgres(), freshClickhouse()]);
  const servers = inject('servers');
  keep(postgres);
  keep(clickhouse);
  await inPostgres(
    postgres.url,
    ORIGINAL_POSTGRES,
    `INSERT INTO users (id, name, email, password_hash) VALUES ('${USER}', 'Test', '${account.email}', '${await hash(account.password, 4)}')`,
    `INSERT INTO websites (id, site_id, user_id, name, url, tracking_id) VALUES ('${SITE.id}', '${SITE.siteId}', '${USER}', 'Shop', 'https://${HOST}', 'ST-1')`,
    `INSERT INTO goals (website_id, name, type, identifier) VALUES ('${SITE.id}', 'Order', 'pageview', '/thanks')`,
  );
  settings = {
    DATABASE_URL: postgres.url,
    REDIS_URL: `${servers.redis}/12`,
    NATS_URL: servers.nats,
    NATS_STREAM: freshName('OPERATOR'),
    NATS_SUBJECT_EVENTS: freshName('operator'),
    CLICKHOUSE_URL: clickhouse.url,
    CLICKHOUSE_DB: clickhouse.database,
    FLUSH_INTERVAL_MS: '50',
    S3_ENDPOINT: servers.s3.endpoint,
    S3_BUCKET_REPLAYS: freshName('operator').replaceAll('_', '-'),
    AWS_ACCESS_KEY_ID: servers.s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: servers.s3.secretAccessKey,
  };
  await start('first');
});

beforeEach(() => onTestFailed(() => program.showLog()));

afterAll(async () => {
  await program?.stop();
  await guard?.stop();
  await Promise.all(databases.map((database) => database.drop()));
});

/** What the original kept of three visits, five minutes ago: two by mail and search, one by a crawler. */
function visits(column: (name: string) => string): string {
  const rows = [
    ['v-1', '/', "'https://www.google.com/'", "'DE', 'Germany'", "'Firefox', 'desktop'", 'NULL'],
    [
      'v-2',
      '/thanks?utm_source=list&utm_medium=email',
      'NULL',
      "'LC', 'Local'",
      "'Safari', 'mobile'",
      'NULL',
    ],
    ['v-3', '/', 'NULL', 'NULL, NULL', 'NULL, NULL', "'Googlebot/2.1 (+http://www.google.com/bot.html)'"],
  ];
  const values = rows.map(
    ([visitor, page, referrer, place, agent, userAgent]) =>
      `(${column('id')}, '${SITE.siteId}', '${visitor}', 's-${visitor}', 'pageview', '${page}', ${referrer}, ${place}, ${agent}, ${userAgent}, '{}', ${column('timestamp')})`,
  );
  return `INSERT INTO ${column('events')} (id, website_id, visitor_id, session_id, event_type, page, referrer, country_code, country, browser, device, user_agent, properties, timestamp) VALUES ${values.join(', ')}`;
}

/** Converts rows of the original as docs/operations.md says, and imports them; how many events were added. */
async function bringIn(rows: string): Promise<number> {
  const converted = spawnSync(
    process.execPath,
    [join(repositoryRoot, 'dist/original/main.js'), `www.${HOST}`],
    {
      input: rows,
      encoding: 'utf8',
    },
  );
  expect([converted.status, converted.stderr]).toEqual([
    0,
    '3 events written, 0 lines that are no JSON objects left out\n',
  ]);
  const form = new FormData();
  form.set('websiteId', SITE.siteId);
  form.set('file', new Blob([converted.stdout]), 'original.ndjson');
  const answer = await fetch(`${program.url}/api/v1/analytics/import`, {
    ...{ method: 'POST', body: form },
    headers: { authorization: `Bearer ${api.token}` },
  });
  const body: { count?: number } = JSON.parse(await answer.text());
  expect([answer.status, body]).toEqual([200, expect.anything()]);
  return body.count ?? Number.NaN;
}

test('accounts, websites and goals of the original are there at the first start', async () => {
  expect((await api.get(Profile, 'user/auth/me')).data.user.role).toBe('admin');
  expect((await api.get(Websites, 'user/websites')).data).toEqual([
    expect.objectContaining({ site_id: SITE.siteId, is_active: true }),
  ]);
});

test('its events in Postgres are not taken for ours', async () => {
  const { DATABASE_URL: url = '' } = settings;
  const connections = { url, maxConnections: 1, minConnections: 0, telemetry: silentTelemetry() };
  const store = createPostgresEventStore(connections);
  await expect(store.migrate()).rejects.toThrow('ALTER TABLE events RENAME TO original_events');
  await store.close();
  const { rows } = await inPostgres(url, "SELECT to_regclass('seentics_event_migrations') AS made");
  expect(rows).toEqual([{ made: null }]);
});

test('its events come over from ClickHouse, and from Postgres', async () => {
  const legacy = keep(await freshClickhouse());
  await inClickhouse(originalClickhouse(legacy.database));
  const ago = (unit: string) => `now64(3) - INTERVAL 5 ${unit}`;
  const names: Record<string, string> = {
    id: 'generateUUIDv4()',
    timestamp: ago('MINUTE'),
    events: `${legacy.database}.events`,
  };
  await inClickhouse(visits((name) => names[name] ?? ''));
  const kept = await inClickhouse(`SELECT * FROM ${legacy.database}.events FORMAT JSONEachRow`);
  expect(await bringIn(kept)).toBe(3);
  expect(await bringIn(kept)).toBe(0);

  const { DATABASE_URL: url = '' } = settings;
  const here: Record<string, string> = {
    id: 'gen_random_uuid()',
    timestamp: "now() - interval '2 days'",
    events: 'events',
  };
  await inPostgres(
    url,
    visits((name) => here[name] ?? ''),
  );
  const { rows } = await inPostgres(url, 'SELECT row_to_json(e)::text AS line FROM events e');
  expect(await bringIn(rows.map(({ line }) => line).join('\n'))).toBe(3);

  expect(await api.dashboard(SITE)).toMatchObject({ page_views: 4, unique_visitors: 2 });
  expect(await api.dashboard(SITE, '&country=Germany')).toMatchObject({ page_views: 2 });
  expect(await api.dashboard(SITE, '&page_path=/thanks&device=Mobile')).toMatchObject({ page_views: 2 });
});

test('alerts, dashboard and documents speak of metrics that are there', async () => {
  const text = await (await fetch(`${program.url}/metrics`)).text();
  const families = new Map(
    [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]),
  );
  const isThere = (name: string) => {
    const family = name.replace(/_(bucket|sum|count)$/, '');
    return families.has(name) || families.get(family) === 'histogram';
  };
  // Of several processes only the parent has these.
  const parents = /^seentics_process(es_up|es_wanted|_restarts_total)$/;
  for (const file of ['deploy/prometheus-rules.yml', 'deploy/grafana-dashboard.json', 'docs/operations.md']) {
    const said = await readFile(join(repositoryRoot, file), 'utf8');
    const names = new Set(
      said.match(/\b(?:seentics|nodejs|process)_[a-z0-9_]*[a-z0-9](?=[^a-z0-9_]|$)/g) ?? [],
    );
    expect(names.size).toBeGreaterThan(10);
    expect([file, [...names].filter((name) => !isThere(name) && !parents.test(name))]).toEqual([file, []]);
  }
});

test('a node that is restored from backups of every part answers as before', async () => {
  const form = new FormData();
  form.set('avatar', new Blob([PICTURES.png]), 'me.png');
  await fetch(`${program.url}/api/v1/user/users/avatar`, {
    ...{ method: 'PUT', body: form },
    headers: { authorization: `Bearer ${api.token}` },
  });
  const { avatar } = (await api.get(Profile, 'user/auth/me')).data.user;
  const { token } = api;
  const before = await api.dashboard(SITE);
  await program.stop();

  const { DATABASE_URL = '', CLICKHOUSE_DB = '', S3_BUCKET_REPLAYS = '' } = settings;
  const [postgres, clickhouse] = [keep(await freshPostgres()), keep(await freshClickhouse())];
  const name = new URL(postgres.url).pathname.slice(1);
  await postgres.drop();
  await inPostgres(
    inject('servers').postgres,
    `CREATE DATABASE ${name} TEMPLATE ${new URL(DATABASE_URL).pathname.slice(1)}`,
  );
  await restoreClickhouse(CLICKHOUSE_DB, clickhouse.database);
  const bucket = await copyBucket(S3_BUCKET_REPLAYS);
  await mkdir(join(guard.directory, 'restored'));
  await cp(join(guard.directory, 'first/jwt-secret'), join(guard.directory, 'restored/jwt-secret'));
  settings = {
    ...settings,
    ...{ DATABASE_URL: postgres.url, CLICKHOUSE_DB: clickhouse.database, S3_BUCKET_REPLAYS: bucket },
    ...{ NATS_STREAM: freshName('OPERATOR'), NATS_SUBJECT_EVENTS: freshName('operator') },
  };
  await start('restored');

  expect(await api.dashboard(SITE)).toMatchObject({
    page_views: before.page_views,
    unique_visitors: before.unique_visitors,
  });
  const picture = await fetch(new URL(avatar, program.url));
  expect([picture.status, (await picture.arrayBuffer()).byteLength > 100]).toEqual([200, true]);
  const again = await fetch(`${program.url}/api/v1/user/auth/me`, {
    headers: { authorization: `Bearer ${token}` },
  });
  expect([again.status, (await again.arrayBuffer()).byteLength > 0]).toEqual([200, true]);
});

/** As RESTORE does, which the engine of the tests does not have: parts are put into tables that are made as they were. */
async function restoreClickhouse(from: string, to: string): Promise<void> {
  const tables = await inClickhouse(
    `SELECT name, engine LIKE '%MergeTree' AS rows, create_table_query AS made FROM system.tables WHERE database = '${from}' ORDER BY rows DESC FORMAT JSONEachRow`,
  );
  for (const line of tables.trim().split('\n')) {
    const { name, rows, made }: { name: string; rows: number; made: string } = JSON.parse(line);
    await inClickhouse(made.replaceAll(`${from}.`, `${to}.`));
    if (rows === 1) await inClickhouse(`ALTER TABLE ${to}.${name} ATTACH PARTITION ALL FROM ${from}.${name}`);
  }
}

async function copyBucket(from: string): Promise<string> {
  const to = freshName('restored').replaceAll('_', '-');
  const open = (bucket: string) =>
    createS3Store({ ...inject('servers').s3, region: 'us-east-1', bucket }, silentTelemetry());
  const [source, target] = await Promise.all([open(from), open(to)]);
  for await (const key of source.list('')) {
    const bytes = await source.get(key);
    if (bytes !== null) await target.put(key, bytes, 'application/octet-stream');
  }
  await Promise.all([source.close(), target.close()]);
  return to;
}
