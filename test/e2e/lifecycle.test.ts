import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { Api, type Site } from '../support/api.js';
import { Guard, repositoryRoot } from '../support/guard.js';
import { descendants, survivors } from '../support/process-tree.js';
import { Program } from '../support/program.js';
import { until } from '../support/wait.js';

const event = (name: string, more: object = {}) => ({
  event_type: 'pageview',
  visitor_id: 'visitor-1',
  session_id: 'session-1',
  page: `/${name}`,
  page_view_id: name,
  user_agent:
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
  timestamp: new Date().toISOString(),
  ...more,
});

/** Starts the program where it must not run, and returns what it said. */
async function startRefused(dataDir: string): Promise<string> {
  const { PATH = '' } = process.env;
  const refused = promisify(execFile)(process.execPath, [join(repositoryRoot, 'dist/main.js')], {
    env: { PATH, PORT: '0', DATA_DIR: dataDir },
    timeout: 20_000,
  });
  return refused.then(
    () => expect.fail('it started'),
    (error: { code: unknown; stderr: string }) => {
      expect(error.code).toBe(1);
      return error.stderr;
    },
  );
}

describe('the life of the program with nothing but a folder', () => {
  let guard: Guard;
  let program: Program;
  let api: Api;
  let site: Site;

  beforeAll(async () => {
    guard = await Guard.start();
    program = await Program.start(guard, { dataDir: join(guard.directory, 'data') });
  });

  beforeEach(() => onTestFailed(() => program.showLog()));

  afterAll(async () => {
    await program?.stop();
    await guard?.stop();
  });

  const send = async (path: string, body: unknown) => {
    const answer = await fetch(`${program.url}/api/v1/analytics/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: 'https://shop.example' },
      body: JSON.stringify(body),
    });
    await answer.arrayBuffer();
    return answer.status;
  };

  const pageViewsBecome = async (count: number) => {
    await api.booked(site, count);
    await until(async () => (await api.dashboard(site)).page_views >= count, { what: `${count} page views` });
    expect((await api.dashboard(site)).page_views).toBe(count);
  };

  test('the start says what there is to know in at most ten lines', async () => {
    const lines = (await program.log()).split('\n').filter((line) => line !== '');
    expect(lines.length).toBeGreaterThan(0);
    expect(lines.length).toBeLessThanOrEqual(10);
  });

  test('P4: a batch with one malformed event stores the others', async () => {
    api = await Api.register(() => program.url);
    site = await api.createSite('shop.example');
    const events = [event('one'), event('two', { visitor_id: {}, timestamp: [] }), event('three')];
    expect(await send('batch', { siteId: site.siteId, domain: 'shop.example', events })).toBe(201);
    await pageViewsBecome(2);
  });

  test('P1: SIGTERM drains and ends within 5 s with no child left, and the next start finds all data', async () => {
    expect(await send('event', { website_id: site.id, ...event('four') })).toBe(201);
    expect(await program.stop()).toBeLessThan(5_000);
    expect(program.exitCode).toBe(0);
    expect(await survivors(program.lastChildren)).toEqual([]);
    await program.restart();
    api = await Api.login(() => program.url);
    await pageViewsBecome(3);
  });

  test('Ctrl-C ends it likewise', async () => {
    expect(await program.stop('SIGINT')).toBeLessThan(5_000);
    expect(await survivors(program.lastChildren)).toEqual([]);
    await program.restart();
  });

  test('P1: after kill -9 no orphan stays or blocks the next start, which finds all data', async () => {
    expect(await send('event', { website_id: site.id, ...event('five') })).toBe(201);
    await program.kill9();
    await program.restart();
    await until(async () => (await survivors(program.lastChildren)).length === 0, {
      what: "the killed program's children to be gone",
    });
    await pageViewsBecome(4);
  });

  test('events kept in the embedded Postgres are not said to be on a server, those left in NATS are spoken of', async () => {
    const dataDir = join(guard.directory, 'in-postgres');
    // As a node with NATS has it.
    await mkdir(join(dataDir, 'spool'), { recursive: true });
    const other = await Program.start(guard, {
      dataDir,
      env: { EVENT_STORE: 'postgres' },
    });
    const log = await other.log();
    await other.stop();
    expect(log).toMatch(/embedded {2}.*events: embedded Postgres/);
    expect(log).toMatch(/servers {3}none/);
    expect(log).toContain('this node had NATS_URL before');
    expect(await program.log()).not.toContain('NATS_URL before');
  });

  test('a second program on the same folder is refused and harms nothing', async () => {
    const second = await startRefused(join(guard.directory, 'data'));
    expect(second).toMatch(/only one process can use this directory/);
    await pageViewsBecome(4);
  });

  test('a folder that cannot be used is named with its setting', async () => {
    const path = join(guard.directory, 'a file');
    await writeFile(path, '');
    expect(await startRefused(path)).toMatch(`DATA_DIR (${path}) cannot be written: `);
  });

  test('a warm start is healthy within 8 s', async () => {
    await program.stop();
    expect(await program.restart()).toBeLessThan(8_000);
  });
});

describe('a start that waits for a server', () => {
  let guard: Guard;

  beforeAll(async () => {
    guard = await Guard.start();
  });

  afterAll(() => guard?.stop());

  test.each([
    ['Postgres', { DATABASE_URL: 'postgres://u:hidden@127.0.0.1:1/x' }],
    ['ClickHouse', { CLICKHOUSE_URL: 'http://u:hidden@127.0.0.1:1' }],
    ['NATS', { NATS_URL: 'nats://u:hidden@127.0.0.1:1' }],
    ['Redis', { REDIS_URL: 'redis://u:hidden@127.0.0.1:1' }],
    ['S3', { S3_ENDPOINT: 'http://127.0.0.1:1', AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'hidden' }],
  ])('says that it waits for %s, and ends at once on Ctrl-C', async (name, settings) => {
    const { PATH = '', HOME = '' } = process.env;
    const program = guard.start('program', process.execPath, [join(repositoryRoot, 'dist/main.js')], {
      env: { PATH, HOME, PORT: '0', DATA_DIR: join(guard.directory, name), ...settings },
    });
    const log = () => readFile(program.logFile, 'utf8').catch(() => '');
    await until(async () => (await log()).includes(`waiting for ${name} at 127.0.0.1:1 …`), {
      what: 'the line',
    });
    const children = await descendants(program.pid);
    const askedAt = performance.now();
    await program.end('SIGINT');
    expect(performance.now() - askedAt).toBeLessThan(4_000);
    expect(program.child.exitCode).toBe(0);
    expect(await survivors(children)).toEqual([]);
    expect(await log()).not.toContain('hidden');
  });
});
