import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export interface StreamChildOptions {
  readonly directory: string;
  readonly round?: number;
}

export interface StreamChild {
  readonly process: ChildProcessByStdio<null, Readable, null>;
  /** The ids whose append was acknowledged, once the process has ended. */
  readonly ended: Promise<string[]>;
}

/** A process that appends to a local log without end and prints each id after its acknowledgement. */
export function startStreamChild({ directory, round = 0 }: StreamChildOptions): StreamChild {
  const script = fileURLToPath(new URL('./stream-child-main.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', script, directory, String(round)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const ended = once(child, 'close').then(() => output.slice(0, output.lastIndexOf('\n')).split('\n'));
  return { process: child, ended };
}
