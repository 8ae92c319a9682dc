import { randomBytes, randomUUID } from 'node:crypto';
import { AppError } from '../errors.js';
import type { ApiKeyRecord, ApiKeyStore } from '../storage/metadata/api-keys.js';
import type { Logger } from '../telemetry.js';
import type { SiteDirectory } from '../websites/site.js';
import { type ApiKeyVerifier, hashOfKey, KEY_PREFIX } from './api-key-verifier.js';
import type { Gate } from './gate.js';
import type { AccountPrincipal, SiteAction } from './principal.js';

export interface ApiKeyServiceOptions {
  readonly keys: ApiKeyStore;
  readonly verifier: Pick<ApiKeyVerifier, 'ended'>;
  readonly sites: Pick<SiteDirectory, 'resolve'>;
  readonly gate: Gate;
  readonly log: Logger;
}

export interface AskedKey {
  readonly name: string;
  readonly scopes: readonly SiteAction[];
  /** Either form of id; null: every website of the account. */
  readonly websites: readonly string[] | null;
  /** null: never. */
  readonly expiresAt: Date | null;
}

/** The API keys of an account. */
export interface ApiKeyService {
  /** Newest first. */
  list(userId: string): Promise<ApiKeyRecord[]>;
  /**
   * @returns the key and its secret, which nobody can read again
   * @throws AppError `invalid_parameter` (name, expiry), `website_not_found` (also one that the account may not see), `limit_reached`
   */
  create(account: AccountPrincipal, asked: AskedKey): Promise<{ key: ApiKeyRecord; secret: string }>;
  /**
   * The key ends at once on this node and within seconds on all others.
   * @throws AppError `not_found`
   */
  delete(userId: string, id: string): Promise<void>;
}

export const MAX_KEYS = 50;
/** Of a secret, kept for recognition: the prefix and 24 of its 256 bits. */
const SHOWN_CHARACTERS = KEY_PREFIX.length + 4;

export function createApiKeyService(options: ApiKeyServiceOptions): ApiKeyService {
  const { keys, verifier, sites, gate, log } = options;

  const idOf = async (account: AccountPrincipal, ref: string): Promise<string> => {
    const site = await sites.resolve(ref);
    // One that the account may not see is told from none as little as possible.
    if (site === null || !(await gate.authorize(account, site, 'read'))) {
      throw new AppError('website_not_found', `Website not found: ${ref}`);
    }
    return site.id;
  };

  return {
    list: (userId) => keys.list(userId),

    async create(account, { name, scopes, websites, expiresAt }) {
      const trimmed = name.trim();
      if (trimmed === '') throw new AppError('invalid_parameter', 'name must not be empty');
      if (expiresAt !== null && !(expiresAt.getTime() > Date.now())) {
        throw new AppError('invalid_parameter', 'expires_at must be a time to come');
      }
      const ids = websites === null ? null : await Promise.all(websites.map((ref) => idOf(account, ref)));
      const secret = KEY_PREFIX + randomBytes(32).toString('base64url');
      const { userId } = account;
      const key = await keys.create(
        {
          id: randomUUID(),
          userId,
          name: trimmed,
          prefix: secret.slice(0, SHOWN_CHARACTERS),
          secretHash: hashOfKey(secret),
          scopes: [...new Set(scopes)],
          websiteIds: ids === null ? null : [...new Set(ids)],
          expiresAt,
        },
        MAX_KEYS,
      );
      if (key === null) throw new AppError('limit_reached', `an account has at most ${MAX_KEYS} API keys`);
      log.info({ userId, keyId: key.id }, 'API key made');
      return { key, secret };
    },

    async delete(userId, id) {
      const hash = await keys.delete(userId, id);
      if (hash === null) throw new AppError('not_found', 'API key not found');
      await verifier.ended(hash);
      log.info({ userId, keyId: id }, 'API key deleted');
    },
  };
}
