import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

it('says nothing that this version of V8 does not know', async () => {
  const module = JSON.stringify(new URL('./garbage.ts', import.meta.url).href);
  const code = `(await import(${module})).collectLessOften(); console.log('done');`;
  // V8 does not throw: it writes what it does not understand to standard error.
  const args = ['--import', 'tsx', '--input-type=module', '--eval', code];
  const answer = await promisify(execFile)(process.execPath, args);
  expect(answer).toEqual({ stdout: 'done\n', stderr: '' });
});
