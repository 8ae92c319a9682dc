import { describe, expect, it } from 'vitest';
import { parseReferrer } from './referrer.js';

const site = { host: 'example.com', allowedHosts: ['shop.example'] };

describe('parseReferrer', () => {
  it.each([
    ['https://www.google.com/', 'google.com', 'https://www.google.com/'],
    ['https://t.co/abc#x', 'x.com', 'https://t.co/abc'],
    ['https://l.facebook.com/l.php?u=1', 'facebook.com', 'https://l.facebook.com/l.php?u=1'],
    ['http://lnkd.in/xyz', 'linkedin.com', 'http://lnkd.in/xyz'],
    ['https://out.reddit.com/t3_1', 'reddit.com', 'https://out.reddit.com/t3_1'],
    ['https://m.youtube.com/watch?v=1', 'youtube.com', 'https://m.youtube.com/watch?v=1'],
    [
      'android-app://com.google.android.googlequicksearchbox/',
      'google.com',
      'android-app://com.google.android.googlequicksearchbox/',
    ],
    ['https://News.Example.org:8080/a', 'news.example.org', 'https://News.Example.org:8080/a'],
    ['https://user:secret@other.example/', 'other.example', 'https://other.example/'],
    ['blog.other.example', 'blog.other.example', 'blog.other.example'],
    ['https://notexample.com/', 'notexample.com', 'https://notexample.com/'],
  ])('%s comes from %s', (text, host, url) => {
    expect(parseReferrer(text, site, 'www.example.com')).toEqual({ host, url });
  });

  it.each([
    '',
    '   ',
    'direct',
    '(none)',
    'null',
    'about:blank',
    'https://example.com/a',
    'https://www.example.com/',
    'https://blog.example.com/',
    'https://shop.example/x',
    'https://',
    'javascript:alert(1)',
  ])('%j is direct', (text) => {
    expect(parseReferrer(text, site, '')).toEqual({ host: '', url: '' });
  });

  it('takes the host of the page itself for no referrer', () => {
    expect(parseReferrer('http://localhost:3000/a', site, 'localhost').host).toBe('');
  });
});
