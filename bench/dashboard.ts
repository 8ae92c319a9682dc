/**
 * What the dashboard page of a big site costs: ten million events of one site and a hundred small sites beside it, made inside
 * ClickHouse; the program with everything embedded, asked over HTTP as the page asks it, while visitors keep coming.
 */

import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Type from 'typebox';
import { Value } from 'typebox/value';
import { Api, type Site } from '../test/support/api.js';
import { Guard } from '../test/support/guard.js';
import { Program } from '../test/support/program.js';
import { treeUsage } from './support/cpu.js';
import { clickhouseOf, type ProgramClickhouse, rowsOf } from './support/embedded-clickhouse.js';
import { Payloads } from './support/payload.js';
import { fillTraffic } from './support/traffic.js';

export interface DashboardBenchOptions {
  /** Of the big site. */
  readonly events: number;
  /** 0 is passed over: for filling alone. */
  readonly days: readonly number[];
  /** Which of the three filters, from 0; default all. */
  readonly filters?: readonly number[];
  /** How often every call is repeated while warm, and the whole page asked at once. */
  readonly polls: number;
  /** Data directory of an earlier run of the same day, or for later ones: it is filled once and stays; default a temporary one. */
  readonly data: string | undefined;
}

/** File in the data directory that says that it has been filled, and with which big site. */
const FILLED = 'dashboard-bench.json';
const SiteSchema = Type.Object({ id: Type.String(), siteId: Type.String(), host: Type.String() });
const SMALL_SITES = 100;
const DAY_MS = 86_400_000;
const HISTORY_DAYS = 100;
const EVENTS_A_SESSION = 4.127;
/** Longer than answers serve without a look at the store. */
const PAUSE_MS = 3_000;
const VISITS_A_SECOND = 2;
const DATABASE = 'bench';
const FILTERS = ['', '&country=Germany&device=Desktop', '&page_path=/section-0/page-0'];

/** Contract 18.3; the last one is the comparison. */
const CALLS = [
  'dashboard',
  'daily-stats',
  'hourly-stats',
  'visitor-insights',
  'live-visitors',
  'top-pages',
  'top-referrers',
  'top-countries',
  'top-browsers',
  'top-devices',
  'top-os',
  'top-resolutions',
  'geolocation-breakdown',
  'custom-events',
  'goals-stats',
  'activity-trends',
  'user-retention',
] as const;

interface Row {
  readonly call: string;
  readonly days: number;
  readonly filter: string;
  readonly coldMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
}

interface PageRow {
  readonly days: number;
  readonly filter: string;
  readonly coldMs: number;
  readonly p50Ms: number;
  readonly worstMs: number;
  readonly cpuSeconds: number;
  readonly clickhouseSeconds: number;
}

/** Fills, measures and prints tables. */
export async function runDashboardBench(options: DashboardBenchOptions): Promise<void> {
  const guard = await Guard.start();
  try {
    const dataDir = options.data ?? join(guard.directory, 'dashboard');
    const isFilled = existsSync(join(dataDir, FILLED));
    const program = await Program.start(guard, { dataDir, env: { CLICKHOUSE_DB: DATABASE } });
    const api = await (isFilled ? Api.login(() => program.url) : Api.register(() => program.url));
    const engine = await clickhouseOf(program, dataDir, DATABASE);
    const site = isFilled
      ? Value.Parse(SiteSchema, JSON.parse(await readFile(join(dataDir, FILLED), 'utf8')))
      : await api.createSite('shop.example');
    if (!isFilled) {
      const small: Site[] = [];
      for (let i = 0; i < SMALL_SITES; i++) small.push(await api.createSite(`small${i}.example`));
      await fill(engine, site, small, options.events);
      await writeFile(join(dataDir, FILLED), JSON.stringify(site));
    }
    await printBytes(engine);
    const visits = visit(program.url, site);
    const rows: Row[] = [];
    const pages: PageRow[] = [];
    const filters = options.filters?.flatMap((i) => FILTERS[i] ?? []) ?? FILTERS;
    for (const days of options.days.filter((some) => some > 0))
      for (const filter of filters) {
        const [of, page] = await measure({ program, engine, api, site, days, filter, polls: options.polls });
        rows.push(...of);
        pages.push(page);
        // What was measured is there even when the bench is ended.
        printPage(page);
        process.stderr.write(
          `${of.map((row) => `${row.call} ${ms(row.coldMs)}/${ms(row.p50Ms)}/${ms(row.p95Ms)}`).join(', ')}\n`,
        );
      }
    visits.stop();
    print(rows, pages);
    await printAhead(program.url);
    await engine.clickhouse.close();
    await program.stop();
  } finally {
    await guard.stop();
  }
}

