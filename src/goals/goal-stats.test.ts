import { describe, expect, it } from 'vitest';
import { goalMatch } from './goal-stats.js';

describe('goals match', () => {
  it.each([
    ['/thanks', { how: 'exact', path: '/thanks' }],
    ['/thanks/?a=b#c', { how: 'exact', path: '/thanks' }],
    ['thanks', { how: 'exact', path: '/thanks' }],
    ['https://shop.example/thanks/', { how: 'exact', path: '/thanks' }],
    ['https://shop.example', { how: 'exact', path: '/' }],
    ['/blog/*', { how: 'wildcard', path: '/blog/*' }],
    ['https://shop.example/blog/*?x', { how: 'wildcard', path: '/blog/*' }],
    ['blog/*', { how: 'wildcard', path: '/blog/*' }],
    ['*/thanks', { how: 'wildcard', path: '*/thanks' }],
  ])('the page %s', (identifier, expected) => {
    expect(goalMatch({ type: 'pageview', identifier })).toEqual({ on: 'page', ...expected });
  });

  it('the event as it is', () => {
    expect(goalMatch({ type: 'event', identifier: 'sign*up/' })).toEqual({ on: 'event', type: 'sign*up/' });
  });
});
