/** What leaves as a file comes back as it was: every figure of a site that was exported, deleted and imported anew, through a crash. */
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { gzipSync } from 'node:zlib';
import Type, { type Static } from 'typebox';
import { Value } from 'typebox/value';
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest';
import { createClickhouseEventStore } from '../../src/storage/events/clickhouse-event-store.js';
import { createPostgresEventStore } from '../../src/storage/events/postgres-event-store.js';
import { silentTelemetry } from '../../src/telemetry.js';
import { encodeRow, SITE } from '../integration/event-rows.js';
import { Api, account, type Site } from '../support/api.js';
import { freshClickhouse, freshPostgres } from '../support/fresh.js';
import { Guard } from '../support/guard.js';
import { generateEvents, randomOf } from '../support/metrics-events.js';
import { Program } from '../support/program.js';
import { until } from '../support/wait.js';

const DAY = 86_400_000;
const NOW = Math.floor(Date.now() / DAY) * DAY - 2 * DAY;
/** Whole days, so that no figure changes while the test runs: a period that ends now is compared with one that grows. */
const period = (days: number): string =>
  [NOW - days * DAY, NOW]
    .map((at, i) => `${['from', 'to'][i]}=${new Date(at).toISOString().slice(0, 10)}`)
    .join('&');

const settings = {
  async clickhouse(_postgres: string) {
    const { url, database, drop } = await freshClickhouse();
    const store = createClickhouseEventStore({ clickhouse: { url, database }, telemetry: silentTelemetry() });
    return { env: { CLICKHOUSE_URL: url, CLICKHOUSE_DB: database }, store, drop, sessions: 3_700 };
  },
  async postgres(url: string) {
    const options = { url, maxConnections: 2, minConnections: 0, telemetry: silentTelemetry() };
    const store = createPostgresEventStore(options);
    return { env: { EVENT_STORE: 'postgres' }, store, drop: async () => {}, sessions: 300 };
  },
};

const Import = Type.Object({
  id: Type.String(),
  state: Type.String(),
  done_bytes: Type.Number(),
  rows: Type.Object({
    read: Type.Number(),
    added: Type.Number(),
    duplicate: Type.Number(),
    rejected: Type.Number(),
  }),
});
const Answer = Type.Object({ count: Type.Number(), message: Type.String(), import: Import });
const Tokens = Type.Object({ data: Type.Object({ tokens: Type.Object({ access_token: Type.String() }) }) });

const FIGURES = [
  ...[
    'dashboard',
    'top-pages',
    'top-referrers',
    'top-sources',
    'top-countries',
    'top-browsers',
    'top-devices',
  ],
  ...[
    'top-os',
    'top-resolutions',
    'traffic-summary',
    'activity-trends',
    'daily-stats',
    'hourly-stats',
    'goals-stats',
  ],
  ...['custom-events', 'geolocation-breakdown', 'user-retention', 'visitor-insights'],
];

