import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, onTestFailed, test } from 'vitest';
import { Api, type Site } from '../support/api.js';
import { freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { Program } from '../support/program.js';
import { expectEachOnce } from './counted.js';
import { Load } from './load.js';

const rounds = 5;

describe('the Postgres event store behind a local log', () => {
  let guard: Guard;
  let postgres: Awaited<ReturnType<typeof freshPostgres>>;
  let program: Program;
  let api: Api;
  let site: Site;

  beforeAll(async () => {
    guard = await Guard.start();
    postgres = await freshPostgres();
    program = await Program.start(guard, {
      dataDir: join(guard.directory, 'data'),
      env: { DATABASE_URL: postgres.url, EVENT_STORE: 'postgres' },
    });
    api = await Api.register(() => program.url);
    site = await api.createSite('shop.example');
  });

  beforeEach(() => onTestFailed(() => program.showLog()));

  afterAll(async () => {
    await program?.stop();
    await guard?.stop();
    await postgres?.drop();
  });

  const query = async (sql: string, values: readonly unknown[] = []) => {
    const client = new pg.Client({ connectionString: postgres.url });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query<{ page: string; count: string }>(sql, [...values])).rows;
    } finally {
      await client.end().catch(() => {});
    }
  };

  test(`P1 P2 P3: kill -9 of the program and of all its database connections in turn, ${rounds} rounds under load: each accepted event counts once`, async () => {
    const load = new Load({ url: () => program.url, site, seed: 20_256 });
    load.start();
    for (let round = 1; round <= rounds; round++) {
      await load.progress(60);
      await program.kill9();
      await program.restart();
      await load.progress(60);
      await query(
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
      );
    }
    await load.progress(60);
    await load.stop();
    await expectEachOnce(api, site, load, async () => {
      const rows = await query(
        'SELECT page, count(*) AS count FROM events WHERE site_id = $1 GROUP BY page',
        [site.siteId],
      );
      return new Map(rows.map(({ page, count }) => [page, Number(count)]));
    });
  }, 300_000);
});
