import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { PayloadSite } from './payload.js';

export interface ProbeOptions {
  readonly url: string;
  readonly site: PayloadSite;
  readonly requestsPerSecond: number;
  readonly seconds: number;
  readonly seed: number;
}

export interface ProbeResult {
  readonly latenciesMs: readonly number[];
  /** Requests without an answer of 201. */
  readonly failed: number;
}

/** A light client in a process of its own, kept warm from one stretch to the next. */
export class Probe {
  private constructor(
    private readonly child: ChildProcess,
    private readonly input: NodeJS.WritableStream,
    private readonly lines: Interface,
  ) {}

  static start(): Probe {
    const script = fileURLToPath(new URL('./probe-process.ts', import.meta.url));
    const child = spawn(process.execPath, ['--import', 'tsx', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    return new Probe(child, child.stdin, createInterface({ input: child.stdout }));
  }

  async run(options: ProbeOptions): Promise<ProbeResult> {
    const answer = once(this.lines, 'line');
    this.input.write(`${JSON.stringify(options)}\n`);
    const [line]: string[] = await answer;
    if (line === undefined) throw new Error('the probe says nothing');
    const result: ProbeResult = JSON.parse(line);
    return result;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const closed = once(this.child, 'close');
    this.input.end();
    await closed;
  }
}
