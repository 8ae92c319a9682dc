import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/**
 * `local`: appends to a local log without end and prints each id after its acknowledgement. `jetstream`: appends eight messages, consumes
 * and never acknowledges; prints `epoch PARTITION EPOCH` and `received TEXT`.
 */
export type StreamChildOptions =
  | { readonly kind: 'local'; readonly directory: string; readonly round: number }
  | { readonly kind: 'jetstream'; readonly url: string; readonly name: string };

export interface StreamChild {
  readonly process: ChildProcessByStdio<null, Readable, null>;
  /** The complete lines it printed, once the process has ended. */
  readonly ended: Promise<string[]>;
}

/** A process of its own with a stream, made to be killed. */
export function startStreamChild(options: StreamChildOptions): StreamChild {
  const script = fileURLToPath(new URL('./stream-child-main.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', script, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const ended = once(child, 'close').then(() => output.slice(0, output.lastIndexOf('\n')).split('\n'));
  return { process: child, ended };
}
