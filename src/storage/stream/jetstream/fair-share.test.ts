import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fairShare } from './fair-share.js';

it('the shares of all nodes add up to the partitions and differ by one at most', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string(), { minLength: 1, maxLength: 20 }),
      fc.nat(256),
      (names, partitions) => {
        const nodes = new Set(names);
        const shares = names.map((name) => fairShare(nodes, name, partitions));
        expect(shares.reduce((sum, share) => sum + share, 0)).toBe(partitions);
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(1);
      },
    ),
    { seed: 1 },
  );
  expect(fairShare(new Set(['a']), 'b', 8)).toBe(0);
});
