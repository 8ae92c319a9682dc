import type { Cache } from '../storage/cache/cache.js';
import { createLookup } from '../storage/cache/lookup.js';
import type { SessionStore } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';
import { type ApiKeyVerifier, looksLikeApiKey } from './api-key-verifier.js';
import { ANONYMOUS, type Principal } from './principal.js';
import { invalidToken, type Tokens } from './tokens.js';

export interface AuthenticatorOptions {
  readonly tokens: Pick<Tokens, 'read'>;
  readonly sessions: Pick<SessionStore, 'findAccount'>;
  readonly keys: Pick<ApiKeyVerifier, 'verify' | 'ended'>;
  readonly cache: Cache;
  readonly telemetry: Telemetry;
  /** How long an ended session may live on at a node that missed the notice; default 30,000. */
  readonly ttlMs?: number;
}

export interface Authenticator {
  /**
   * The caller that an `Authorization` header names by an access token or an API key; `Bearer ` may be missing, as in the original. Role
   * and address are the account's present ones. An empty header is the anonymous caller.
   * @param client group of addresses that calls, which unknown API keys are counted by
   * @throws AppError `invalid_token`: not ours, expired, a refresh token, its session or key revoked, or its account gone; `rate_limited`;
   * `overloaded`
   */
  authenticate(header: string, client: string): Promise<Principal>;
  /** Makes all nodes forget a session; to be called after it was revoked. Never rejects. */
  sessionEnded(sessionId: string): Promise<void>;
  /** The same of an API key, by the hash of its secret. */
  keyEnded(secretHash: Uint8Array): Promise<void>;
}

const CHANNEL = 'auth:sessions';
const MAX_HEADER_LENGTH = 4_096;

/** The token of an `Authorization` header, with or without its scheme. */
export const bearerToken = (header: string): string => header.trim().replace(/^bearer(\s+|$)/i, '');

export async function createAuthenticator(options: AuthenticatorOptions): Promise<Authenticator> {
  const { tokens, sessions, cache, telemetry } = options;
  const accounts = createLookup({
    name: 'sessions',
    maxEntries: 20_000,
    ttlMs: options.ttlMs ?? 30_000,
    load: sessions.findAccount,
    telemetry,
  });
  await cache.subscribe(CHANNEL, accounts.drop);
  return {
    async authenticate(header, client) {
      if (header.trim() === '') return ANONYMOUS;
      const token = bearerToken(header);
      if (token === '' || token.length > MAX_HEADER_LENGTH) throw invalidToken('access');
      if (looksLikeApiKey(token)) return options.keys.verify(token, client);
      const { userId, sessionId } = await tokens.read('access', token);
      const account = await accounts.get(sessionId);
      if (account?.id !== userId) throw invalidToken('access');
      return { kind: 'account', userId, email: account.email, role: account.role };
    },

    keyEnded: (secretHash) => options.keys.ended(secretHash),

    async sessionEnded(sessionId) {
      accounts.drop(sessionId);
      await cache.publish(CHANNEL, sessionId).catch((error: unknown) => {
        telemetry.log.warn(
          { err: error },
          'other nodes were not told that a session ended; they will know within 30 s',
        );
      });
    },
  };
}
