import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { createTokens } from './tokens.js';

const secret = 'a secret of at least 32 characters';
const user = { id: 'u', email: 'e@example.com', role: 'user' } as const;
const tokens = createTokens({ secret });

describe('tokens', () => {
  it('carry the claims of the original and their own type', async () => {
    const payload = (token: string) =>
      JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    const access = payload(await tokens.issueAccess(user, 's'));
    const refresh = payload((await tokens.issueRefresh('u', 's')).token);
    expect(access).toMatchObject({
      user_id: 'u',
      email: 'e@example.com',
      role: 'user',
      token_type: 'access',
      sid: 's',
    });
    expect(access.exp - access.iat).toBe(24 * 3600);
    expect(refresh).toMatchObject({ user_id: 'u', token_type: 'refresh', sid: 's' });
    expect(refresh.exp - refresh.iat).toBe(7 * 24 * 3600);
  });

  it('are read as what they are only', async () => {
    const access = await tokens.issueAccess(user, 's');
    const { token: refresh } = await tokens.issueRefresh('u', 's');
    expect(await tokens.read('access', access)).toEqual({ userId: 'u', sessionId: 's' });
    expect(await tokens.read('refresh', refresh)).toEqual({ userId: 'u', sessionId: 's' });
    await expect(tokens.read('refresh', access)).rejects.toMatchObject({ code: 'invalid_token' });
    await expect(tokens.read('access', refresh)).rejects.toMatchObject({ code: 'invalid_token' });
  });

  it('end, but still name their session for a logout', async () => {
    const old = createTokens({ secret, accessSeconds: -1 });
    const token = await old.issueAccess(user, 's');
    await expect(tokens.read('access', token)).rejects.toMatchObject({ code: 'invalid_token' });
    expect(await tokens.sessionOf('access', token)).toBe('s');
    expect(await tokens.sessionOf('access', 'garbage')).toBeNull();
  });

  it('are refused when made with another key, another algorithm or none, or without our claims', async () => {
    const key = Buffer.from(secret);
    const base = { user_id: 'u', token_type: 'access', sid: 's' };
    const signed = (claims: object, alg: string, exp: number | undefined) => {
      const jwt = new SignJWT({ ...claims }).setProtectedHeader({ alg }).setIssuedAt();
      return (exp === undefined ? jwt : jwt.setExpirationTime(exp)).sign(key);
    };
    const soon = Math.floor(Date.now() / 1000) + 60;
    const unsigned = [{ alg: 'none' }, { ...base, exp: soon, iat: 0 }]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    expect(await tokens.read('access', await signed(base, 'HS256', soon))).toBeDefined();
    for (const token of [
      await createTokens({ secret: 'another secret of 32 characters or so' }).issueAccess(user, 's'),
      await signed(base, 'HS512', soon),
      await signed(base, 'HS256', undefined),
      // The tokens of the original: any type, no session.
      await signed({ user_id: 'u', email: 'e', role: 'admin' }, 'HS256', soon),
      await signed({ ...base, sid: 7 }, 'HS256', soon),
      `${unsigned}.`,
      '',
      'a.b.c',
      '\u0000',
    ]) {
      await expect(tokens.read('access', token)).rejects.toMatchObject({ code: 'invalid_token' });
    }
  });

  it('need a secret of 32 characters', () => {
    expect(() => createTokens({ secret: 'short' })).toThrow('32 characters');
  });
});
