import { createHash, createSecretKey, randomUUID } from 'node:crypto';
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { AppError } from '../errors.js';
import type { User } from '../storage/metadata/metadata.js';

export interface TokensOptions {
  /** HMAC key; at least 32 characters. */
  readonly secret: string;
  /**
   * Default 24 h, as the original. It may be that long because an access token counts only while its session does (authenticator.ts);
   * a short one would only make the tabs of a dashboard, which share one single-use refresh token, race for it more often.
   */
  readonly accessSeconds?: number;
  /** Default 7 days, as the original; each refresh begins them anew. */
  readonly refreshSeconds?: number;
}

export interface TokenPair {
  readonly accessToken: string;
  readonly refreshToken: string;
}

export interface IssuedRefreshToken {
  readonly token: string;
  /** What is stored of it. */
  readonly hash: Uint8Array;
  readonly expiresAt: Date;
}

/** What a verified token says: whose it is and of which session. */
export interface TokenClaims {
  readonly userId: string;
  readonly sessionId: string;
}

type TokenType = 'access' | 'refresh';

export interface Tokens {
  issueAccess(user: Pick<User, 'id' | 'email' | 'role'>, sessionId: string): Promise<string>;
  issueRefresh(userId: string, sessionId: string): Promise<IssuedRefreshToken>;
  /** @throws AppError `invalid_token` unless it is a valid, unexpired token of this type */
  read(type: TokenType, token: string): Promise<TokenClaims>;
  /** The session of a token of this type that may have expired; null when it was not made here. */
  sessionOf(type: TokenType, token: string): Promise<string | null>;
}

/** SHA-256 of a refresh token: the store holds nothing that could be used to sign in. */
export const hashOf = (token: string): Uint8Array => createHash('sha256').update(token).digest();

/** Creates and reads the signed tokens (JWT, HS256). */
export function createTokens(options: TokensOptions): Tokens {
  if (options.secret.length < 32) throw new Error('the token secret needs at least 32 characters');
  const key = createSecretKey(Buffer.from(options.secret, 'utf8'));
  const { accessSeconds = 24 * 3600, refreshSeconds = 7 * 24 * 3600 } = options;

  const sign = async (claims: JWTPayload, type: TokenType, sessionId: string, seconds: number) => {
    const issuedAt = Math.floor(Date.now() / 1000);
    const expiresAt = issuedAt + seconds;
    const token = await new SignJWT({ ...claims, token_type: type, sid: sessionId })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setJti(randomUUID())
      .setIssuedAt(issuedAt)
      .setExpirationTime(expiresAt)
      .sign(key);
    return { token, expiresAt: new Date(expiresAt * 1000) };
  };

  const verify = async (type: TokenType, token: string, at: Date | undefined): Promise<TokenClaims> => {
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: ['HS256'],
        requiredClaims: ['exp', 'iat'],
        ...(at ? { currentDate: at } : {}),
      });
      const { user_id, sid, token_type } = payload;
      if (token_type === type && typeof user_id === 'string' && typeof sid === 'string') {
        return { userId: user_id, sessionId: sid };
      }
    } catch (error) {
      if (!(error instanceof errors.JOSEError)) throw error;
    }
    throw invalidToken(type);
  };

  return {
    async issueAccess({ id, email, role }, sessionId) {
      return (await sign({ user_id: id, email, role }, 'access', sessionId, accessSeconds)).token;
    },
    async issueRefresh(userId, sessionId) {
      const issued = await sign({ user_id: userId }, 'refresh', sessionId, refreshSeconds);
      return { ...issued, hash: hashOf(issued.token) };
    },
    read: (type, token) => verify(type, token, undefined),
    async sessionOf(type, token) {
      try {
        return (await verify(type, token, new Date(0))).sessionId;
      } catch (error) {
        if (error instanceof AppError) return null;
        throw error;
      }
    },
  };
}

/** The texts of the original. */
export const invalidToken = (type: TokenType): AppError =>
  new AppError(
    'invalid_token',
    type === 'access' ? 'Invalid or expired token' : 'invalid or expired refresh token',
  );
