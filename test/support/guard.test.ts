import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { Guard, repositoryRoot } from './guard.js';
import { descendants, survivors } from './process-tree.js';
import { until } from './wait.js';

test('a killed owner leaves neither processes nor files', async () => {
  const script = `
    import { Guard } from './test/support/guard.ts';
    const guard = await Guard.start();
    guard.start('sleeper', 'sleep', ['1000']);
    guard.start('stubborn', 'sh', ['-c', 'trap "" TERM; sleep 1000 & wait; sleep 1000'], { endWith: 'SIGKILL' });
    console.log(guard.directory);
    setInterval(() => {}, 1000);`;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', script];
  const owner = spawn(process.execPath, args, { cwd: repositoryRoot, stdio: ['ignore', 'pipe', 'inherit'] });
  const [directory] = await once(createInterface({ input: owner.stdout }), 'line');
  const { pid } = owner;
  if (pid === undefined) throw new Error('no process');
  // guard, sleep, sh and its sleep
  const family = await until(
    async () => {
      const found = await descendants(pid);
      return found.filter(({ command }) => command.includes('sleep 1000')).length >= 3 && found;
    },
    { what: 'the processes to run' },
  );
  owner.kill('SIGKILL');
  await until(async () => (await survivors(family)).length === 0, { what: 'all processes to end' });
  expect(existsSync(directory)).toBe(false);
});

test('stop ends what was started and removes the directory', async () => {
  const guard = await Guard.start();
  const sleeper = guard.start('sleeper', 'sleep', ['1000']);
  expect(existsSync(guard.directory)).toBe(true);
  await guard.stop();
  await until(() => !sleeper.running(), { what: 'the process to end' });
  expect(existsSync(guard.directory)).toBe(false);
});
