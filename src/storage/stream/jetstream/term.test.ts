import { expect, it } from 'vitest';
import { Term } from './term.js';

it('a term is over when either clock says so', () => {
  const term = new Term({ monotonic: 1_000, wall: 50_000 }, 100);
  const left = (monotonic: number, wall: number) =>
    term.left({ monotonic: 1_000 + monotonic, wall: 50_000 + wall });
  expect(left(30, 30)).toBe(70);
  // Suspended: the monotonic clock stood still.
  expect(left(10, 600_000)).toBeLessThan(0);
  // The wall clock was set back.
  expect(left(120, -3_600_000)).toBeLessThan(0);
});
