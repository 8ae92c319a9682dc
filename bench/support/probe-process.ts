/**
 * Entry of the probe: sends single events of one site at a low, steady rate, whether or not the ones before are answered, and takes the
 * time of each. Reads one JSON line of options for each stretch, prints one JSON line of results.
 */
import { Agent, request } from 'node:http';
import { getPriority, setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Payloads } from './payload.js';
import type { ProbeOptions, ProbeResult } from './probe.js';

const agent = new Agent({ keepAlive: true });
preferred();
for await (const line of createInterface({ input: process.stdin })) {
  const options: ProbeOptions = JSON.parse(line);
  console.log(JSON.stringify(await run(options)));
}
process.exit(0);

/** A client is another machine: what it waits for the processor is not the server's. Where this is not allowed it waits. */
function preferred(): void {
  try {
    setPriority(Math.max(-20, getPriority() - 5));
  } catch {
    // Only the superuser may.
  }
}

async function run(options: ProbeOptions): Promise<ProbeResult> {
  const payloads = new Payloads([options.site], options.seed);
  const url = new URL('/api/v1/analytics/event', options.url);
  const latenciesMs: number[] = [];
  let failed = 0;
  const running = new Set<Promise<void>>();
  const start = performance.now();
  const step = 1_000 / options.requestsPerSecond;
  for (let due = start; due < start + options.seconds * 1_000; due += step) {
    // Off the beat of anything that the server does at fixed intervals.
    await sleep(due + Math.random() * step - performance.now());
    const sent = performance.now();
    const sending = send(url, payloads.single(), payloads.address()).then((ok) => {
      if (ok) latenciesMs.push(performance.now() - sent);
      else failed++;
      running.delete(sending);
    });
    running.add(sending);
  }
  await Promise.all(running);
  return { latenciesMs, failed };
}

/** @returns whether it was accepted */
function send(url: URL, body: string, address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      'x-forwarded-for': address,
    };
    const sending = request(url, { method: 'POST', agent, headers }, (answer) => {
      answer
        .resume()
        .on('end', () => resolve(answer.statusCode === 201))
        .on('error', () => resolve(false));
    });
    sending.on('error', () => resolve(false)).end(body);
  });
}
