import { AppError } from '../errors.js';
import { createLookup } from '../storage/cache/lookup.js';
import type { UserStore } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';
import { checkedEmail } from './credentials.js';
import type { AccountPrincipal } from './principal.js';
import { isSameSecret } from './same-secret.js';

export interface GatewayOptions {
  /** What the gateway brings with each request. */
  readonly key: string;
  readonly users: Pick<UserStore, 'sync'>;
  readonly telemetry: Telemetry;
  /** How long an account is taken to be there; default 30,000. */
  readonly ttlMs?: number;
}

/**
 * Cloud mode (contract 16): a gateway in front of the program has accounts, sessions and plans of its own and says in headers who calls.
 * @param header value of a request's header by name, '' when absent
 * @throws AppError `unauthorized` (without the gateway's key, or without an account), `invalid_parameter`, `conflict` (another account
 * has the address)
 */
export type Gateway = (header: (name: string) => string) => Promise<AccountPrincipal>;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Headers are believed only beside the key. `X-User-Plan` limits nothing here. */
export function createGateway({ key, users, telemetry, ttlMs = 30_000 }: GatewayOptions): Gateway {
  const accounts = createLookup({
    ...{ name: 'gateway_accounts', maxEntries: 20_000, ttlMs, telemetry },
    // A UUID has a fixed length, so the rest is the address.
    load: (account) => syncAccount(users, { id: account.slice(0, 36), email: account.slice(36), name: '' }),
  });
  return async (header) => {
    if (!isSameSecret(header('x-api-key'), key))
      throw new AppError('unauthorized', 'Unauthorized inter-service request');
    const userId = header('x-user-id').trim().toLowerCase();
    if (!UUID.test(userId)) throw new AppError('unauthorized', 'X-User-ID must be the UUID of an account');
    const email = await accounts.get(userId + header('x-user-email').trim());
    const role = header('x-user-role').trim() === 'admin' ? 'admin' : 'user';
    return { kind: 'account', userId, email, role };
  };
}

export interface SyncedAccount {
  readonly id: string;
  /** '' when not known: then the account must be there. */
  readonly email: string;
  /** '' when not known: that of the account, or made of its address. */
  readonly name: string;
}

/**
 * Makes an account of a gateway known here. Neither another account's id nor its address is ever changed by it.
 * @returns the account's address
 * @throws AppError `conflict`, `invalid_parameter`, `unauthorized` for an unknown account without an address
 */
export async function syncAccount(
  users: Pick<UserStore, 'sync'>,
  { id, email, name }: SyncedAccount,
): Promise<string> {
  const address = email === '' ? '' : checkedEmail(email);
  const user = await users.sync({ id, email: address, name: name.trim().slice(0, 255) });
  if (user === 'taken') throw new AppError('conflict', 'another account has this email');
  if (user === null) throw new AppError('unauthorized', 'X-User-Email is required for an unknown account');
  return user.email;
}
