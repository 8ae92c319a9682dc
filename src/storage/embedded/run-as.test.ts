import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runAs } from './run-as.js';

const run = promisify(execFile);

describe.skipIf(process.getuid?.() !== 0)('a program that must not run as root, started by root', () => {
  let home: string;
  let program: string;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'run-as-'));
    program = join(home, 'sh');
    await copyFile('/bin/sh', program);
    await chmod(program, 0o755);
  });

  afterAll(() => rm(home, { recursive: true }));

  test.each([
    ['open to all', 0o755],
    ['private to root, as /root is', 0o700],
  ])('runs in a folder %s, and sees that it may', async (_, mode) => {
    await chmod(home, mode);
    const { command, args, uid, gid } = (await runAs(program, home)).wrap(program, ['-c', 'id -u']);
    const identity = { ...(uid === undefined ? {} : { uid }), ...(gid === undefined ? {} : { gid }) };
    expect((await run(command, args, identity)).stdout).toBe('65534\n');
    // By access(2), as initdb looks for the server beside it; the shell's `test -x` asks in another way.
    const access = `require('fs').accessSync(${JSON.stringify(program)}, require('fs').constants.X_OK)`;
    const asked = (await runAs(program, home)).wrap(process.execPath, ['-e', access]);
    await run(asked.command, asked.args, identity);
  });
});
