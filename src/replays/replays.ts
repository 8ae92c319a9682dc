import type { Logger } from '../telemetry.js';
import { type Playback, reachable } from './playback.js';
import { listSessions, type SessionPage } from './replay-list.js';
import type { ReplayStore, SessionQuery } from './replay-store.js';
import type { ReplayUpkeep } from './replay-upkeep.js';

export interface ReplaysOptions {
  readonly store: ReplayStore;
  readonly playback: Playback;
  readonly upkeep: Pick<ReplayUpkeep, 'deleteSessions'>;
  readonly log: Logger;
  /** How long an answer waits for the bytes to be gone, ms. Default 10,000. */
  readonly deleteWaitMs?: number;
}

/** What the dashboard does with recordings. */
export interface Replays {
  /** @throws AppError `storage_unavailable`, `timeout`, `query_too_expensive` */
  list(query: SessionQuery): Promise<SessionPage>;
  session: Playback['session'];
  snapshot: Playback['snapshot'];
  /**
   * Deletes sessions. When it resolves, nothing answers them any more and their bytes are gone; with very many objects the latter may
   * still be going on.
   * @throws AppError `storage_unavailable`: they are hidden perhaps, and come to an end in the next minutes
   */
  delete(siteId: string, sessionIds: readonly string[]): Promise<void>;
}

export function createReplays({
  store,
  playback,
  upkeep,
  log,
  deleteWaitMs = 10_000,
}: ReplaysOptions): Replays {
  return {
    list: (query) => listSessions(store, query),
    session: playback.session,
    snapshot: playback.snapshot,
    async delete(siteId, sessionIds) {
      const deleting = reachable(() => upkeep.deleteSessions(siteId, sessionIds));
      deleting.catch((err: unknown) =>
        log.warn({ siteId, err }, 'recordings could not be deleted at once; the sweep will finish it'),
      );
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, deleteWaitMs);
      });
      await Promise.race([deleting, late]).finally(() => clearTimeout(timer));
    },
  };
}