/** As if the events had arrived when they happened. */
async function fill(
  { clickhouse }: ProgramClickhouse,
  site: Site,
  small: readonly Site[],
  events: number,
): Promise<void> {
  const [[view] = []] = await rowsOf(
    clickhouse,
    "SELECT replaceOne(as_select, char(255), '\\\\xFF') FROM system.tables WHERE database = currentDatabase() AND name = 'session_slots_view'",
  );
  const command = (query: string, query_params: Readonly<Record<string, string>> = {}) =>
    clickhouse.client.command({ query, query_params, clickhouse_settings: { max_execution_time: 600 } });
  const setView = (query: string) => command(`ALTER TABLE session_slots_view MODIFY QUERY ${query}`);
  await setView(String(view).replace("now('UTC')", 'timestamp'));
  const to = Date.now();
  const from = to - HISTORY_DAYS * DAY_MS;
  const execute = async (query: string, parameters: Readonly<Record<string, string>>) => {
    await command(query, parameters);
  };
  const sessions = Math.round(events / EVENTS_A_SESSION);
  const visitors = Math.round(sessions * 0.28);
  const started = performance.now();
  await fillTraffic(execute, { siteId: site.siteId, sessions, visitors, from, to, seed: 1 }, (done) =>
    process.stderr.write(`\rfilling: ${((100 * done) / sessions).toFixed(0)} % `),
  );
  for (const [i, { siteId }] of small.entries())
    await fillTraffic(execute, { siteId, sessions: 500, visitors: 200, from, to, seed: i + 2 });
  process.stderr.write(`in ${((performance.now() - started) / 1000).toFixed(0)} s\n`);
  await setView(String(view));
}

/** Visitors that keep coming, so that no answer stays as it is. */
function visit(url: string, site: Site): { stop(): void } {
  const payloads = new Payloads([site], 5);
  const timer = setInterval(() => {
    const headers = { 'content-type': 'application/json' };
    void fetch(`${url}/api/v1/analytics/event`, { method: 'POST', headers, body: payloads.single() }).then(
      (answer) => answer.arrayBuffer(),
      () => undefined,
    );
  }, 1_000 / VISITS_A_SECOND);
  return { stop: () => clearInterval(timer) };
}

interface Measured {
  readonly program: Program;
  readonly engine: ProgramClickhouse;
  readonly api: Api;
  readonly site: Site;
  readonly days: number;
  readonly filter: string;
  readonly polls: number;
}

async function measure(asked: Measured): Promise<[Row[], PageRow]> {
  const { api, site, days, filter, polls } = asked;
  const query = `days=${days}&timezone=Europe/Berlin&limit=10${filter}`;
  const paths = [
    ...CALLS.map((call) => [call as string, `analytics/${call}/${site.id}?${query}`] as const),
    [
      'daily-stats x2',
      `analytics/daily-stats/${site.id}?${query.replace(/days=\d+/, `days=${days * 2}`)}`,
    ] as const,
  ];
  process.stderr.write(`${days} day(s) ${filter} `);
  const time = async (path: string): Promise<number> => {
    const start = performance.now();
    await api
      .get(Type.Unknown(), path)
      .catch((error: unknown) => process.stderr.write(`\n${String(error).slice(0, 200)}\n`));
    return performance.now() - start;
  };
  const coldStart = performance.now();
  const cold = new Map<string, number>();
  for (const [call, path] of paths) cold.set(call, await time(path));
  const coldMs = performance.now() - coldStart;
  const warm = new Map<string, number[]>(paths.map(([call]) => [call, []]));
  for (let poll = 0; poll < polls; poll++) {
    await sleep(PAUSE_MS);
    // Each call is the first one after the pause in its turn.
    const first = Math.floor((poll * paths.length) / polls);
    for (const [call, path] of [...paths.slice(first), ...paths.slice(0, first)])
      warm.get(call)?.push(await time(path));
    process.stderr.write('.');
  }
  const whole: number[] = [];
  let clickhouseSeconds = 0;
  let cpuSeconds = 0;
  for (let poll = 0; poll < polls; poll++) {
    await sleep(PAUSE_MS);
    const before = await usage(asked);
    const start = performance.now();
    await Promise.all(paths.map(([, path]) => time(path)));
    whole.push(performance.now() - start);
    const after = await usage(asked);
    clickhouseSeconds += (after.clickhouse - before.clickhouse) / polls;
    cpuSeconds += (after.all - before.all) / polls;
    process.stderr.write('#');
  }
  process.stderr.write('\n');
  const rows = paths.map(([call]) => ({
    call,
    days,
    filter,
    coldMs: cold.get(call) ?? 0,
    p50Ms: quantile(warm.get(call) ?? [], 0.5),
    p95Ms: quantile(warm.get(call) ?? [], 0.95),
  }));
  const p50Ms = quantile(whole, 0.5);
  return [rows, { days, filter, coldMs, p50Ms, worstMs: Math.max(...whole), cpuSeconds, clickhouseSeconds }];
}

