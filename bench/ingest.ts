/**
 * What taking events costs, all the way into the event store: durable requests and events a second, latencies, and the figure that
 * counts because it bears noise: CPU seconds a million events of the whole process tree (program, stream, event store; the generator
 * apart), beside a bare handler that parses the same bodies, measured in the same run.
 */
import { Guard } from '../test/support/guard.js';
import { until } from '../test/support/wait.js';
import { treeUsage } from './support/cpu.js';
import { generate } from './support/generator.js';
import { bareTarget, embeddedTarget, serversTarget, type Target } from './support/targets.js';

export interface IngestBenchOptions {
  readonly seconds: number;
  readonly connections: readonly number[];
  readonly eventsPerRequest: readonly number[];
  readonly targets: readonly string[];
  /** Open loop at this rate instead of as fast as the answers come. */
  readonly requestsPerSecond?: number;
}

interface Row {
  readonly target: string;
  readonly events: number;
  readonly connections: number;
  readonly requestsPerSecond: number;
  readonly eventsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuPerMillionRequests: number;
  readonly cpuPerMillionEvents: number;
  readonly cpuByPart: string;
  readonly lost: number;
}

const STARTERS: Readonly<Record<string, (guard: Guard) => Promise<Target>>> = {
  bare: bareTarget,
  embedded: embeddedTarget,
  servers: serversTarget,
};

/** Runs every combination and prints a table. */
export async function runIngestBench(options: IngestBenchOptions): Promise<void> {
  const rows: Row[] = [];
  for (const name of options.targets) {
    const guard = await Guard.start();
    try {
      const start = STARTERS[name];
      if (start === undefined) throw new Error(`unknown target ${name}`);
      const target = await start(guard);
      await generate({
        url: target.url,
        sites: target.sites,
        connections: 64,
        seconds: 2,
        events: 10,
        seed: 99,
      });
      for (const events of options.eventsPerRequest) {
        for (const connections of options.connections)
          rows.push(await measure(target, events, connections, options));
      }
      await target.stop();
    } finally {
      await guard.stop();
    }
  }
  print(rows);
}

async function measure(
  target: Target,
  events: number,
  connections: number,
  options: IngestBenchOptions,
): Promise<Row> {
  await settle(target);
  const countedBefore = await target.counted();
  const before = await treeUsage(target.roots);
  const progress = setInterval(() => process.stderr.write('.'), 1_000);
  process.stderr.write(`${target.name}, ${events} event(s) a request, ${connections} connections `);
  const load = await generate({
    url: target.url,
    sites: target.sites,
    connections,
    seconds: options.seconds,
    events,
    ...(options.requestsPerSecond === undefined ? {} : { requestsPerSecond: options.requestsPerSecond }),
    seed: connections * 7 + events,
  });
  const stores = !target.name.startsWith('bare');
  const expected = countedBefore + load.accepted * events;
  await target.drained();
  const after = await treeUsage(target.roots);
  const counted = await target.counted();
  clearInterval(progress);
  const cpu = after.seconds - before.seconds;
  const row: Row = {
    target: target.name,
    events,
    connections,
    requestsPerSecond: load.accepted / load.seconds,
    eventsPerSecond: (load.accepted * events) / load.seconds,
    p50Ms: load.p50Ms,
    p99Ms: load.p99Ms,
    cpuPerMillionRequests: (cpu / load.accepted) * 1e6,
    cpuPerMillionEvents: (cpu / (load.accepted * events)) * 1e6,
    cpuByPart: [...after.byRoot]
      .map(([part, total]) => `${part} ${(total - (before.byRoot.get(part) ?? 0)).toFixed(1)}`)
      .join(', '),
    // Answered requests beyond the last answer the generator saw (its connections were cut) may be stored too: that is no loss.
    lost: stores ? Math.max(0, expected - counted) : 0,
  };
  process.stderr.write(
    ` ${row.eventsPerSecond.toFixed(0)} events/s, ${row.cpuPerMillionEvents.toFixed(1)} CPU s a million events` +
      `${load.refused + load.failed > 0 ? `, refused ${load.refused}, failed ${load.failed}` : ''}\n`,
  );
  return row;
}

/** Waits until the target's processes are quiet, so that one measurement does not pay for the one before. */
async function settle(target: Target): Promise<void> {
  let last = (await treeUsage(target.roots)).seconds;
  await until(
    async () => {
      const now = (await treeUsage(target.roots)).seconds;
      const quiet = now - last < 0.1;
      last = now;
      return quiet;
    },
    { what: 'the target to be quiet', timeoutMs: 30_000, everyMs: 1_000 },
  ).catch(() => undefined);
}

function print(rows: readonly Row[]): void {
  console.log(
    '| target | events a request | connections | requests/s | events/s | p50 ms | p99 ms | CPU s / M requests | CPU s / M events | CPU s by part | lost |',
  );
  console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |');
  for (const row of rows) {
    const cells = [
      row.target,
      row.events,
      row.connections,
      row.requestsPerSecond.toFixed(0),
      row.eventsPerSecond.toFixed(0),
      row.p50Ms,
      row.p99Ms,
      row.cpuPerMillionRequests.toFixed(1),
      row.cpuPerMillionEvents.toFixed(1),
      row.cpuByPart,
      row.lost,
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}
