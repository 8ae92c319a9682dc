import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addressGroup, addressText, ClientAddress, parseAddress, type TrustedProxies } from './address.js';
import { startApp, type TestApp, Wire } from './testing.js';

const resolve = (options: TrustedProxies, peer: string, forwarded = '', named = '') =>
  new ClientAddress(options).resolve(peer, forwarded, named);

describe('the trusted-proxy rule', () => {
  it('believes no header without trusted proxies', () => {
    expect(resolve({ trust: [] }, '10.0.0.1', '1.2.3.4', '1.2.3.4')).toBe('10.0.0.1');
    expect(resolve({ trust: [], header: 'cf-connecting-ip' }, '10.0.0.1', '', '1.2.3.4')).toBe('10.0.0.1');
    expect(resolve({ trust: ['0'] }, '10.0.0.1', '1.2.3.4')).toBe('10.0.0.1');
  });

  it('believes no header of a peer that is no trusted proxy', () => {
    expect(resolve({ trust: ['10.0.0.0/8'] }, '192.0.2.1', '1.2.3.4')).toBe('192.0.2.1');
    expect(resolve({ trust: ['loopback'] }, '10.0.0.1', '1.2.3.4')).toBe('10.0.0.1');
  });

  it('walks from the right past the trusted ones', () => {
    const trust = ['10.0.0.0/8', '2001:db8::/32'];
    expect(resolve({ trust }, '10.0.0.1', '6.6.6.6, 1.2.3.4, 10.9.9.9')).toBe('1.2.3.4');
    expect(resolve({ trust }, '10.0.0.1', '1.2.3.4,2001:db8::5')).toBe('1.2.3.4');
    expect(resolve({ trust }, '10.0.0.1', '10.0.0.3, 10.0.0.2')).toBe('10.0.0.3');
    expect(resolve({ trust }, '10.0.0.1', '')).toBe('10.0.0.1');
  });

  it('stops at what is no address', () => {
    expect(resolve({ trust: ['private'] }, '10.0.0.1', '1.2.3.4, unknown, 10.0.0.2')).toBe('10.0.0.2');
    expect(resolve({ trust: ['private'] }, '10.0.0.1', 'unknown')).toBe('10.0.0.1');
  });

  it('counts hops when told a number', () => {
    expect(resolve({ trust: ['1'] }, '192.0.2.1', '6.6.6.6, 1.2.3.4')).toBe('1.2.3.4');
    expect(resolve({ trust: ['2'] }, '192.0.2.1', '6.6.6.6, 1.2.3.4, 5.5.5.5')).toBe('1.2.3.4');
    expect(resolve({ trust: ['3'] }, '192.0.2.1', '1.2.3.4')).toBe('1.2.3.4');
  });

  it('takes the configured header first, and only an address', () => {
    const options = { trust: ['private'], header: 'CF-Connecting-IP' };
    expect(resolve(options, '10.0.0.1', '5.5.5.5', '1.2.3.4')).toBe('1.2.3.4');
    expect(resolve(options, '10.0.0.1', '5.5.5.5', 'nonsense')).toBe('5.5.5.5');
  });

  it('understands ports, brackets, zones and mapped addresses', () => {
    for (const [text, address] of [
      ['1.2.3.4:5678', '1.2.3.4'],
      ['[2001:db8::1]:443', '2001:db8::1'],
      ['::ffff:1.2.3.4', '1.2.3.4'],
      ['fe80::1%eth0', 'fe80::1'],
      [' 1.2.3.4 ', '1.2.3.4'],
    ]) {
      expect(parseAddress(text ?? '')?.toString()).toBe(address);
    }
    for (const text of [
      '',
      '1.2.3',
      '0x7f.1',
      '1.2.3.4.5',
      '256.1.1.1',
      '[',
      'a',
      '1.2.3.4, 5.6.7.8',
      '017700000001',
    ]) {
      expect(parseAddress(text)).toBeNull();
    }
  });

  it('reads plain IPv4 as the library does, and nothing else that looks like it (property)', () => {
    const octet = fc.oneof(fc.nat(300).map(String), fc.constantFrom('', '00', '01', '007', '1a', '-1'));
    fc.assert(
      fc.property(fc.array(octet, { minLength: 3, maxLength: 5 }), (octets) => {
        const text = octets.join('.');
        const known = ipaddr.IPv4.isValidFourPartDecimal(text) ? ipaddr.IPv4.parse(text).toString() : null;
        expect(parseAddress(text)?.toString() ?? null).toBe(known);
      }),
      { seed: 3, numRuns: 3_000 },
    );
  });

  it('refuses a setting that it does not understand', () => {
    expect(() => new ClientAddress({ trust: ['cloudflare'] })).toThrow(/cloudflare/);
    expect(() => new ClientAddress({ trust: ['10.0.0.0/99'] })).toThrow();
  });

  it('never takes over what a client forged in front of the proxy (property)', () => {
    const rule = new ClientAddress({ trust: ['10.0.0.0/8'] });
    const forged = fc.array(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6()), { maxLength: 8 });
    fc.assert(
      fc.property(forged, (entries) => {
        const forwarded = [...entries, '203.0.113.9', '10.1.1.1'].join(',');
        expect(rule.resolve('10.0.0.1', forwarded, '')).toBe('203.0.113.9');
      }),
      { seed: 20, numRuns: 500 },
    );
  });

  it('always gives an address, whatever comes (property)', () => {
    const rules = [['private'], ['2'], ['0.0.0.0/0', '::/0']].map((trust) => new ClientAddress({ trust }));
    fc.assert(
      fc.property(fc.string(), fc.string(), (forwarded, named) => {
        for (const rule of rules) {
          expect(parseAddress(rule.resolve('10.0.0.1', forwarded, named))).not.toBeNull();
        }
      }),
      { seed: 21, numRuns: 500 },
    );
  });
});

