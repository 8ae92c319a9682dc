/** The account behind a call, for handlers of routes that the gate opens to accounts only. */
import type { AccountPrincipal, Principal } from '../auth/principal.js';
import { AppError } from '../errors.js';

/** @throws AppError `unauthorized` for an anonymous caller */
export function accountOf(principal: Principal): AccountPrincipal {
  if (principal.kind === 'account') return principal;
  throw new AppError('unauthorized', 'Authorization header required');
}

/** @throws AppError `unauthorized` for an anonymous caller */
export const userIdOf = (principal: Principal): string => accountOf(principal).userId;
