import { errors, jwtVerify, SignJWT } from 'jose';
import { AppError } from '../errors.js';
import { derivedKey } from './derived-key.js';

/** Who has proved the password and is to prove the second factor. */
export interface Challenged {
  readonly userId: string;
  /** The account's when the password was proved: a challenge ends with its password. */
  readonly passwordVersion: number;
}

export interface Challenges {
  issue(challenged: Challenged): Promise<string>;
  /** @throws AppError `invalid_credentials`: not ours, or too old */
  read(challenge: string): Promise<Challenged>;
}

/** How long somebody may look for their phone. */
export const CHALLENGE_SECONDS = 300;

/** Tokens between password and second factor. Their key is their own, so that none of them is ever taken for another token. */
export function createChallenges(secret: string): Challenges {
  const key = derivedKey(secret, 'sign-in challenge');
  return {
    issue: ({ userId, passwordVersion }) =>
      new SignJWT({ user_id: userId, password_version: passwordVersion })
        .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
        .setIssuedAt()
        .setExpirationTime(Math.floor(Date.now() / 1000) + CHALLENGE_SECONDS)
        .sign(key),
    async read(challenge) {
      try {
        const { payload } = await jwtVerify(challenge, key, {
          algorithms: ['HS256'],
          requiredClaims: ['exp'],
        });
        const { user_id: userId, password_version: passwordVersion } = payload;
        if (typeof userId === 'string' && typeof passwordVersion === 'number') {
          return { userId, passwordVersion };
        }
      } catch (error) {
        if (!(error instanceof errors.JOSEError)) throw error;
      }
      throw staleChallenge();
    },
  };
}

/** Not 401, which the dashboard takes as an expired session. */
export const staleChallenge = (): AppError =>
  new AppError('invalid_credentials', 'The sign-in took too long. Please sign in again.');
