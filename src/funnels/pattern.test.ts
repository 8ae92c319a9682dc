import { describe, expect, it } from 'vitest';
import { compilePattern, patternProblem } from './pattern.js';

describe('patterns', () => {
  it.each(['^/blog/\\d+$', '/(a|b)/[^/]+', 'x{2,5}?', '(?:/p){1,10}', '/[\\w.\\-]+\\.html', '/ä+', ']a]'])(
    'take %s',
    (pattern) => {
      expect(patternProblem(pattern)).toBe(null);
    },
  );

  it.each([
    '',
    '(',
    'a**',
    '(?=a)b',
    '(?<!a)b',
    '(?i)a',
    '(?<name>a)',
    '(a)\\1',
    '\\p{L}',
    '\\x41',
    '\\Qa\\E',
    '[[:alpha:]]',
    '[]',
    '[^]',
    '[\\b]',
    'a{1001}',
    '(a{100}){100}',
    'a{,3}',
    'a{',
    '^*',
    'a\u0000b',
    'a\nb',
    '😀',
    'x'.repeat(501),
  ])('refuse %j', (pattern) => {
    expect(patternProblem(pattern)).not.toBe(null);
  });

  it('find their text anywhere, in linear time', () => {
    expect(compilePattern('blog/\\d')('/en/blog/7')).toBe(true);
    expect(compilePattern('^/blog$')('/blogs')).toBe(false);
    const evil = compilePattern('(a+)+$');
    const start = performance.now();
    expect(evil(`${'a'.repeat(5_000)}b`)).toBe(false);
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});