describe.each(['clickhouse', 'postgres'] as const)('a site that goes out and comes in, with %s', (kind) => {
  let guard: Guard;
  let program: Program;
  let api: Api;
  let token: string;
  let events: number;
  let bots: number;
  let before: unknown;
  let file: string;
  let site: Site;
  let empty: unknown;
  let first: string;
  let close: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    guard = await Guard.start();
    const postgres = await freshPostgres();
    const { env, store, drop, sessions } = await settings[kind](postgres.url);
    close = [() => store.close(), postgres.drop, drop];
    program = await Program.start(guard, {
      dataDir: join(guard.directory, 'data'),
      env: { DATABASE_URL: postgres.url, ...env },
    });
    api = await Api.register(() => program.url);
    token = await signIn();
    const old = await api.createSite('old.example');
    const made = generateEvents(randomOf(77), NOW, sessions);
    const own = (rows: typeof made.events) =>
      rows.filter(({ site_id }) => site_id === SITE).map((row) => encodeRow({ ...row, site_id: old.siteId }));
    events = own(made.events).length;
    bots = own(made.bots).length;
    await store.insertRows('events', own(made.events), 'events', Date.now() + 60_000);
    await store.insertRows('bot_events', own(made.bots), 'bots', Date.now() + 60_000);
    before = await figures(old);
    file = await exported(old);
    const gone = await call('DELETE', `user/websites/${old.id}`);
    expect(gone.status).toBeLessThan(300);
    site = await api.createSite('new.example');
    empty = await figures(site);
  }, 180_000);

  afterAll(async () => {
    await program?.stop();
    await guard?.stop();
    for (const end of close) await end();
  });

  const call = (method: string, path: string, body?: FormData) =>
    fetch(`${program.url}/api/v1/${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body ? {} : { 'content-type': 'application/json' }) },
      ...(body ? { body } : {}),
    });

  const signIn = async (): Promise<string> => {
    const { email, password } = account;
    const answer = await fetch(`${program.url}/api/v1/user/auth/login`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email, password }),
    });
    return checked(Tokens, await answer.json()).data.tokens.access_token;
  };

  const checked = <S extends Type.TSchema>(schema: S, value: unknown): Static<S> => {
    if (!Value.Check(schema, value)) throw new Error(JSON.stringify(value).slice(0, 2_000));
    return value;
  };

  /** All answers of contract 7, without the ids of the site. */
  const figures = async (of: Site): Promise<unknown> => {
    const answers: Record<string, unknown> = {};
    for (const [place, name] of FIGURES.entries()) {
      const zone = place % 2 === 0 ? 'UTC' : 'America/New_York';
      const query = `${period(place % 2 === 0 ? 30 : 80)}&timezone=${zone}`;
      const text = JSON.stringify(await api.get(Type.Unknown(), `analytics/${name}/${of.id}?${query}`));
      answers[`${name}?${query}`] = JSON.parse(text.replaceAll(of.id, 'ID').replaceAll(of.siteId, 'ID'));
    }
    return answers;
  };

  /** Answers are shared for some seconds. */
  const areFigures = async (expected: unknown): Promise<void> => {
    let last: unknown;
    const areThere = async () => {
      last = await figures(site);
      return isDeepStrictEqual(last, expected);
    };
    await until(areThere, { what: 'the figures', timeoutMs: 20_000, everyMs: 250 }).catch(() => {});
    expect(last).toEqual(expected);
  };

  const exported = async (of: Site): Promise<string> => {
    const answer = await call('GET', `websites/${of.id}/events/export?format=csv&bots=include`);
    expect(answer.status).toBe(200);
    return answer.text();
  };

  const send = async (text: string, name: string): Promise<Static<typeof Answer>> => {
    const form = new FormData();
    form.append('websiteId', site.id);
    form.append('source', 'seentics');
    form.append('file', new Blob([name.endsWith('.gz') ? gzipSync(text) : text]), name);
    const answer = await call('POST', 'analytics/import', form);
    expect([200, 202]).toContain(answer.status);
    return checked(Answer, await answer.json());
  };

  const look = async (id: string): Promise<Static<typeof Import>> =>
    api.get(Import, `websites/${site.id}/imports/${id}`);

  const ended = async (id: string, state: string): Promise<Static<typeof Import>> => {
    await until(async () => (await look(id)).state === state, {
      what: `the import to be ${state}`,
      timeoutMs: 90_000,
    });
    return look(id);
  };

  test('has all its figures again', { timeout: 240_000 }, async () => {
    onTestFailed(() => program.showLog());
    const sending = send(file, 'events.csv.gz');
    if (kind === 'clickhouse') {
      sending.catch(() => {});
      const List = Type.Object({ imports: Type.Array(Import) });
      const list = async () => (await api.get(List, `websites/${site.id}/imports`)).imports;
      await until(async () => ((await list())[0]?.done_bytes ?? 0) > 0, { what: 'a part to be imported' });
      first = (await list())[0]?.id ?? '';
      await program.kill9();
      const { state, rows } = await program.restart().then(() => look(first));
      expect(['running', 'queued']).toContain(state);
      expect(rows.added).toBeLessThan(events + bots);
    } else first = (await sending).import.id;
    const { rows } = await ended(first, 'done');
    expect(rows).toEqual({ read: events + bots, added: events + bots, duplicate: 0, rejected: 0 });
    await areFigures(before);
    const news = async () => JSON.stringify(await api.get(Type.Unknown(), 'user/notifications'));
    await until(async () => (await news()).includes('An import is done'), { what: 'the owner to be told' });
  });

  test('goes out as it came in', async () => {
    const columns = file.slice(0, file.indexOf('\r\n')).split(',');
    const hidden = ['received_at', 'site_id'].map((name) => columns.indexOf(name));
    // Generated texts have commas in quotes behind these columns only.
    const without = (text: string) =>
      text.split('\r\n').map((line) =>
        line
          .split(',')
          .filter((_, index) => !hidden.includes(index))
          .join(','),
      );
    expect(without(await exported(site))).toEqual(without(file));
  });

  test('takes nothing of the same file again', { timeout: 120_000 }, async () => {
    const { import: again } = await send(file, 'again.csv');
    const { rows } = await ended(again.id, 'done');
    expect(rows).toEqual({ read: events + bots, added: 0, duplicate: events + bots, rejected: 0 });
    await areFigures(before);
    expect((await call('DELETE', `websites/${site.id}/imports/${again.id}`)).status).toBeLessThan(300);
    await ended(again.id, 'undone');
    await areFigures(before);
  });

  test('loses exactly what it got when the import is undone, and gets it again', {
    timeout: 240_000,
  }, async () => {
    onTestFailed(() => program.showLog());
    expect((await call('DELETE', `websites/${site.id}/imports/${first}`)).status).toBeLessThan(300);
    await ended(first, 'undone');
    await areFigures(empty);
    const { import: anew } = await send(file, 'events.csv');
    const { rows } = await ended(anew.id, 'done');
    expect(rows.added).toBe(events + bots);
    await areFigures(before);
  });
});
