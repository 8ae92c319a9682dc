import { describe, expect, it } from 'vitest';
import { pagesOfPatterns } from './page-patterns.js';

const never = new AbortController().signal;
/** Each takes a while to be looked through. */
const LONG = Array.from({ length: 5_000 }, (_, i) => `/${'ab'.repeat(900)}${i}`);

describe('pages of patterns', () => {
  it('are those in which each occurs', async () => {
    const pages = ['/', '/blog', '/blog/7', '/shop'];
    const found = await pagesOfPatterns(['^/blog', '\\d', '^/blog', 'x'], pages, 1_000, never);
    expect([...found]).toEqual([
      ['^/blog', ['/blog', '/blog/7']],
      ['\\d', ['/blog/7']],
      ['x', []],
    ]);
  });

  it('are looked for between other work, as long as the caller waits', async () => {
    const caller = new AbortController();
    const asked = pagesOfPatterns(['(a|b)*[cd](a|b){9}'], LONG, 60_000, caller.signal);
    // Runs although the pages are not through yet.
    setImmediate(() => caller.abort(new Error('gone')));
    await expect(asked).rejects.toThrow('gone');
  });

  it('are given up when they take too long', async () => {
    await expect(pagesOfPatterns(['(a|b)*[cd](a|b){9}'], LONG, 10, never)).rejects.toMatchObject({
      code: 'timeout',
    });
  });
});
