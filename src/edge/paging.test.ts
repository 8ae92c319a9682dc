import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type PageQuery, pageOf } from './paging.js';

const id = (item: string) => item;

function walk(list: (page: number) => readonly string[], limit: number): string[] {
  const seen: string[] = [];
  let cursor: string | null | undefined = '';
  for (let number = 0; cursor !== null && cursor !== undefined; number++) {
    const query: PageQuery = { limit, cursor };
    const { items, next } = pageOf(list(number), query, id);
    seen.push(...items);
    cursor = next.next_cursor;
  }
  return seen;
}

describe('pageOf', () => {
  it('answers everything without a limit', () => {
    expect(pageOf(['a', 'b'], {}, id)).toEqual({ items: ['a', 'b'], next: {} });
  });

  it('shows every item once, in order', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ minLength: 1 })),
        fc.integer({ min: 1, max: 7 }),
        (list, limit) => {
          expect(walk(() => list, limit)).toEqual(list);
        },
      ),
      { seed: 7 },
    );
  });

  it('is not moved by what comes in front', () => {
    const list = ['c', 'b', 'a'];
    expect(walk((page) => [...(page === 0 ? [] : ['new']), ...list], 1)).toEqual(list);
  });

  it('goes on at the same place when the last item shown has gone', () => {
    expect(walk((page) => (page === 0 ? ['a', 'b', 'c', 'd'] : ['a', 'c', 'd']), 2)).toEqual([
      'a',
      'b',
      'c',
      'd',
    ]);
  });

  it.each(['x', 'bm9uZQ', '????'])('refuses the cursor %j', (cursor) => {
    expect(() => pageOf(['a'], { cursor }, id)).toThrow(/cursor/);
  });
});