async function usage({ program, engine }: Measured): Promise<{ all: number; clickhouse: number }> {
  const { seconds, byRoot } = await treeUsage({ clickhouse: engine.pid, program: program.pid });
  return { all: seconds, clickhouse: byRoot.get('clickhouse') ?? 0 };
}

/** Nearest rank. */
function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? 0;
}

async function printBytes({ clickhouse }: ProgramClickhouse): Promise<void> {
  const [[events] = []] = await rowsOf(clickhouse, 'SELECT count() FROM events');
  const perEvent = (bytes: unknown) => (Number(bytes) / Number(events)).toFixed(2);
  const tables = await rowsOf(
    clickhouse,
    `SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts
     WHERE active AND database = currentDatabase() AND rows > 0 GROUP BY table ORDER BY 3 DESC`,
  );
  console.log(`${events} events\n\n| table | rows | bytes an event |\n| --- | --- | --- |`);
  for (const [table, rows, bytes] of tables) console.log(`| ${table} | ${rows} | ${perEvent(bytes)} |`);
  const columns = await rowsOf(
    clickhouse,
    `SELECT table, column, sum(column_bytes_on_disk) AS bytes FROM system.parts_columns
     WHERE active AND database = currentDatabase() AND table IN ('events', 'session_slots')
     GROUP BY table, column HAVING bytes > 0 ORDER BY table, bytes DESC`,
  );
  console.log('\n| column | bytes an event |\n| --- | --- |');
  for (const [table, column, bytes] of columns) console.log(`| ${table}.${column} | ${perEvent(bytes)} |`);
}

/** What it costs to find out what has changed before it is asked. */
async function printAhead(url: string): Promise<void> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const lines = metrics.split('\n').filter((line) => /^seentics_metrics_look/.test(line));
  console.log(`\n${lines.join('\n')}\nof ${process.uptime().toFixed(0)} s`);
}

const ms = (value: number): string => value.toFixed(0);
const nameOf = (filter: string): string => decodeURIComponent(filter.slice(1)) || 'none';

function printPage(page: PageRow): void {
  const cells = [
    `${page.days} days`,
    nameOf(page.filter),
    ms(page.coldMs),
    ms(page.p50Ms),
    ms(page.worstMs),
    page.cpuSeconds.toFixed(2),
    page.clickhouseSeconds.toFixed(2),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

function print(rows: readonly Row[], pages: readonly PageRow[]): void {
  console.log(
    '\n| call | days | filter | cold ms | warm p50 ms | warm p95 ms |\n| --- | --- | --- | --- | --- | --- |',
  );
  for (const row of rows) {
    const times = [row.coldMs, row.p50Ms, row.p95Ms].map(ms);
    console.log(`| ${[row.call, row.days, nameOf(row.filter), ...times].join(' | ')} |`);
  }
  console.log(
    '\n| page | filter | cold, one after the other ms | at once p50 ms | worst ms | CPU s a page | of it ClickHouse s |',
  );
  console.log('| --- | --- | --- | --- | --- | --- | --- |');
  for (const page of pages) printPage(page);
  const all = rows.map((row) => row.p95Ms);
  console.log(
    `\np95 of the calls' warm p95: ${ms(quantile(all, 0.95))} ms; the slowest: ${ms(Math.max(...all))} ms`,
  );
}
