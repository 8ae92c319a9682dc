/** Forgetting: what the writers may no longer store, and removing what is stored. */
import { createAttempts } from '../auth/attempts.js';
import type { AnyRoute } from '../edge/route.js';
import { privacyRoutes } from '../edge/routes/privacy.js';
import { userPrivacyRoutes } from '../edge/routes/user-privacy.js';
import type { MetricsStore } from '../metrics/metrics-store.js';
import { createAccountDeletion } from '../privacy/account-deletion.js';
import { createAccountLeftovers } from '../privacy/account-leftovers.js';
import { createEraser, type Eraser } from '../privacy/eraser.js';
import { type ErasureMetrics, erasureMetrics } from '../privacy/erasure-metrics.js';
import type { ForgetfulOptions } from '../privacy/forgetful.js';
import { createKnownErasures } from '../privacy/known-erasures.js';
import { createPersonalExport } from '../privacy/personal-export.js';
import { createPrivacyRequests } from '../privacy/privacy-requests.js';
import { sessionKeyOf } from '../replays/recording-row.js';
import { openAdvisoryLocks } from '../storage/advisory-lock.js';
import type { Cache } from '../storage/cache/cache.js';
import type { MetadataStore } from '../storage/metadata/metadata.js';
import type { ObjectStore } from '../storage/objects/objects.js';
import type { FrameStream } from '../storage/stream/stream.js';
import type { Telemetry } from '../telemetry.js';
import { createUndoneRows } from '../transfer/undone-rows.js';
import { deleteUpload } from '../transfer/upload.js';
import type { AccountParts } from './accounts.js';
import type { EventStores } from './event-store.js';
import type { ReplayNode } from './replays.js';
import type { OpenContext } from './storage.js';

/** How long somebody waits for the end of an erasure; it goes on without them. */
const WAIT_MS = 10_000;

/** What the writers need to know of erasures. */
export function forgetting(
  metadata: MetadataStore,
  { replays, imported }: Pick<EventStores, 'replays' | 'imported'>,
  telemetry: Telemetry,
): ForgetfulOptions {
  return {
    erasures: createKnownErasures(metadata.erasures, telemetry),
    onDropped: (siteId, sessionIds) =>
      sessionIds.length === 0
        ? Promise.resolve()
        : replays.bury(
            siteId,
            sessionIds.map((id) => sessionKeyOf(siteId, id)),
            Date.now(),
          ),
    undoneOf: createUndoneRows(imported, metadata.imports),
    metrics: erasureMetrics(telemetry.registry),
  };
}

export interface EraserParts {
  readonly metadata: MetadataStore;
  readonly stores: Pick<EventStores, 'personal'>;
  readonly replays: ReplayNode;
  readonly objects: ObjectStore;
  readonly stream: FrameStream;
  readonly postgresUrl: string;
  readonly metrics: ErasureMetrics;
}

export function openEraser({ telemetry, lifecycle }: OpenContext, parts: EraserParts): Eraser {
  const { metadata, stores, replays, stream, postgresUrl, metrics } = parts;
  const locks = lifecycle.add('erasure locks', openAdvisoryLocks(postgresUrl, telemetry), (it) => it.close());
  return createEraser({
    erasures: metadata.erasures,
    personal: stores.personal,
    replays: replays.upkeep,
    executions: metadata.executions,
    deleteUpload: (id) => deleteUpload(parts.objects, id),
    streams: [stream, replays.stream],
    withLock: (siteId, work) => locks.run(`seentics_erasure_${siteId}`, work),
    metrics,
    log: telemetry.log,
  });
}

/**
 * Purges deleted sites, each once at a time. Who asks waits for a while.
 * @throws Error when it takes longer (it goes on) or fails: to be asked for again
 */
export function purgeOf(eraser: Pick<Eraser, 'deletedSite'>): (siteId: string) => Promise<void> {
  const running = new Map<string, Promise<void>>();
  return async (siteId) => {
    const work = running.get(siteId) ?? eraser.deletedSite(siteId).finally(() => running.delete(siteId));
    running.set(siteId, work);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('the purge is still going on')), WAIT_MS);
    });
    await Promise.race([work, late]).finally(() => clearTimeout(timer));
  };
}

export interface PrivacyParts {
  readonly metadata: MetadataStore;
  readonly stores: Pick<EventStores, 'personal' | 'replays'>;
  readonly metrics: MetricsStore;
  readonly replays: ReplayNode;
  readonly accounts: Pick<AccountParts, 'passwords' | 'notices' | 'sessionEnded' | 'keyEnded' | 'websites'>;
  readonly cache: Cache;
  readonly eraser: Eraser;
  readonly erasureMetrics: ErasureMetrics;
  /** Removes what is kept of an account outside of the database. */
  readonly eraseLeftovers: (userId: string) => Promise<void>;
}

/** What accounts ask for about personal data. */
export function composePrivacy(
  { telemetry, lifecycle }: OpenContext,
  parts: PrivacyParts,
): readonly AnyRoute[] {
  const { metadata, accounts, cache, eraser } = parts;
  const { log } = telemetry;
  const requests = createPrivacyRequests({ metadata, eraser, metrics: parts.erasureMetrics, log });
  requests.start();
  lifecycle.add('privacy requests', requests, (it) => it.close());
  const exports = createPersonalExport({
    ...{ metadata, personal: parts.stores.personal, metrics: parts.metrics },
    ...{ replays: parts.stores.replays, playback: parts.replays.playback },
  });
  const leftovers = createAccountLeftovers({
    ...{ store: metadata.accountDeletion, erase: parts.eraseLeftovers, telemetry },
  });
  leftovers.start();
  lifecycle.add('leftovers of accounts', leftovers, (it) => it.close());
  const deletion = createAccountDeletion({
    ...{ metadata, passwords: accounts.passwords, notices: accounts.notices, log },
    attempts: createAttempts({ cache, log }),
    authenticator: { sessionEnded: accounts.sessionEnded, keyEnded: accounts.keyEnded },
    leftovers,
    purge: accounts.websites.purge,
  });
  return [
    ...privacyRoutes({
      ...{ requests, exports },
      accountExists: async (id) => (await metadata.users.findById(id)) !== null,
    }),
    ...userPrivacyRoutes({
      ...{ requests, exports, store: metadata.privacyRequests },
      accounts: deletion,
      websites: accounts.websites,
    }),
  ];
}
