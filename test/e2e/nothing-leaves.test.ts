/** Promise P8: the program talks to the servers it was told of, and to nobody else. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { Api } from '../support/api.js';
import { type Connection, connectionsOf } from '../support/connections.js';
import { freshClickhouse, freshName, freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { descendants } from '../support/process-tree.js';
import { Program } from '../support/program.js';
import { pause, until } from '../support/wait.js';

const RECORDER = fileURLToPath(new URL('../support/connection-recorder.cjs', import.meta.url));
const BROWSER =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';
const Begun = Type.Object({ host: Type.String(), port: Type.Number() });
const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Runs the program, lets visitors of all kinds and the owner come, and answers whom it has been connected with. */
async function observed(settings: Readonly<Record<string, string>>) {
  const guard = await Guard.start();
  cleanups.push(() => guard.stop());
  const file = join(guard.directory, 'connections.ndjson');
  const program = await Program.start(guard, {
    dataDir: join(guard.directory, 'data'),
    env: {
      ...{ TRUSTED_PROXIES: '127.0.0.1', FLUSH_INTERVAL_MS: '50', RECORDINGS_FLUSH_MS: '50' },
      ...{ NODE_OPTIONS: `--require=${RECORDER}`, CONNECTIONS_FILE: file, ...settings },
    },
  });
  const seen = new Map<string, Connection>();
  let watching = true;
  const watch = async () => {
    while (watching) {
      const processes = [program.pid, ...(await descendants(program.pid)).map(({ pid }) => pid)];
      for (const connection of await connectionsOf(processes))
        seen.set(`${connection.remoteAddress} ${connection.localPort} ${connection.remotePort}`, connection);
      await pause(20);
    }
  };
  const watched = watch();
  await visit(program);
  watching = false;
  await watched;
  const engines = await descendants(program.pid);
  await program.stop();
  const lines = (await readFile(file, 'utf8')).split('\n').filter((line) => line !== '');
  const begun = lines.map((line) => Value.Parse(Begun, JSON.parse(line)));
  // What others connected to the program or its engines with is not begun by it.
  const outward = [...seen.values()].filter(({ localPort }) => localPort !== program.port);
  return { begun, outward, engines };
}

/** Visitors from all over the world, known and unknown, with everything that is looked up about them. */
async function visit(program: Program): Promise<void> {
  const api = await Api.register(() => program.url);
  const site = await api.createSite('shop.example');
  const send = async (path: string, body: unknown, address: string) => {
    const headers = { 'x-forwarded-for': address, 'user-agent': BROWSER, origin: 'https://shop.example' };
    const options = { method: 'POST', body: JSON.stringify(body), headers };
    const answer = await fetch(`${program.url}/api/v1/${path}`, options);
    expect(answer.status, await answer.text()).toBeLessThan(300);
  };
  const of = { website_id: site.siteId };
  const addresses = ['81.2.69.142', '2a02:1205:1234::1', '203.0.113.9', '10.0.0.1', 'nonsense'];
  for (const [i, address] of addresses.entries()) {
    const referrer = `https://t${i}.example/from`;
    const page_url = 'https://shop.example/pricing?utm_source=news&gclid=1';
    await send('analytics/event', { ...of, page_url, referrer }, address);
    const point = { type: 'click', x: i, y: 1, url: '/pricing' };
    await send('heatmaps/record', { ...of, points: [point] }, address);
    await send('funnels/track', { ...of, funnel_id: 'f', event_type: 'start' }, address);
    const page = { href: 'https://shop.example/', width: 9, height: 9 };
    const events = [{ type: 4, timestamp: Date.now(), data: page }];
    await send('replays/record', { ...of, session_id: `s${i}`, sequence: 0, page: '/', events }, address);
  }
  const books = await until(
    async () => {
      const found = await api.books(site);
      return found.received === 4 * addresses.length && found.balanced ? found : undefined;
    },
    { what: 'all of it to be stored' },
  );
  expect(books.rejected).toBe(0);
  await api.dashboard(site);
}

describe('nothing leaves the program', () => {
  it('but to the servers it was told of', async () => {
    const { redis, nats, s3 } = inject('servers');
    const [postgres, clickhouse] = await Promise.all([freshPostgres(), freshClickhouse()]);
    cleanups.push(() => Promise.all([postgres.drop(), clickhouse.drop()]));
    const settings = {
      ...{ DATABASE_URL: postgres.url, REDIS_URL: `${redis}/8`, NATS_URL: nats },
      ...{ CLICKHOUSE_URL: clickhouse.url, CLICKHOUSE_DB: clickhouse.database },
      NATS_STREAM: freshName('LEAVES').toUpperCase(),
      NATS_SUBJECT_EVENTS: freshName('leaves'),
      S3_ENDPOINT: s3.endpoint,
      S3_BUCKET_REPLAYS: freshName('leaves').replaceAll('_', '-'),
      ...{ AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey },
      JWT_SECRET: freshName('a secret that is long enough'),
    };
    const told = [postgres.url, redis, nats, clickhouse.url, s3.endpoint].map((url) =>
      Number(new URL(url).port),
    );
    const { begun, outward, engines } = await observed(settings);
    expect(engines).toEqual([]);
    const ports = (list: readonly number[]) => [...new Set(list)].sort();
    expect(ports(begun.map(({ port }) => port).filter((port) => port !== 0))).toEqual(ports(told));
    expect(begun.filter(({ host }) => !LOOPBACK.includes(host))).toEqual([]);
    expect(outward.length).toBeGreaterThan(0);
    expect(
      outward.filter(
        ({ remoteAddress, remotePort }) => !LOOPBACK.includes(remoteAddress) || !told.includes(remotePort),
      ),
    ).toEqual([]);
  }, 90_000);

  it('when it brings its own engines, nor do they', async () => {
    const { begun, outward, engines } = await observed({});
    expect(engines.length).toBeGreaterThan(0);
    expect(begun.length).toBeGreaterThan(0);
    expect(begun.filter(({ host }) => !LOOPBACK.includes(host))).toEqual([]);
    expect(outward.filter(({ remoteAddress }) => !LOOPBACK.includes(remoteAddress))).toEqual([]);
  }, 180_000);
});
