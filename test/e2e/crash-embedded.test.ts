import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFailed, test } from 'vitest';
import { Api, type Site } from '../support/api.js';
import { startClickhouse } from '../support/engines/clickhouse.js';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';
import { until } from '../support/wait.js';
import { expectBalanced, storedByPage, untilShown } from './counted.js';
import { Load, tally } from './load.js';

const rounds = 5;

describe('embedded: everything in one program', () => {
  let guard: Guard;
  let program: Program;
  let api: Api;
  let site: Site;
  let dataDir: string;

  beforeAll(async () => {
    guard = await Guard.start();
    dataDir = join(guard.directory, 'data');
    program = await Program.start(guard, { dataDir });
    api = await Api.register(() => program.url);
    site = await api.createSite('shop.example');
  });

  beforeEach(() => onTestFailed(() => program.showLog()));

  afterAll(async () => {
    await program?.stop();
    await guard?.stop();
  });

  const clickhouseChild = () =>
    until(
      async () => (await program.children()).find(({ command }) => command.includes('clickhouse-child')),
      {
        what: 'the ClickHouse child process',
      },
    );

  test(`P1 P2 P3: kill -9 of the program and of its ClickHouse in turn, ${rounds} rounds under load: each accepted event counts once`, async () => {
    const load = new Load({ url: () => program.url, site, seed: 20_254 });
    load.start();
    for (let round = 1; round <= rounds; round++) {
      await load.progress(60);
      await program.kill9();
      await program.restart();

      await load.progress(60);
      const child = await clickhouseChild();
      process.kill(child.pid, 'SIGKILL');
      await load.progress(20);
      const next = await until(
        async () => {
          const now = await clickhouseChild();
          return now.pid !== child.pid && now;
        },
        { what: 'a new ClickHouse child' },
      );

      // A block is on its way into a store that hangs, and then everything is gone at once.
      await load.progress(60);
      process.kill(next.pid, 'SIGSTOP');
      await load.progress(100);
      await program.kill9();
      process.kill(next.pid, 'SIGKILL');
      await program.restart();
    }
    await load.progress(60);
    await load.stop();
    expect(load.repeatedAfterFailure).toBeGreaterThan(0);
    await untilShown(api, site, load);
    const { page_views: shown } = await api.dashboard(site);
    const books = await api.books(site);
    await program.stop();
    const store = await startClickhouse(guard, join(dataDir, 'clickhouse/store'));
    const stored = await storedByPage(store.url, 'seentics', site.siteId);
    expect(tally(load.accepted, stored)).toEqual({ missing: [], twice: [], unknown: [] });
    expect(shown).toBe(load.accepted.size);
    expectBalanced(books, load.accepted.size);
  }, 300_000);
});
