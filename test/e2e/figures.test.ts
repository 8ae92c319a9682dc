/** Twenty thousand events sent to the running program; every figure that it then answers is compared with the naive reference. */
import { join } from 'node:path';
import Type from 'typebox';
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest';
import { Api, type Site } from '../support/api.js';
import { type ExpectedAnswers, expectedAnswers } from '../support/expected-answers.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { randomOf } from '../support/metrics-events.js';
import type { Case } from '../support/metrics-filters.js';
import { Program } from '../support/program.js';
import { ReferenceData } from '../support/reference-data.js';
import { sentEvents } from '../support/sent-events.js';
import { until } from '../support/wait.js';

const SEED = Number(process.env.METRICS_SEED ?? 20_270_110);
const SESSIONS = 3_700;
const HOUR = 3_600_000;

const settings = {
  async clickhouse() {
    const fresh = await freshClickhouse();
    return { env: { CLICKHOUSE_URL: fresh.url, CLICKHOUSE_DB: fresh.database }, drop: fresh.drop };
  },
  postgres: async () => ({ env: { EVENT_STORE: 'postgres' }, drop: async () => {} }),
};

const date = (at: number) => new Date(at).toISOString().slice(0, 10);

describe.each(['clickhouse', 'postgres'] as const)('figures of events that were sent, with %s', (kind) => {
  let guard: Guard;
  let program: Program;
  let api: Api;
  let site: Site;
  let expected: ExpectedAnswers;
  let close: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    guard = await Guard.start();
    const postgres = await freshPostgres();
    const store = await settings[kind]();
    close = [postgres.drop, store.drop];
    program = await Program.start(guard, {
      dataDir: join(guard.directory, 'data'),
      env: { DATABASE_URL: postgres.url, ...store.env },
    });
    api = await Api.register(() => program.url);
    site = await api.createSite('shop.example');
    const { sent, rows, books } = sentEvents(randomOf(SEED), Date.now(), site.siteId, SESSIONS);
    expect(sent.length).toBeGreaterThan(20_000);
    expected = expectedAnswers(new ReferenceData(rows, site.siteId), site.id, site.siteId);
    for (let first = 0; first < sent.length; first += 500) await post(sent.slice(first, first + 500));
    await until(async () => (await api.books(site)).stored >= books.stored, {
      what: 'the events to be stored',
    });
    expect(await api.books(site)).toMatchObject({ ...books, balanced: true, quarantined: 0 });
  });

  afterAll(async () => {
    await program?.stop();
    await guard?.stop();
    for (const drop of close) await drop();
  });

  const post = async (events: readonly object[]) => {
    const answer = await fetch(`${program.url}/api/v1/analytics/batch`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: 'https://shop.example' },
      body: JSON.stringify({ siteId: site.id, domain: 'shop.example', events }),
    });
    expect(answer.status, await answer.text()).toBe(201);
  };

  /** All answers at once, and an instant that they are of: none that an hour ended in. */
  const ask = async (paths: readonly string[]): Promise<{ now: number; answers: unknown[] }> => {
    const now = Date.now();
    const answers = await Promise.all(paths.map((path) => api.get(Type.Unknown(), path)));
    return Math.floor(now / HOUR) === Math.floor(Date.now() / HOUR) ? { now, answers } : ask(paths);
  };

  const now = Date.now();
  const cases: readonly (Case & { readonly query: { timezone: string } })[] = [
    { query: { timezone: 'UTC', days: '30' } },
    {
      query: { timezone: 'America/New_York', from: date(now - 9 * 24 * HOUR), to: date(now - 3 * 24 * HOUR) },
    },
    {
      query: { timezone: 'Asia/Tokyo', days: '30', browser: 'chrome', utm_source: 'Direct' },
      session: (one) => one.browser === 'Chrome' && ['Direct', ''].includes(one.channel),
    },
    {
      query: { timezone: 'UTC', days: '30', page_path: '/pricing' },
      page: (page) => /^\/pricing$/i.test(page),
    },
  ];

  test.each(cases)('equal the naive reference for $query', async ({ query, session, page }) => {
    onTestFailed(() => console.log(`METRICS_SEED=${SEED}`));
    const names = Object.keys(expected).filter((name) => !(page && name.startsWith('page-utm')));
    const { now, answers } = await ask(
      names.map((name) => {
        const [path = '', own = ''] = name.split('?');
        const parameters = new URLSearchParams(own);
        for (const [key, value] of Object.entries(query)) parameters.set(key, String(value));
        return `analytics/${path}/${site.id}?${parameters}`;
      }),
    );
    const range = query.from && query.to ? { from: query.from, to: query.to } : { days: Number(query.days) };
    const question = {
      zone: query.timezone,
      now,
      range,
      limit: 10,
      ...(session ? { session } : {}),
      ...(page ? { page } : {}),
    };
    names.forEach((name, i) => {
      expect(answers[i], name).toEqual(expected[name]?.(question));
    });
  });

  test('stand beside the website', async () => {
    const Websites = Type.Object({ data: Type.Array(Type.Object({ stats: Type.Optional(Type.Unknown()) })) });
    const stats = await until(async () => (await api.get(Websites, 'user/websites')).data[0]?.stats, {
      what: 'the figures to be counted',
    });
    const { page_views, unique_visitors, bounce_rate, session_duration } = await api.dashboard(site);
    expect(stats).toEqual({
      ...{ totalPageviews: page_views, uniqueVisitors: unique_visitors, bounceRate: bounce_rate },
      averageSessionDuration: session_duration,
    });
  });
});
