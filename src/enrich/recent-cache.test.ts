import { expect, it } from 'vitest';
import { RecentCache } from './recent-cache.js';

it('remembers what is asked for, forgets what is not, and holds no more than it may', () => {
  const cache = new RecentCache<{ of: string }>(10);
  const used = { of: 'used' };
  cache.set('used', used);
  cache.set('unused', { of: 'unused' });
  for (let i = 0; i < 100; i++) {
    cache.set(`${i}`, { of: `${i}` });
    expect(cache.get(`${i}`)).toEqual({ of: `${i}` });
    expect(cache.get('used')).toBe(used);
    expect(cache.size).toBeLessThanOrEqual(10);
  }
  expect(cache.get('unused')).toBeUndefined();
  expect(cache.get('90')).toBeUndefined();
  cache.clear();
  expect(cache.get('used')).toBeUndefined();
});
