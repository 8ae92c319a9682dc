import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_PATTERNS, PagePattern, pageRules } from './page-patterns.js';

/** The obvious way, exponential at worst. */
function naive(pattern: string, path: string): boolean {
  if (pattern === '') return path === '';
  if (pattern[0] !== '*')
    return path !== '' && path[0] === pattern[0] && naive(pattern.slice(1), path.slice(1));
  return naive(pattern.slice(1), path) || (path !== '' && naive(pattern, path.slice(1)));
}

const letters = fc.constantFrom('a', 'b', '/');
const paths = fc.string({ unit: letters, maxLength: 12 });
const patterns = fc.string({ unit: fc.oneof(letters, fc.constant('*')), maxLength: 9 });

describe('PagePattern', () => {
  it('agrees with the naive matcher', () => {
    let matches = 0;
    fc.assert(
      fc.property(patterns, paths, (pattern, path) => {
        const expected = naive(pattern, path);
        if (expected) matches++;
        expect(new PagePattern(pattern).matches(path)).toBe(expected);
      }),
      { seed: 11, numRuns: 20_000 },
    );
    expect(matches).toBeGreaterThan(1_000);
  });

  it('finds every path that was made from the pattern', () => {
    fc.assert(
      fc.property(
        fc.array(paths, { minLength: 1, maxLength: 5 }),
        fc.array(paths, { minLength: 4 }),
        (pieces, fill) => {
          const path = pieces.reduce((text, piece, i) => `${text}${fill[i - 1] ?? ''}${piece}`);
          expect(new PagePattern(pieces.join('*')).matches(path)).toBe(true);
        },
      ),
      { seed: 12, numRuns: 2_000 },
    );
  });

  it('takes linear time where backtracking and plain search do not', () => {
    const path = `/${'a'.repeat(2047)}`;
    const pattern = new PagePattern(`*${`${'a'.repeat(500)}b*`.repeat(50)}`);
    const start = performance.now();
    for (let i = 0; i < 1_000; i++) if (pattern.matches(path)) throw new Error('matched');
    expect(performance.now() - start).toBeLessThan(500);
  });
});

describe('pageRules', () => {
  it.each([
    [null, null, '/anything', true],
    ['', ' \n\n', '/anything', true],
    ['/blog/*', null, '/blog/one', true],
    ['/blog/*', null, '/blog', false],
    ['/blog*', null, '/blog', true],
    ['/a\r\n/b\r\n', null, '/b', true],
    ['/a\n/b', null, '/c', false],
    [null, '/admin*', '/admin/users', false],
    [null, '/admin*', '/', true],
    ['/shop/*', '/shop/checkout*', '/shop/cart', true],
    ['/shop/*', '/shop/checkout*', '/shop/checkout/pay', false],
    ['shop/cart/', null, '/shop/cart', true],
    ['https://shop.example/cart?x=1#y', null, '/cart', true],
    ['https://shop.example', null, '/', true],
    ['/', null, '/', true],
    ['/', null, '/x', false],
    ['*', '*.pdf', '/file.pdf', false],
    ['/Case', null, '/case', false],
    ['/a+b.(c)', null, '/a+b.(c)', true],
  ])('include %j and exclude %j: %s is %s', (include, exclude, page, allowed) => {
    expect(pageRules(include, exclude).allows(page)).toBe(allowed);
  });

  it('counts only so many patterns', () => {
    const list = Array.from({ length: MAX_PATTERNS + 1 }, (_, i) => `/p${i}`).join('\n');
    const rules = pageRules(list, null);
    expect(rules.allows(`/p${MAX_PATTERNS - 1}`)).toBe(true);
    expect(rules.allows(`/p${MAX_PATTERNS}`)).toBe(false);
  });
});
