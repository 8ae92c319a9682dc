/**
 * Entry of the load generator: autocannon in a process of its own, so that its CPU is not counted as the server's. Reads one JSON line
 * of options from standard input, prints one JSON line of results.
 */
import { createInterface } from 'node:readline';
import autocannon from 'autocannon';
import { giveWay } from '../../src/storage/embedded/give-way.js';
import type { GeneratorOptions, GeneratorResult } from './generator.js';
import { Payloads } from './payload.js';

const BACKGROUND_NICENESS = 10;

const lines = createInterface({ input: process.stdin });
for await (const line of lines) {
  const options: GeneratorOptions = JSON.parse(line);
  console.log(JSON.stringify(await run(options)));
  break;
}
process.exit(0);

async function run(options: GeneratorOptions): Promise<GeneratorResult> {
  if (options.background === true) giveWay(BACKGROUND_NICENESS);
  const payloads = new Payloads(options.sites, options.seed);
  const path = options.events === 1 ? '/api/v1/analytics/event' : '/api/v1/analytics/batch';
  const result = await autocannon({
    url: options.url + path,
    connections: options.connections,
    duration: options.seconds,
    ...(options.requestsPerSecond === undefined ? {} : { overallRate: options.requestsPerSecond }),
    method: 'POST',
    requests: [
      {
        setupRequest: (request) => ({
          ...request,
          body: options.events === 1 ? payloads.single() : payloads.batch(options.events),
          headers: { 'content-type': 'application/json', 'x-forwarded-for': payloads.address() },
        }),
      },
    ],
  });
  return {
    seconds: result.duration,
    accepted: result['2xx'],
    refused: result.non2xx,
    failed: result.errors + result.timeouts,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
    maxMs: result.latency.max,
  };
}
