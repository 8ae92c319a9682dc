import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { VARIABLES } from '../../src/config.js';

const CONFIGURATION = ['config.ts', 'config-read.ts'];

const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
  .map((name) => ({ name, text: readFileSync(join('src', name), 'utf8') }));

it('every documented variable has an effect: something beside its declaration uses it', () => {
  // What stands in the configuration itself counts where it decides something for others, not where it is only checked.
  const decides = /export function isCloud[^}]*\}/.exec(readFileSync('src/config.ts', 'utf8'))?.[0] ?? '';
  const used = files
    .filter(({ name }) => !CONFIGURATION.includes(name))
    .map(({ text }) => text)
    .concat(decides)
    .join('\n');
  const idle = Object.keys(VARIABLES).filter((name) => !new RegExp(`\\b${name}\\b`).test(used));
  expect(idle).toEqual([]);
  expect(Object.keys(VARIABLES).length).toBeGreaterThan(50);
});

it('nothing but the configuration and the start of the program reads the environment', () => {
  // Two libraries can only be told by a variable; that is written, not read.
  const reads = /process\.env(?!\.\w+ = )/;
  const readers = files.filter(({ text }) => reads.test(text)).map(({ name }) => name);
  expect(readers.filter((name) => !CONFIGURATION.includes(name))).toEqual(['main.ts']);
});
