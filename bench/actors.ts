/**
 * What the actor runtime costs: a `tell` in the hot path, memory that 100,000 sites seen once leave behind, the stall while they are
 * passivated, and what a noisy site costs a quiet one.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { ActorGroup } from '../src/actors/runtime/group.js';
import { createSiteBatcher } from '../src/actors/site-batcher.js';
import type { SiteFrame } from '../src/events/frame.js';
import type { SiteSink } from '../src/events/site-sink.js';
import { silentTelemetry } from '../src/telemetry.js';
import { watchStalls } from './stalls.js';
import { medians, type Stretch, spread, stretchOf } from './support/stretches.js';

export interface ActorsBenchResult {
  /** Mean cost of a tell, its handling included. */
  readonly nsPerTell: number;
  /** Resident memory that 100,000 sites added while alive and after passivation, MB. */
  readonly aliveMb: number;
  readonly leftMb: number;
  /** Longest stall of the event loop while they were passivated, ms. */
  readonly passivationStallMs: number;
  readonly noise: readonly NoiseResult[];
}

/** p99 of a quiet site's `deliver`, alone and beside a site at full blast, ms: medians over stretches. */
export interface NoiseResult {
  readonly clients: number;
  readonly quietP99Ms: number;
  readonly besideNoisyP99Ms: number;
}

const SITES = 100_000;
/** What the stream takes to make a frame durable. */
const PUBLISH_MS = 2;
const QUIET_ROUNDS = 9;
const QUIET_REQUESTS = 400;
const REST_MS = 300;
/** Clients of the noisy site that have a request under way at any time. */
const NOISY_CLIENTS = [64, 512] as const;
const siteId = (i: number) => `5f5e1000${i.toString(16).padStart(16, '0')}`;

function frame(site: string): SiteFrame {
  return {
    siteId: site,
    source: 'event',
    received: 1,
    rejected: 0,
    rowCount: 1,
    rows: [new Uint8Array(300)],
  };
}

/** Runs all parts (about 40 s) and prints one line a figure. */
export async function runActorsBench(
  print: (line: string) => void = console.log,
): Promise<ActorsBenchResult> {
  const nsPerTell = await tellCost();
  print(`tell, handling included      ${nsPerTell.toFixed(0)} ns`);
  const { aliveMb, leftMb, stallMs } = await sitesSeenOnce();
  print(
    `100,000 sites seen once      ${aliveMb.toFixed(0)} MB alive, ${leftMb.toFixed(0)} MB left after passivation`,
  );
  print(`longest stall of the sweep   ${stallMs.toFixed(1)} ms`);
  const noise: NoiseResult[] = [];
  for (const clients of NOISY_CLIENTS) {
    const { alone, beside } = await quietSite(clients);
    const quietP99Ms = medians(alone).p99Ms;
    const besideNoisyP99Ms = medians(beside).p99Ms;
    noise.push({ clients, quietP99Ms, besideNoisyP99Ms });
    print(
      `deliver, p99 of a quiet site ${quietP99Ms.toFixed(2)} ms alone (${spread(alone)}), ${besideNoisyP99Ms.toFixed(2)} ms beside ${clients} noisy clients (${spread(beside)}): ${(besideNoisyP99Ms / quietP99Ms).toFixed(2)} times`,
    );
  }
  return { nsPerTell, aliveMb, leftMb, passivationStallMs: stallMs, noise };
}

async function tellCost(): Promise<number> {
  let handled = 0;
  const actors = new ActorGroup<string, SiteFrame>({
    name: 'bench_tell',
    create: () => ({
      receive: () => {
        handled++;
      },
    }),
    mailbox: { messages: 1_000 },
    telemetry: silentTelemetry(),
  });
  const sites = Array.from({ length: 1_000 }, (_, i) => siteId(i));
  const message = frame('x');
  const run = async (tells: number) => {
    const start = performance.now();
    for (let sent = 0; sent < tells; ) {
      for (const site of sites) for (let i = 0; i < 10; i++) actors.tell(site, message);
      sent += sites.length * 10;
      while (actors.waiting > 0) await new Promise((resolve) => setImmediate(resolve));
    }
    return ((performance.now() - start) * 1e6) / tells;
  };
  await run(500_000);
  const ns = await run(3_000_000);
  if (handled !== 3_500_000) throw new Error(`${handled} messages were handled`);
  await actors.stop(1_000);
  return ns;
}

async function sitesSeenOnce(): Promise<{ aliveMb: number; leftMb: number; stallMs: number }> {
  const idleMs = 2_000;
  const telemetry = silentTelemetry();
  const sites = createSiteBatcher({ publish: async () => {}, telemetry, idleMs });
  await sites.deliver(frame(siteId(SITES)));
  const alive = async () =>
    /seentics_actors_alive\{group="site"\} (\d+)/.exec(await telemetry.registry.metrics())?.[1];
  const before = await memoryMb();
  for (let i = 0; i < SITES; i += 1_000)
    await Promise.all(Array.from({ length: 1_000 }, (_, k) => sites.deliver(frame(siteId(i + k)))));
  const aliveMb = (await memoryMb()) - before;
  const stall = watchStalls();
  for (let left = await alive(); left !== '0'; left = await alive()) await sleep(50);
  const stallMs = stall();
  const leftMb = (await memoryMb()) - before;
  await sites.stop(1_000);
  return { aliveMb, leftMb, stallMs };
}

/** Stretches alone and beside a site at full blast in turns, on the same actors. */
async function quietSite(clients: number): Promise<{ alone: Stretch[]; beside: Stretch[] }> {
  const publish = () => sleep(PUBLISH_MS);
  const sites = createSiteBatcher({ publish, telemetry: silentTelemetry() });
  const alone: Stretch[] = [];
  const beside: Stretch[] = [];
  await deliveries(sites);
  for (let round = 0; round < QUIET_ROUNDS; round++) {
    alone.push(stretchOf(await deliveries(sites)));
    const noise = blast(sites, clients);
    beside.push(stretchOf(await deliveries(sites)));
    await noise.stop();
    // What the noise has left behind is not the next stretch's.
    await sleep(REST_MS);
  }
  await sites.stop(1_000);
  return { alone, beside };
}

/** Clients of the noisy site in a thread of their own, as clients are other machines: each asks again as soon as it is answered. */
function blast(sites: SiteSink, clients: number): { stop(): Promise<unknown> } {
  const thread = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads');
     const ask = () => parentPort.postMessage(0);
     parentPort.on('message', ask);
     for (let i = 0; i < workerData; i++) ask();`,
    { eval: true, workerData: clients },
  );
  const answer = () => thread.postMessage(0);
  thread.on('message', () => sites.deliver(frame(siteId(1))).then(answer, answer));
  return { stop: () => thread.terminate() };
}

/** Times of the quiet site's requests, one after the other, ms. */
async function deliveries(sites: SiteSink): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < QUIET_REQUESTS; i++) {
    const start = performance.now();
    await sites.deliver(frame(siteId(2)));
    times.push(performance.now() - start);
  }
  return times;
}

/** Resident memory where garbage can be collected on demand (`--expose-gc`), else the heap in use. */
async function memoryMb(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await sleep(50);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return (globalThis.gc === undefined ? heapUsed + external : rss) / 1024 / 1024;
}