describe('addresses', () => {
  it('write IPv4, mapped IPv4 and IPv6 (property)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), (bytes) => {
        const text = [...bytes].join('.');
        expect(addressText(bytes)).toBe(text);
        expect(addressText(new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...bytes]))).toBe(text);
      }),
      { seed: 22 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        const parsed = parseAddress(addressText(bytes));
        expect(parsed).not.toBeNull();
      }),
      { seed: 23 },
    );
    expect(addressText(new Uint8Array(0))).toBe('');
  });

  it('are grouped by /64 when IPv6', () => {
    expect(addressGroup('1.2.3.4')).toBe('1.2.3.4');
    expect(addressGroup('2001:db8:1:2:3:4:5:6')).toBe(addressGroup('2001:db8:1:2::9'));
    expect(addressGroup('2001:db8:1:2::9')).not.toBe(addressGroup('2001:db8:1:3::9'));
  });
});

describe('over HTTP', () => {
  let plain: TestApp;
  let proxied: TestApp;
  beforeAll(async () => {
    plain = await startApp();
    proxied = await startApp({ trustedProxies: { trust: ['loopback'], header: 'cf-connecting-ip' } });
  });
  afterAll(() => Promise.all([plain.app.close(), proxied.app.close()]));

  const addressOf = async (app: TestApp, headers: Record<string, string>) => {
    const answers = await Promise.all([
      fetch(`${app.url}/open`, { headers }),
      fetch(`${app.url}/event`, { method: 'POST', body: '{}', headers }),
    ]);
    const [json, raw]: unknown[] = await Promise.all(answers.map((answer) => answer.json()));
    const address = Reflect.get(Object(json), 'address');
    expect(Reflect.get(Object(raw), 'address')).toBe(address);
    return address;
  };

  it('ignores every header by default', async () => {
    const forged = { 'x-forwarded-for': '1.1.1.1', 'cf-connecting-ip': '1.1.1.1', 'x-real-ip': '1.1.1.1' };
    expect(await addressOf(plain, { ...forged, 'x-test-ip': '1.1.1.1' })).toBe('127.0.0.1');
  });

  it('follows the rule behind a proxy, and never X-Test-IP', async () => {
    expect(await addressOf(proxied, { 'x-forwarded-for': '6.6.6.6, 1.2.3.4' })).toBe('1.2.3.4');
    expect(await addressOf(proxied, { 'x-forwarded-for': '1.2.3.4', 'cf-connecting-ip': '5.6.7.8' })).toBe(
      '5.6.7.8',
    );
    expect(await addressOf(proxied, { 'x-test-ip': '1.2.3.4' })).toBe('127.0.0.1');
  });

  it('sees all X-Forwarded-For lines, so that a forged first one does not win', async () => {
    const wire = new Wire(proxied.port);
    wire.write(
      'GET /open HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n',
    );
    expect(await wire.until('"address"')).toContain('"address":"1.2.3.4"');
    wire.socket.destroy();
  });

  it('takes the last line of the configured header, so that a forged first one does not win', async () => {
    const wire = new Wire(proxied.port);
    wire.write(
      'GET /open HTTP/1.1\r\nHost: x\r\nCF-Connecting-IP: 6.6.6.6\r\nCF-Connecting-IP: 1.2.3.4\r\n\r\n',
    );
    expect(await wire.until('"address"')).toContain('"address":"1.2.3.4"');
    wire.socket.destroy();
  });

  it('passes over an empty X-Forwarded-For line, which hides none behind it', async () => {
    const wire = new Wire(proxied.port);
    wire.write('GET /open HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: \r\nX-Forwarded-For: 1.2.3.4\r\n\r\n');
    expect(await wire.until('"address"')).toContain('"address":"1.2.3.4"');
    wire.socket.destroy();
  });
});
