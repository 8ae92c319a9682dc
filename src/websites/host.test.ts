import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalizeHost } from './host.js';

describe('normalizeHost', () => {
  it.each([
    ['example.com', 'example.com'],
    ['  https://www.Example.COM:8443/path?q#f ', 'example.com'],
    ['HTTP://shop.example.com', 'shop.example.com'],
    ['example.com:3000', 'example.com'],
    ['example.com/a://b', 'example.com'],
    ['user:pass@example.com', 'example.com'],
    ['münchen.example', 'xn--mnchen-3ya.example'],
    ['example.com.', 'example.com'],
    ['localhost', 'localhost'],
    ['http://[::1]:3000', '[::1]'],
    ['www.com', 'com'],
    ['my_host.example', 'my_host.example'],
  ])('%s → %s', (address, host) => expect(normalizeHost(address)).toBe(host));

  it.each([
    '',
    '   ',
    'https://',
    'ftp://example.com',
    'javascript://example.com',
    'not a host',
    'a..b',
    '.example',
    '*',
    '*.example.com',
    'a\u0000b.example',
    `${'a'.repeat(300)}.example`,
  ])('refuses %j', (address) => expect(normalizeHost(address)).toBeNull());

  it('never throws and is stable', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.webUrl()), (address) => {
        const host = normalizeHost(address);
        if (host !== null) expect(normalizeHost(host)).toBe(host.startsWith('www.') ? host.slice(4) : host);
      }),
      { seed: 7, numRuns: 500 },
    );
  });
});
