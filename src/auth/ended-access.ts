import type { AuditLog } from '../audit/audit-log.js';
import type { EndedAccess } from '../storage/metadata/password-change.js';
import type { Authenticator } from './authenticator.js';

export interface EndedAccessOptions {
  readonly authenticator: Pick<Authenticator, 'sessionEnded' | 'keyEnded'>;
  readonly audit: Pick<AuditLog, 'record'>;
}

/**
 * Makes all nodes forget what a new password has ended; that API keys did is noted in the audit log.
 * @param address of the client
 */
export async function forgetAccess(
  { authenticator, audit }: EndedAccessOptions,
  { sessions, keys }: EndedAccess,
  userId: string,
  address: string,
): Promise<void> {
  for (const session of sessions) await authenticator.sessionEnded(session);
  for (const key of keys) await authenticator.keyEnded(key);
  if (keys.length === 0) return;
  audit.record({
    ...{ action: 'revoke API keys', outcome: 'done', userId, address },
    ...{ keyId: null, websiteId: null, targetId: null },
  });
}
