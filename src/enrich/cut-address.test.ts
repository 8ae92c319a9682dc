import { describe, expect, it } from 'vitest';
import { cutAddress } from './cut-address.js';

describe('a cut address', () => {
  it.each([
    ['203.0.113.77', '203.0.113.0'],
    ['255.255.255.255', '255.255.255.0'],
    ['::ffff:203.0.113.77', '203.0.113.0'],
    ['2001:db8:abcd:12ff:1:2:3:4', '2001:db8:abcd::'],
    ['2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', '2001:db8:ffff::'],
    ['fe80::1%eth0', 'fe80::'],
    ['::1', '::'],
  ])('of %s is %s', (address, cut) => {
    expect(cutAddress(address)).toBe(cut);
  });

  it.each(['', 'unknown', '1.2.3.4.5', '203.0.113.77, 10.0.0.1', 'g::1'])('of %j is none', (text) => {
    expect(cutAddress(text)).toBe('');
  });

  it('cut again is the same', () => {
    for (const address of ['203.0.113.77', '2001:db8:abcd:12ff::9'])
      expect(cutAddress(cutAddress(address))).toBe(cutAddress(address));
  });
});
