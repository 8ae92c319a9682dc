/** New passwords by mail. */
import type { AuditLog } from '../audit/audit-log.js';
import type { Authenticator } from '../auth/authenticator.js';
import { createPasswordResetService } from '../auth/password-reset-service.js';
import type { Passwords } from '../auth/passwords.js';
import type { Config } from '../config.js';
import type { AnyRoute } from '../edge/route.js';
import { passwordResetRoutes } from '../edge/routes/password-reset.js';
import type { Mailer } from '../mail/mailer.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';
import type { Lifecycle } from './lifecycle.js';

export interface PasswordResetDeps {
  readonly config: Pick<Config, 'FRONTEND_URL' | 'ENVIRONMENT'>;
  readonly metadata: MetadataStore;
  readonly accounts: {
    readonly passwords: Passwords;
    readonly sessionEnded: Authenticator['sessionEnded'];
    readonly keyEnded: Authenticator['keyEnded'];
    readonly audit: Pick<AuditLog, 'record'>;
  };
  readonly mailer: Mailer;
  readonly telemetry: Telemetry;
  readonly lifecycle: Lifecycle;
}

/** Builds the room; what was asked for when the node stops is still done. */
export function composePasswordResets(deps: PasswordResetDeps): readonly AnyRoute[] {
  const { config, metadata, accounts, mailer, telemetry, lifecycle } = deps;
  if (mailer.isConfigured && config.ENVIRONMENT === 'production' && isLocal(config.FRONTEND_URL))
    telemetry.log.warn('links in mails lead to this machine only: FRONTEND_URL does not name the dashboard');
  const service = createPasswordResetService({
    ...{ metadata, mailer, telemetry },
    passwords: accounts.passwords,
    audit: accounts.audit,
    authenticator: accounts,
    frontendUrl: config.FRONTEND_URL,
  });
  lifecycle.add('password resets', service, (it) => it.close());
  return passwordResetRoutes(service);
}

const isLocal = (url: string): boolean => /^(localhost|127\.|\[::1\])/.test(new URL(url).host);
