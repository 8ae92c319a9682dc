import type { Telemetry } from '../../telemetry.js';
import { runPostgresMigrations } from '../migrations.js';
import { openPostgres, waitForPostgres } from '../postgres.js';
import { createAccountCountStore } from './account-counts.js';
import { createAccountDeletionStore } from './account-deletion.js';
import { createApiKeyStore } from './api-keys.js';
import { createAuditStore } from './audit.js';
import { createAutomationStore } from './automations.js';
import { createErasureStore } from './erasures.js';
import { createExecutionStore } from './executions.js';
import { createFunnelStore } from './funnels.js';
import { createGoalStore } from './goals.js';
import { createIdempotencyStore } from './idempotency.js';
import { createImportStore } from './imports.js';
import { createMemberStore } from './members.js';
import type { MetadataStore } from './metadata.js';
import { createNotificationStore } from './notifications.js';
import { createPasswordResetStore } from './password-resets.js';
import { createPrivacyRequestStore } from './privacy-requests.js';
import { createSecondFactorStore } from './second-factors.js';
import { createSessionStore } from './sessions.js';
import { createShareStore } from './shares.js';
import { createUserStore } from './users.js';
import { createVisitorSaltStore } from './visitor-salts.js';
import { createWebsiteStore } from './websites.js';

const MIGRATIONS = new URL('../../../migrations/postgres/meta/', import.meta.url);

export interface MetadataOptions {
  readonly url: string;
  readonly maxConnections: number;
  readonly minConnections: number;
  readonly telemetry: Telemetry;
  /** Ends the waiting for a server that is away. */
  readonly signal?: AbortSignal;
}

/**
 * Opens the metadata store: waits for the server ("waiting for Postgres at host:port …") and brings the schema up to date.
 * @throws the server's error when waiting cannot help (wrong password, unknown database) or a migration fails
 */
export async function createMetadataStore(options: MetadataOptions): Promise<MetadataStore> {
  const db = openPostgres({ ...options, name: 'metadata' });
  try {
    await waitForPostgres(db, options.url, options.telemetry.log, options.signal);
    await runPostgresMigrations(db.pool, {
      folder: MIGRATIONS,
      table: 'seentics_meta_migrations',
      log: options.telemetry.log,
    });
  } catch (error) {
    await db.close();
    throw error;
  }
  return {
    users: createUserStore(db),
    sessions: createSessionStore(db),
    passwordResets: createPasswordResetStore(db),
    websites: createWebsiteStore(db),
    members: createMemberStore(db),
    goals: createGoalStore(db),
    imports: createImportStore(db),
    funnels: createFunnelStore(db),
    idempotency: createIdempotencyStore(db),
    apiKeys: createApiKeyStore(db),
    secondFactors: createSecondFactorStore(db),
    audit: createAuditStore(db),
    automations: createAutomationStore(db),
    executions: createExecutionStore(db),
    shares: createShareStore(db),
    notifications: createNotificationStore(db),
    accountCounts: createAccountCountStore(db),
    visitorSalts: createVisitorSaltStore(db),
    erasures: createErasureStore(db),
    accountDeletion: createAccountDeletionStore(db),
    privacyRequests: createPrivacyRequestStore(db),
    ping: db.ping,
    close: db.close,
  };
}
