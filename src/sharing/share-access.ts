import { createHmac, timingSafeEqual } from 'node:crypto';
import type { ShareRecord } from '../storage/metadata/shares.js';

type Locked = Pick<ShareRecord, 'publicId' | 'passwordHash'>;

/** Proofs that somebody knew the password of a public dashboard. */
export interface ShareAccess {
  issue(share: Locked): { readonly token: string; readonly expiresAt: Date };
  /** Whether the proof was made for this link with its present password and still holds. */
  admits(share: Locked, token: string): boolean;
}

export interface ShareAccessOptions {
  /** That of the sign-in tokens; these proofs are signed with a key of their own, made of it. */
  readonly secret: string;
  /** Default one hour. */
  readonly lifeMs?: number;
  readonly clock?: () => number;
}

const MAX_TOKEN_LENGTH = 100;

export function createShareAccess({
  secret,
  lifeMs = 3_600_000,
  clock = Date.now,
}: ShareAccessOptions): ShareAccess {
  const key = createHmac('sha256', secret).update('seentics: access to public dashboards').digest();
  // The hash has a salt of its own for each password that is set, so it stands for the version of the password.
  const sign = ({ publicId, passwordHash }: Locked, expires: string) =>
    createHmac('sha256', key)
      .update(JSON.stringify([publicId, passwordHash, expires]))
      .digest();
  return {
    issue(share) {
      const expiresAt = new Date(clock() + lifeMs);
      const expires = expiresAt.getTime().toString(36);
      return { token: `${expires}.${sign(share, expires).toString('base64url')}`, expiresAt };
    },
    admits(share, token) {
      if (token.length > MAX_TOKEN_LENGTH) return false;
      const [expires = '', signature = ''] = token.split('.');
      const given = Buffer.from(signature, 'base64url');
      const wanted = sign(share, expires);
      return (
        given.length === wanted.length &&
        timingSafeEqual(given, wanted) &&
        Number.parseInt(expires, 36) > clock()
      );
    },
  };
}
