import { ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../../test/support/wait.js';
import { SupervisedChild } from './supervised-child.js';

let directory: string;
let lines: string[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'seentics-child-'));
  await mkdir(join(directory, 'bin'));
  const script = `#!/bin/sh\ntouch ${join(directory, 'up')}\nexec cat\n`;
  await writeFile(join(directory, 'bin', 'engine'), script, { mode: 0o755 });
  lines = [];
});
afterEach(() => rm(directory, { recursive: true }));

const start = (command: string, ready: () => Promise<unknown>) =>
  SupervisedChild.start(
    { name: 'Engine', command, args: [], ready: async () => void (await ready()), startTimeoutMs: 700 },
    { log: pino({}, { write: (line: string) => lines.push(line) }), registry: new Registry() },
  );
const failures = (text: string) => lines.filter((line) => line.includes(text)).length;

describe('a supervised engine', () => {
  // A missing file is reported after the call, a folder that is none in it, as are no memory and no processes left.
  it.each([
    ['reported later', 'engine', 'ENOENT'],
    ['thrown', '', 'ENOTDIR'],
  ])('comes again although restarts of it could not be started (%s)', async (_how, taken, code) => {
    const child = await start(join(directory, 'bin', 'engine'), () => stat(join(directory, 'up')));
    const before = child.pid;
    expect(before).toBeGreaterThan(0);
    const from = join(directory, 'bin', taken);
    await rename(from, join(directory, 'away'));
    if (taken === '') await writeFile(join(directory, 'bin'), 'no folder');
    if (before !== undefined) process.kill(before, 'SIGKILL');
    await until(() => failures(code) >= 2, { what: 'two restarts that fail', everyMs: 10 });
    if (taken === '') await rm(join(directory, 'bin'));
    await rename(join(directory, 'away'), from);
    await until(() => child.pid !== undefined && child.pid !== before, {
      what: 'the engine to run again',
      everyMs: 10,
    });
    await child.stop(5_000);
  });

  it('ends its start, and does not wait for what was never there, without a file descriptor left for it', async () => {
    const spawn: unknown = Reflect.get(ChildProcess.prototype, 'spawn');
    // What Node does then: neither a number nor streams, and an error once the call is over.
    Reflect.set(ChildProcess.prototype, 'spawn', function (this: ChildProcess) {
      process.nextTick(() => this.emit('error', new Error('spawn EMFILE')));
    });
    try {
      const never = () => Promise.reject(new Error('not yet'));
      await expect(start('engine', never)).rejects.toThrow(/did not start.*EMFILE/);
      expect(failures('EMFILE')).toBeGreaterThan(1);
    } finally {
      Reflect.set(ChildProcess.prototype, 'spawn', spawn);
    }
  });
});
