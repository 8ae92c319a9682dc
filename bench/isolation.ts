/**
 * What a site at full blast costs another one: latencies of a quiet site's requests alone and beside a noisy site, in turns, on one
 * program with everything embedded. The quiet site's client is preferred by the scheduler where that is allowed, for clients are other
 * machines. The noisy site's load generator is run both ways: giving way to the program, so that its own appetite for the processor is not
 * counted against the program, and not giving way.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Guard } from '../test/support/guard.js';
import { generate } from './support/generator.js';
import { Probe } from './support/probe.js';
import { medians, type Stretch, spread, stretchOf } from './support/stretches.js';
import { embeddedTarget, type Target } from './support/targets.js';

const QUIET_REQUESTS_PER_SECOND = 100;
const NOISY = { connections: 64, events: 10 } as const;
/** The generator has to load its code before it makes noise. */
const NOISE_START_SECONDS = 1;
/** After a stretch, when all is stored: ClickHouse still merges. */
const REST_MS = 2_000;

const KINDS = ['alone', 'beside a noisy one that gives way', 'beside a noisy one that does not'] as const;
type Kind = (typeof KINDS)[number];

interface Measured extends Stretch {
  /** Requests that were not accepted: of the quiet site, of the noisy one. */
  readonly failed: number;
  readonly refused: number;
  /** Events of the noisy site accepted a second. */
  readonly noise: number;
}

/** Runs each kind of stretch `rounds` times, in turns, and prints a line for each and a table. */
export async function runIsolationBench(seconds: number, rounds: number): Promise<void> {
  const guard = await Guard.start();
  const probe = Probe.start();
  try {
    const target = await embeddedTarget(guard);
    await warmUp(target);
    const measured = new Map<Kind, Measured[]>(KINDS.map((kind) => [kind, []]));
    for (let round = 0; round < rounds; round++) {
      for (const [at, kind] of KINDS.entries()) {
        const stretch = await run(kind, target, probe, seconds, 1 + round * KINDS.length + at);
        measured.get(kind)?.push(stretch);
        console.log(`${kind}: p50 ${stretch.p50Ms.toFixed(1)} ms, p99 ${stretch.p99Ms.toFixed(1)} ms`);
        await target.drained();
        await sleep(REST_MS);
      }
    }
    print(measured);
    await target.stop();
  } finally {
    await probe.stop();
    await guard.stop();
  }
}

async function run(
  kind: Kind,
  target: Target,
  probe: Probe,
  seconds: number,
  seed: number,
): Promise<Measured> {
  const [site, noisySite] = target.sites;
  if (site === undefined || noisySite === undefined) throw new Error('no sites');
  const { url } = target;
  const quiet = () => probe.run({ url, site, requestsPerSecond: QUIET_REQUESTS_PER_SECOND, seconds, seed });
  if (kind === 'alone') {
    const { latenciesMs, failed } = await quiet();
    return { ...stretchOf(latenciesMs), failed, refused: 0, noise: 0 };
  }
  const background = kind === 'beside a noisy one that gives way';
  const noiseSeconds = seconds + NOISE_START_SECONDS;
  const making = generate({ ...NOISY, url, sites: [noisySite], seconds: noiseSeconds, seed, background });
  await sleep(NOISE_START_SECONDS * 1_000);
  const [{ latenciesMs, failed }, noise] = await Promise.all([quiet(), making]);
  return {
    ...stretchOf(latenciesMs),
    failed,
    refused: noise.refused + noise.failed,
    noise: (noise.accepted * NOISY.events) / noise.seconds,
  };
}

async function warmUp(target: Target): Promise<void> {
  await generate({ url: target.url, sites: target.sites, connections: 16, seconds: 3, events: 10, seed: 3 });
  await target.drained();
}

function print(measured: ReadonlyMap<Kind, readonly Measured[]>): void {
  const sum = (of: readonly Measured[], key: 'failed' | 'refused' | 'noise') =>
    of.reduce((total, each) => total + each[key], 0);
  const quiet = medians(measured.get('alone') ?? []);
  console.log(
    '| quiet site | p50 ms | p99 ms, median | p99 ms | p99 / alone | not accepted | noise, events/s |',
  );
  console.log('| --- | --- | --- | --- | --- | --- | --- |');
  for (const [kind, stretches] of measured) {
    const { p50Ms, p99Ms } = medians(stretches);
    const noise = (sum(stretches, 'noise') / stretches.length).toFixed(0);
    const bad = `${sum(stretches, 'failed')} (noisy: ${sum(stretches, 'refused')})`;
    const ratio = (p99Ms / quiet.p99Ms).toFixed(2);
    console.log(
      `| ${kind} | ${p50Ms.toFixed(1)} | ${p99Ms.toFixed(1)} | ${spread(stretches)} | ${ratio} | ${bad} | ${noise} |`,
    );
  }
}
