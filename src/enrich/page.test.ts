import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalisePage } from './page.js';
import { hostOf, splitUrl } from './url.js';

describe('normalisePage', () => {
  it.each([
    ['', ''],
    ['/', '/'],
    ['/pricing', '/pricing'],
    ['/Pricing/', '/Pricing'],
    ['/a/b//', '/a/b'],
    ['//', '/'],
    ['/a?x=1#y', '/a'],
    ['/a/?x=/b/', '/a'],
    ['#top', '/'],
    ['?x=1', '/'],
    ['pricing', '/pricing'],
    ['https://www.example.com', '/'],
    ['https://www.example.com?x=1', '/'],
    ['https://www.example.com/Docs/A/?q=1#z', '/Docs/A'],
    ['https://example.com:8080/x', '/x'],
    ['/go/https://other.example/x', '/go/https://other.example/x'],
  ])('%j → %j', (page, expected) => {
    expect(normalisePage(page)).toBe(expected);
  });

  it('cuts at 2,048 characters', () => {
    expect(normalisePage(`/${'a'.repeat(5000)}`)).toHaveLength(2048);
  });

  it('is the same a second time, whatever comes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
        const once = normalisePage(text);
        expect(normalisePage(once)).toBe(once);
        expect(once === '' || once.startsWith('/')).toBe(true);
      }),
      { seed: 11, numRuns: 2000 },
    );
  });

  it('finds the host that the URL parser of the platform finds', () => {
    fc.assert(
      fc.property(
        fc.webUrl({ withFragments: true, withQueryParameters: true, validSchemes: ['http', 'https'] }),
        (text) => {
          const url = new URL(text);
          expect(splitUrl(text).host).toBe(url.hostname);
        },
      ),
      { seed: 13, numRuns: 500 },
    );
  });
});

describe('hostOf', () => {
  it.each([
    ['https://WWW.Example.com:8443', 'www.example.com'],
    ['https://user:pw@example.com/x', 'example.com'],
    ['http://[::1]:3000', '[::1]'],
    ['example.com:80', 'example.com'],
    ['example.com/path', 'example.com'],
    ['null', ''],
    ['', ''],
    ['https://bücher.example/', 'xn--bcher-kva.example'],
    ['https://exa mple.com/', ''],
  ])('%j → %j', (text, host) => {
    expect(hostOf(text)).toBe(host);
  });
});
