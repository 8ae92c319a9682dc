import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSealing } from './sealing.js';
import { base32, codeOf, keyUri, matchingStep, stepAt } from './totp.js';

const SECRET = Buffer.from('12345678901234567890');

describe('one-time codes', () => {
  // RFC 6238, appendix B: of its eight digits the last six.
  it.each([
    [59, '287082'],
    [1_111_111_109, '081804'],
    [1_111_111_111, '050471'],
    [1_234_567_890, '005924'],
    [2_000_000_000, '279037'],
    [20_000_000_000, '353130'],
  ])('at %i s are those of the standard', (seconds, code) => {
    expect(codeOf(SECRET, stepAt(seconds * 1000))).toBe(code);
  });

  it('count one step before and after, and once', () => {
    const now = 1_700_000_000_000;
    const step = stepAt(now);
    for (const [distance, found] of [
      [-2, null],
      [-1, step - 1],
      [0, step],
      [1, step + 1],
      [2, null],
    ] as const) {
      expect(matchingStep(SECRET, codeOf(SECRET, step + distance), now, 0)).toBe(found);
    }
    expect(matchingStep(SECRET, codeOf(SECRET, step), now, step)).toBeNull();
    expect(matchingStep(SECRET, codeOf(SECRET, step + 1), now, step)).toBe(step + 1);
    for (const code of ['', '12345', '1234567', '12345x', ' 12345']) {
      expect(matchingStep(SECRET, code, now, 0)).toBeNull();
    }
  });

  // RFC 4648, section 10.
  it.each([
    ['', ''],
    ['f', 'MY'],
    ['fo', 'MZXQ'],
    ['foo', 'MZXW6'],
    ['foob', 'MZXW6YQ'],
    ['fooba', 'MZXW6YTB'],
    ['foobar', 'MZXW6YTBOI'],
  ])('have secrets in base 32: %j', (text, encoded) => {
    expect(base32(Buffer.from(text))).toBe(encoded);
  });

  it('name their account in the address for the app', () => {
    expect(keyUri(SECRET, 'Seentics', 'a&b@shop.example')).toBe(
      'otpauth://totp/Seentics:a%26b%40shop.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Seentics&algorithm=SHA1&digits=6&period=30',
    );
  });
});

describe('sealed secrets', () => {
  const sealing = createSealing('a secret', 'test');
  it('open for their owner, with the secret and the purpose they were sealed with, unchanged', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(), (text, at) => {
        const sealed = sealing.seal(text, 'ann');
        expect(Buffer.from(sealing.open(sealed, 'ann') ?? 'nothing')).toEqual(Buffer.from(text));
        expect(sealing.open(sealed, 'bob')).toBeNull();
        expect(createSealing('another secret', 'test').open(sealed, 'ann')).toBeNull();
        expect(createSealing('a secret', 'another').open(sealed, 'ann')).toBeNull();
        const changed = Uint8Array.from(sealed);
        changed[at % changed.length] = (changed[at % changed.length] ?? 0) ^ 1;
        expect(sealing.open(changed, 'ann')).toBeNull();
        expect(sealing.open(sealed.subarray(0, at % sealed.length), 'ann')).toBeNull();
      }),
      { seed: 7, numRuns: 50 },
    );
  });
});
