import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { PayloadSite } from './payload.js';

export interface GeneratorOptions {
  readonly url: string;
  readonly sites: readonly PayloadSite[];
  readonly connections: number;
  readonly seconds: number;
  /** Events a request: 1 = `analytics/event`, more = `analytics/batch`. */
  readonly events: number;
  readonly seed: number;
  /** Gives way to all other processes, so that the noise takes no processor time that the server wants. */
  readonly background?: boolean;
  /** Open loop at this rate; without it as fast as the answers come. */
  readonly requestsPerSecond?: number;
}

export interface GeneratorResult {
  readonly seconds: number;
  readonly accepted: number;
  readonly refused: number;
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Runs the load generator in a process of its own. */
export async function generate(options: GeneratorOptions): Promise<GeneratorResult> {
  const script = fileURLToPath(new URL('./generator-process.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: options.background === true,
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stdin.end(`${JSON.stringify(options)}\n`);
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`the load generator ended with ${code}`);
  const result: GeneratorResult = JSON.parse(output);
  return result;
}
