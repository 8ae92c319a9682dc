import { setTimeout as pause } from 'node:timers/promises';
import type { ReplayUpkeep } from '../replays/replay-upkeep.js';
import type { ErasureStore } from '../storage/metadata/erasures.js';
import type { ExecutionStore } from '../storage/metadata/executions.js';
import type { FrameStream } from '../storage/stream/stream.js';
import type { Logger } from '../telemetry.js';
import type { ErasureMetrics } from './erasure-metrics.js';
import { visitorHashOf } from './forgotten.js';
import { ERASURES_KNOWN_AFTER_MS } from './known-erasures.js';
import type { Anonymisation, PersonalStore } from './personal-store.js';

export interface EraserOptions {
  readonly erasures: ErasureStore;
  readonly personal: PersonalStore;
  readonly replays: Pick<ReplayUpkeep, 'deleteSite' | 'deleteSessions' | 'sweep'>;
  readonly executions: Pick<ExecutionStore, 'deleteVisitor' | 'deleteSite' | 'anonymise'>;
  /** Removes an uploaded file that was to be imported. */
  readonly deleteUpload: (importId: string) => Promise<void>;
  /** Events, recordings. */
  readonly streams: readonly Pick<FrameStream, 'drain'>[];
  /** Runs one piece of work about a site at a time in the whole cluster. */
  readonly withLock: <T>(siteId: string, work: () => Promise<T>) => Promise<T>;
  readonly metrics: ErasureMetrics;
  readonly log: Logger;
  /** How long what is in the streams may take to come out of them, ms. Default 30,000. */
  readonly drainMs?: number;
}

/**
 * Removes what is to be forgotten from every store, and from the streams. Each may be begun anew after it failed half way.
 * @throws (from every method) when a store or stream cannot be reached; nothing is half gone for good
 */
export interface Eraser {
  /** All data of a site that was deleted, whatever comes of it later. */
  deletedSite(siteId: string): Promise<void>;
  /**
   * All data of a site that stays; what it receives from then on counts again.
   * @param requestId of the privacy request; once it has emptied the site, another attempt leaves alone what came since
   */
  siteData(siteId: string, requestId: string): Promise<void>;
  /** Everything about a visitor of a site, recordings of the visitor's sessions included. */
  visitor(siteId: string, visitorId: string): Promise<void>;
  /** Makes a site's visitors anonymous; recordings cannot be and are removed. */
  anonymise(siteId: string, how: Anonymisation): Promise<void>;
}

/** While an erasure is under way its subject's rows are dropped. A crash leaves that on no longer than this. */
const HOLD_MS = 60_000;
const RENEW_MS = 15_000;
const REWRITE_MS = 540_000;
const SESSIONS_A_STEP = 500;

export function createEraser(options: EraserOptions): Eraser {
  const { erasures, personal, replays, executions, withLock, metrics, log } = options;

  const drain = async () => {
    const signal = AbortSignal.timeout(options.drainMs ?? 30_000);
    await Promise.all(options.streams.map((stream) => stream.drain(signal)));
  };
  /** After an erasure was noted: nothing of it comes out of the streams any more. */
  const drainKnowing = async () => {
    await pause(ERASURES_KNOWN_AFTER_MS);
    await drain();
  };
  const wipe = async (siteId: string) => {
    const uploads = await erasures.dropImports(siteId);
    for (const id of uploads) await options.deleteUpload(id);
    await erasures.uploadsGone(uploads);
    await replays.deleteSite(siteId);
    await personal.deleteSite(siteId);
    await executions.deleteSite(siteId);
  };
  const rewritten = () => personal.rewritten(AbortSignal.timeout(REWRITE_MS));

  const measured = async (subject: string, siteId: string, work: () => Promise<void>): Promise<void> => {
    const stop = metrics.seconds.startTimer({ subject });
    try {
      await withLock(siteId, work);
      metrics.erasures.inc({ subject, outcome: 'done' });
      log.info({ siteId, seconds: stop() }, `erased: ${subject}`);
    } catch (error) {
      metrics.erasures.inc({ subject, outcome: 'failed' });
      throw error;
    }
  };

  /**
   * Rows of the subject are not stored while `work` runs, and never those that were received by then.
   * @param done notes the end when the work succeeded; default: as when it failed
   */
  const holding = async (
    siteId: string,
    visitorHash: string | null,
    work: () => Promise<void>,
    done?: (receivedUntil: number) => Promise<void>,
  ) => {
    const note = (receivedUntil: number) => erasures.note({ siteId, visitorHash, receivedUntil });
    await note(Date.now() + HOLD_MS);
    let renewal = Promise.resolve();
    const timer = setInterval(() => {
      renewal = note(Date.now() + HOLD_MS).catch((err: unknown) =>
        log.warn({ siteId, err }, 'an erasure is not held'),
      );
    }, RENEW_MS);
    let end = note;
    try {
      await work();
      end = done ?? note;
    } finally {
      clearInterval(timer);
      // A renewal that came after the end would prolong it.
      await renewal;
      await end(Date.now());
    }
  };

  return {
    deletedSite: (siteId) =>
      measured('deleted site', siteId, async () => {
        // At once, so that nothing is seen of it; then again, for what was being stored meanwhile.
        await wipe(siteId);
        await drainKnowing();
        await wipe(siteId);
        await rewritten();
      }),

    siteData: (siteId, requestId) =>
      measured('site', siteId, async () => {
        if (!(await erasures.isWiped(siteId, requestId)))
          await holding(
            siteId,
            null,
            async () => {
              await drainKnowing();
              await wipe(siteId);
              // What was being made of the site's rows meanwhile.
              await personal.deleteSite(siteId);
            },
            (receivedUntil) => erasures.wiped(siteId, requestId, receivedUntil),
          );
        await rewritten();
      }),

    visitor: (siteId, visitorId) =>
      measured('visitor', siteId, () =>
        holding(siteId, visitorHashOf(siteId, visitorId), async () => {
          await drainKnowing();
          const sessions = await personal.sessionsOf(siteId, visitorId);
          // Before the rows that name them.
          for (let at = 0; at < sessions.length; at += SESSIONS_A_STEP)
            await replays.deleteSessions(siteId, sessions.slice(at, at + SESSIONS_A_STEP));
          await personal.deleteVisitor(siteId, visitorId);
          await executions.deleteVisitor(siteId, visitorId);
          // Recordings of sessions that only dropped rows named.
          await replays.sweep();
          await rewritten();
          // What was being made of the rollup meanwhile.
          await personal.deleteVisitor(siteId, visitorId);
          await rewritten();
        }),
      ),

    anonymise: (siteId, how) =>
      measured('anonymised site', siteId, async () => {
        await drain();
        await replays.deleteSite(siteId);
        await personal.anonymise(siteId, how);
        await executions.anonymise(siteId);
        await rewritten();
      }),
  };
}
