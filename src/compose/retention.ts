import type { AnyRoute } from '../edge/route.js';
import { retentionRoutes } from '../edge/routes/retention.js';
import { createRetention, type RetentionOptions } from '../privacy/retention.js';
import { openAdvisoryLocks } from '../storage/advisory-lock.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import { forgetNotes } from '../transfer/forget-notes.js';
import type { WebsiteService } from '../websites/website-service.js';
import type { EventStores } from './event-store.js';
import type { OpenContext } from './storage.js';

const LOCK = 'seentics_retention';

export interface RetentionDeps {
  readonly stores: Pick<EventStores, 'retention' | 'imported'>;
  readonly metadata: Pick<MetadataStore, 'websites' | 'executions' | 'imports'>;
  readonly postgresUrl: string;
  readonly websites: WebsiteService;
  readonly deleteRecordings: RetentionOptions['deleteRecordings'];
}

/** The daily removal of expired data, which writers do, and the routes about it. */
export function composeRetention(
  { config, telemetry, lifecycle }: OpenContext,
  { stores, metadata, postgresUrl, websites, deleteRecordings }: RetentionDeps,
): readonly AnyRoute[] {
  const locks = lifecycle.add('retention lock', openAdvisoryLocks(postgresUrl, telemetry), (it) =>
    it.close(),
  );
  const retention = createRetention({
    ...{ websites: metadata.websites, executions: metadata.executions },
    ...{ store: stores.retention, deleteRecordings, telemetry },
    forgetNotes: () => forgetNotes(stores.imported, metadata.imports),
    lock: (work) => locks.run(LOCK, work),
  });
  lifecycle.add('retention', retention, (it) => it.close());
  if (config.ROLES.includes('writer')) retention.start();
  return retentionRoutes({ retention, websites });
}
