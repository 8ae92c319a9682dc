/**
 * What a site at full blast costs another one: latencies of a quiet site's requests alone, and beside a noisy site, in the same run.
 */
import { Guard } from '../test/support/guard.js';
import { type GeneratorResult, generate } from './support/generator.js';
import { embeddedTarget, type Target } from './support/targets.js';

const QUIET = { connections: 4, requestsPerSecond: 40, events: 1 } as const;
const NOISY = { connections: 64, events: 10, background: true } as const;

/** Runs both stretches, each of the given length, and prints a table. */
export async function runIsolationBench(seconds: number): Promise<void> {
  const guard = await Guard.start();
  try {
    const target = await embeddedTarget(guard);
    const [quietSite, noisySite] = target.sites;
    if (quietSite === undefined || noisySite === undefined) throw new Error('no sites');
    const quiet = (length: number) =>
      generate({ ...QUIET, url: target.url, sites: [quietSite], seconds: length, seed: 1 });
    await warmUp(target);
    const alone = await quiet(seconds);
    await target.drained();
    const [beside, noise] = await Promise.all([
      quiet(seconds),
      generate({ ...NOISY, url: target.url, sites: [noisySite], seconds, seed: 2 }),
    ]);
    print([
      ['quiet site alone', alone],
      ['quiet site beside the noisy one', beside],
      ['noisy site', noise],
    ]);
    console.log(`p99 beside / alone: ${(beside.p99Ms / alone.p99Ms).toFixed(2)}`);
    await target.stop();
  } finally {
    await guard.stop();
  }
}

async function warmUp(target: Target): Promise<void> {
  await generate({ url: target.url, sites: target.sites, connections: 16, seconds: 3, events: 10, seed: 3 });
  await target.drained();
}

function print(rows: readonly (readonly [string, GeneratorResult])[]): void {
  console.log('| load | accepted | refused | p50 ms | p99 ms | max ms |');
  console.log('| --- | --- | --- | --- | --- | --- |');
  for (const [name, row] of rows) {
    console.log(
      `| ${name} | ${row.accepted} | ${row.refused + row.failed} | ${row.p50Ms} | ${row.p99Ms} | ${row.maxMs} |`,
    );
  }
}
