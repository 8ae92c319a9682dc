import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Guard, repositoryRoot } from '../support/guard.js';
import { freePort } from '../support/ports.js';
import { descendants, survivors } from '../support/process-tree.js';
import { until } from '../support/wait.js';

let guard: Guard;

beforeAll(async () => {
  guard = await Guard.start();
});

afterAll(() => guard?.stop());

test('SIGTERM to `npm start` ends the program, not only npm', async () => {
  const { PATH = '', HOME = '' } = process.env;
  const npm = guard.start('npm', 'npm', ['start'], {
    env: {
      ...{ PATH, HOME, PORT: '0', DATA_DIR: join(guard.directory, 'npm') },
      // A server that never comes: the program waits for it, which costs no engine.
      ...{ DATABASE_URL: `postgres://nobody@127.0.0.1:${await freePort()}/none`, EVENT_STORE: 'postgres' },
    },
  });
  await until(async () => (await readFile(npm.logFile, 'utf8')).includes('waiting for Postgres'), {
    what: 'the program to wait for Postgres',
  });
  const started = await descendants(npm.pid);
  expect(started.map(({ command }) => command)).toContainEqual(expect.stringMatching(/dist\/main\.js$/));
  await npm.end('SIGTERM');
  await until(async () => (await survivors(started)).length === 0, {
    what: 'the program to end',
    timeoutMs: 5_000,
  });
});

test('a port that is taken is named before anything is made', async () => {
  const taken = createServer();
  await once(taken.listen(0), 'listening');
  const address = taken.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const dataDir = join(guard.directory, 'taken');
  const { PATH = '' } = process.env;
  const program = guard.start('program', process.execPath, [join(repositoryRoot, 'dist/main.js')], {
    env: { PATH, PORT: `${port}`, DATA_DIR: dataDir },
  });
  await once(program.child, 'close');
  taken.close();
  expect(program.child.exitCode).toBe(1);
  await until(async () => (await readFile(program.logFile, 'utf8')) !== '', { what: 'what it said' });
  expect(await readFile(program.logFile, 'utf8')).toBe(
    `cannot start: port ${port} is in use by another program: set PORT to a free one\n`,
  );
  expect(existsSync(join(dataDir, 'postgres'))).toBe(false);
});
