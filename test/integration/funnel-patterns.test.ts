import { createClient } from '@clickhouse/client';
import { expect, inject, it } from 'vitest';
import { compilePattern, patternProblem } from '../../src/funnels/pattern.js';
import { type Random, randomOf } from '../support/metrics-events.js';

const ATOMS = [
  'a',
  'b',
  '/',
  'ä',
  '.',
  '\\.',
  '\\d',
  '\\w',
  '\\W',
  '\\s',
  '\\b',
  '[ab]',
  '[^a/]',
  '[\\w-]',
  '1',
  '\\/',
  '^',
  '$',
  '%',
  '\\{',
  '[a-c\\]]',
  '\\n',
];
const REPEATS = ['', '', '', '', '*', '+', '?', '*?', '+?', '??', '{2}', '{1,3}', '{0,}', '{2,3}?', '{0}'];
const LETTERS = ['a', 'b', 'ab', '/', 'ä', '1', '.', '-', ' ', '\n', '%', '_', '{', 'c]'];

const pick = (random: Random, values: readonly string[]): string =>
  values[Math.floor(random() * values.length)] ?? '';

function randomPattern(random: Random, depth = 0): string {
  const parts = Array.from({ length: 1 + Math.floor(random() * 4) }, () => {
    const group = depth < 3 && random() < 0.25;
    const atom = group
      ? `${pick(random, ['(', '(?:'])}${randomPattern(random, depth + 1)})`
      : pick(random, ATOMS);
    return atom + pick(random, REPEATS);
  });
  return random() < 0.15 ? `${parts.join('')}|${randomPattern(random, depth + 1)}` : parts.join('');
}

it('patterns mean the same in ClickHouse, in this process and in the browser', async () => {
  const random = randomOf(99);
  const patterns = Array.from({ length: 700 }, () => randomPattern(random)).filter(
    (pattern) => patternProblem(pattern) === null,
  );
  expect(patterns.length).toBeGreaterThan(300);
  const texts = Array.from({ length: 60 }, () =>
    Array.from({ length: Math.floor(random() * 7) }, () => pick(random, LETTERS)).join(''),
  );
  const client = createClient({ url: inject('servers').clickhouse });
  let found = 0;
  for (let at = 0; at < patterns.length; at += 100) {
    const some = patterns.slice(at, at + 100);
    const matches = some.map((_, i) => `match(text, {p${i}:String})`);
    const answer = await client.query({
      query: `SELECT ${matches.join(', ')} FROM (SELECT arrayJoin({texts:Array(String)}) AS text)`,
      query_params: { texts, ...Object.fromEntries(some.map((pattern, i) => [`p${i}`, `(?-s)${pattern}`])) },
      format: 'JSONCompactEachRow',
    });
    const rows = await answer.json<number[]>();
    for (const [i, pattern] of some.entries()) {
      const browser = new RegExp(pattern);
      const here = compilePattern(pattern);
      for (const [row, text] of texts.entries()) {
        const expected = browser.test(text);
        expect([here(text), rows[row]?.[i] === 1], JSON.stringify({ pattern, text })).toEqual([
          expected,
          expected,
        ]);
        if (expected) found++;
      }
    }
  }
  await client.close();
  expect(found).toBeGreaterThan(1_000);
});
