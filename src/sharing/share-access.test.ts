import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createShareAccess } from './share-access.js';

const SECRET = 'the secret of the share tests, long enough';
const share = { publicId: 'A'.repeat(32), passwordHash: '$argon2id$one' };

describe('access to a public dashboard', () => {
  it('ends after its time', () => {
    let now = 1_000_000;
    const access = createShareAccess({ secret: SECRET, lifeMs: 60_000, clock: () => now });
    const { token, expiresAt } = access.issue(share);
    expect(expiresAt.getTime()).toBe(1_060_000);
    now = 1_059_999;
    expect(access.admits(share, token)).toBe(true);
    now = 1_060_000;
    expect(access.admits(share, token)).toBe(false);
  });

  it('holds for this link, this password and this secret only', () => {
    const access = createShareAccess({ secret: SECRET });
    const { token } = access.issue(share);
    expect(access.admits({ ...share, publicId: 'B'.repeat(32) }, token)).toBe(false);
    expect(access.admits({ ...share, passwordHash: '$argon2id$two' }, token)).toBe(false);
    expect(access.admits({ ...share, passwordHash: null }, token)).toBe(false);
    expect(createShareAccess({ secret: `${SECRET}!` }).admits(share, token)).toBe(false);
  });

  it('is gained by no text that was not issued', () => {
    const access = createShareAccess({ secret: SECRET });
    const { token } = access.issue(share);
    const digits = fc.constantFrom(...'0123456789abcdefghijklmnopqrstuvwxyz.-_=AZ');
    fc.assert(
      fc.property(fc.nat(token.length - 1), digits, fc.string(), (at, digit, text) => {
        const changed = token.slice(0, at) + digit + token.slice(at + 1);
        // The last digit of the signature carries bits that mean nothing.
        const isSame = changed === token || at === token.length - 1;
        expect(isSame || !access.admits(share, changed)).toBe(true);
        expect(access.admits(share, text)).toBe(false);
        expect(access.admits(share, `${token}${text === '' ? '.' : text}${'x'.repeat(100)}`)).toBe(false);
      }),
      { seed: 5, numRuns: 500 },
    );
  });
});
