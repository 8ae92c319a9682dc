import { createHash } from 'node:crypto';
import { AppError } from '../errors.js';
import type { Cache } from '../storage/cache/cache.js';
import { createLookup } from '../storage/cache/lookup.js';
import type { ApiKeyStore } from '../storage/metadata/api-keys.js';
import type { Telemetry } from '../telemetry.js';
import type { KeyUsage } from './key-usage.js';
import type { AccountPrincipal, SiteAction } from './principal.js';

/** How every API key begins, so that people and secret scanners know one when they see it. */
export const KEY_PREFIX = 'sk_seentics_';
/** The prefix and 256 random bits. */
const KEY = /^sk_seentics_[A-Za-z0-9_-]{43}$/;

export const SCOPES = ['read', 'write', 'manage'] as const satisfies readonly SiteAction[];

export const looksLikeApiKey = (token: string): boolean => token.startsWith('sk_');

/** SHA-256 of a key: 256 random bits need no slower hash. */
export const hashOfKey = (secret: string): Uint8Array => createHash('sha256').update(secret).digest();

export interface ApiKeyVerifierOptions {
  readonly keys: Pick<ApiKeyStore, 'find'>;
  readonly usage: Pick<KeyUsage, 'used'>;
  readonly cache: Cache;
  readonly telemetry: Telemetry;
  /** How long a deleted key may live on at a node that missed the notice; default 10,000. */
  readonly ttlMs?: number;
}

export interface ApiKeyVerifier {
  /** @throws AppError `invalid_token`: not ours, expired, deleted or its account gone */
  verify(secret: string): Promise<AccountPrincipal>;
  /** Makes all nodes forget a key; to be called after it was deleted. Never rejects. */
  ended(secretHash: Uint8Array): Promise<void>;
}

const CHANNEL = 'auth:keys';

/** Knows the accounts behind API keys, as the authenticator knows those behind sessions. */
export async function createApiKeyVerifier(options: ApiKeyVerifierOptions): Promise<ApiKeyVerifier> {
  const { keys, usage, cache, telemetry } = options;
  const known = createLookup({
    name: 'api_keys',
    maxEntries: 20_000,
    ttlMs: options.ttlMs ?? 10_000,
    load: (hash) => keys.find(Buffer.from(hash, 'base64url')),
    telemetry,
  });
  await cache.subscribe(CHANNEL, known.drop);
  return {
    async verify(secret) {
      if (!KEY.test(secret)) throw invalidKey();
      const key = await known.get(nameOf(hashOfKey(secret)));
      const now = new Date();
      if (key === null || (key.expiresAt !== null && key.expiresAt <= now)) throw invalidKey();
      usage.used(key.id, now);
      const { id, websiteIds, userId, email, role } = key;
      const scopes = SCOPES.filter((scope) => key.scopes.includes(scope));
      return { kind: 'account', userId, email, role, key: { id, scopes, websiteIds } };
    },

    async ended(secretHash) {
      const name = nameOf(secretHash);
      known.drop(name);
      await cache.publish(CHANNEL, name).catch((err: unknown) => {
        telemetry.log.warn(
          { err },
          'other nodes were not told that an API key ended; they will know within 10 s',
        );
      });
    },
  };
}

const nameOf = (hash: Uint8Array): string => Buffer.from(hash).toString('base64url');

const invalidKey = () => new AppError('invalid_token', 'Invalid, expired or deleted API key');
