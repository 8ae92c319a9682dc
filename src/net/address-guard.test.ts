import { describe, expect, it } from 'vitest';
import { flawOfTarget, isPublicAddress } from './address-guard.js';

describe('isPublicAddress', () => {
  it.each([
    '8.8.8.8',
    '1.1.1.1',
    '203.1.113.9',
    '2606:4700:4700::1111',
    '2a00:1450:4001:80b::200e',
    '::ffff:8.8.8.8',
  ])('takes %s', (address) => expect(isPublicAddress(address)).toBe(true));
  it.each([
    ...[
      '127.0.0.1',
      '127.255.255.254',
      '0.0.0.0',
      '0.1.2.3',
      '10.0.0.1',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
    ],
    ...[
      '169.254.169.254',
      '100.64.0.1',
      '100.127.255.255',
      '192.0.0.1',
      '192.0.2.1',
      '198.18.0.1',
      '198.51.100.1',
    ],
    ...[
      '203.0.113.1',
      '224.0.0.1',
      '240.0.0.1',
      '255.255.255.255',
      '::',
      '::1',
      'fc00::1',
      'fd00:ec2::254',
      'fe80::1',
    ],
    ...[
      'fe80::1%eth0',
      'fec0::1',
      'ff02::1',
      '::ffff:127.0.0.1',
      '::ffff:169.254.169.254',
      '64:ff9b::7f00:1',
    ],
    ...['168.63.129.16', '::ffff:168.63.129.16'],
    ...['2002:7f00:1::', '2001::1', '2001:db8::1', '100::1', 'localhost', '', '8.8.8.8 ', 'example.com'],
  ])('refuses %s', (address) => expect(isPublicAddress(address)).toBe(false));
});

describe('flawOfTarget', () => {
  it.each(['https://x.example', 'http://x.example:8080/', 'https://x.example:8443'])('takes %s', (url) =>
    expect(flawOfTarget(new URL(url), false)).toBe(''),
  );
  it.each([
    'ftp://x.example',
    'file:///etc/passwd',
    'http://u:p@x.example',
    'http://x.example:6379',
    'http://x.example:25',
  ])('refuses %s', (url) => expect(flawOfTarget(new URL(url), false)).not.toBe(''));
});
