import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { AppError } from '../errors.js';
import type { Cache } from '../storage/cache/cache.js';
import { createLookup, observe } from '../storage/cache/lookup.js';
import type { ApiKeyStore } from '../storage/metadata/api-keys.js';
import type { Telemetry } from '../telemetry.js';
import { createFailedKeys } from './failed-keys.js';
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
  /** Unknown keys that one client may send in a minute; default 30. */
  readonly maxUnknown?: number | undefined;
}

export interface ApiKeyVerifier {
  /**
   * @param client group of addresses that sends it
   * @throws AppError `invalid_token`: not ours, expired, deleted or its account gone; `rate_limited`: too many unknown ones of this client;
   * `overloaded`
   */
  verify(secret: string, client: string): Promise<AccountPrincipal>;
  /** Makes all nodes forget a key; to be called after it was deleted. Never rejects. */
  ended(secretHash: Uint8Array): Promise<void>;
}

const CHANNEL = 'auth:keys';
/** Unknown keys have a room of their own: a flood of them pushes no known one out. */
const MAX_UNKNOWN = 10_000;

/** Knows the accounts behind API keys, as the authenticator knows those behind sessions. */
export async function createApiKeyVerifier(options: ApiKeyVerifierOptions): Promise<ApiKeyVerifier> {
  const { keys, usage, cache, telemetry } = options;
  const failed = createFailedKeys({ registry: telemetry.registry, max: options.maxUnknown });
  // A key that nobody has will not come to be somebody's: this need not hear of changes.
  const unknown = new LRUCache<string, true>({ max: MAX_UNKNOWN, ttl: options.ttlMs ?? 10_000 });
  observe(telemetry.registry, 'unknown_api_keys', () => unknown.size);
  const known = createLookup({
    name: 'api_keys',
    maxEntries: 20_000,
    ttlMs: options.ttlMs ?? 10_000,
    load: (hash) => keys.find(Buffer.from(hash, 'base64url')),
    isKept: (key) => key !== null,
    telemetry,
  });
  await cache.subscribe(CHANNEL, known.drop);

  const find = async (name: string, client: string) => {
    const cached = known.peek(name);
    if (cached !== undefined) return cached;
    if (unknown.has(name)) return null;
    const takeBack = failed.count(client);
    const key = await known.get(name).catch((error: unknown) => {
      takeBack();
      throw error;
    });
    if (key === null) unknown.set(name, true);
    else takeBack();
    return key;
  };

  return {
    async verify(secret, client) {
      if (!KEY.test(secret)) throw invalidKey();
      const key = await find(nameOf(hashOfKey(secret)), client);
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
