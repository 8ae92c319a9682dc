import { setTimeout as pause } from 'node:timers/promises';
import type { ImportStore, TakenImport } from '../storage/metadata/imports.js';
import type { Telemetry } from '../telemetry.js';
import { ErasureUnderWay } from './erased.js';
import { isPassing, type RunEnd } from './import-run.js';
import { LeaseLost } from './lease.js';
import type { TransferMetrics } from './transfer-metrics.js';

export interface ImportRunnerOptions {
  readonly imports: Pick<ImportStore, 'take' | 'renew' | 'end' | 'leave' | 'pass'>;
  readonly run: (item: TakenImport, signal: AbortSignal) => Promise<RunEnd>;
  readonly undo: (item: TakenImport, signal: AbortSignal) => Promise<void>;
  /** Called when an import is done or has failed for good. Must not throw. */
  readonly onEnded: (item: TakenImport, state: 'done' | 'failed') => Promise<void>;
  readonly metrics: Pick<TransferMetrics, 'importsRunning' | 'importFailures'>;
  readonly telemetry: Telemetry;
  /** How long a taken import is ours without a sign of life, ms. Default 10,000. */
  readonly leaseMs?: number;
  /** Longest pause between two looks for work, ms. Default 2,000. */
  readonly pollMs?: number;
  /** Pause after something was away, ms. Default 5,000. */
  readonly retryMs?: number;
  /** How long the next import waits for the one before, ms. Default 5,000. */
  readonly patienceMs?: number;
}

export interface ImportRunner {
  /** Looks for work now. */
  wake(): void;
  /** Ends the work between two steps and leaves the rest to others. */
  stop(): Promise<void>;
}

const HELD_MS = 1_000;
/** Under way on this node, those that were overtaken among them; and of one account. Each holds a chunk. */
const AT_ONCE = 8;
const OF_ACCOUNT = 2;

/**
 * Works on one import at a time on this node, in turns. One that is not done with its turn in time, because its chunk waits for a writer that
 * stands still, is overtaken by others. Nodes share the work by leases; what a dead node held comes up when its lease is over.
 */
export function createImportRunner(options: ImportRunnerOptions): ImportRunner {
  const { leaseMs = 10_000, pollMs = 2_000, retryMs = 5_000, patienceMs = 5_000, imports, metrics } = options;
  const { log } = options.telemetry;
  const stopping = new AbortController();
  let wake: () => void = () => {};
  let isAwake = false;
  /** What is under way, and for which accounts. */
  const underWay = new Map<Promise<void>, string | null>();

  const rest = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, isAwake ? 0 : pollMs);
      timer.unref();
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
      isAwake = false;
    });

  const loop = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      if (underWay.size >= AT_ONCE) {
        await Promise.race(underWay.keys());
        continue;
      }
      const item = await imports.take(leaseMs, busyAccounts()).catch((err: unknown) => {
        log.warn({ err }, 'imports cannot be looked for at the moment');
        return null;
      });
      if (item === null) await rest();
      else await patiently(begin(item));
    }
    await Promise.all(underWay.keys());
  };

  const begin = (item: TakenImport): Promise<void> => {
    const ended = work(item).finally(() => {
      underWay.delete(ended);
      wakeUp();
    });
    underWay.set(ended, item.userId);
    return ended;
  };

  const patiently = async (ended: Promise<void>): Promise<void> => {
    const done = new AbortController();
    const patience = pause(patienceMs, undefined, { signal: done.signal }).catch(() => {});
    await Promise.race([ended, patience]);
    done.abort();
  };

  const busyAccounts = (): string[] => {
    const counts = new Map<string, number>();
    for (const account of underWay.values())
      if (account !== null) counts.set(account, (counts.get(account) ?? 0) + 1);
    return [...counts].flatMap(([account, count]) => (count >= OF_ACCOUNT ? [account] : []));
  };

  const wakeUp = (): void => {
    isAwake = true;
    wake();
  };

  const work = async (item: TakenImport): Promise<void> => {
    metrics.importsRunning.inc();
    const lost = new AbortController();
    const signal = AbortSignal.any([stopping.signal, lost.signal]);
    const renewal = setInterval(() => {
      imports.renew(item.id, item.lease, leaseMs).then(
        (isOurs) => {
          if (!isOurs) lost.abort(new LeaseLost('the import was taken by somebody else'));
        },
        (err: unknown) => log.warn({ err, import: item.id }, 'the lease of an import could not be renewed'),
      );
    }, leaseMs / 4);
    try {
      await settle(item, signal);
    } catch (err) {
      if (err instanceof LeaseLost || lost.signal.aborted)
        log.info({ import: item.id }, 'an import is no longer worked on here');
      else await interrupted(item, err);
    } finally {
      clearInterval(renewal);
      metrics.importsRunning.dec();
    }
  };

  const settle = async (item: TakenImport, signal: AbortSignal): Promise<void> => {
    if (item.state === 'undoing') {
      await options.undo(item, signal);
      await imports.end(item.id, item.lease, 'undone', null);
      log.info({ import: item.id, siteId: item.siteId }, 'an import was undone');
    } else if ((await options.run(item, signal)) !== 'done') {
      await imports.pass(item.id, item.lease);
    } else if (await imports.end(item.id, item.lease, 'done', null)) {
      log.info({ import: item.id, siteId: item.siteId }, 'an import is done');
      await options.onEnded(item, 'done');
    }
  };

  const interrupted = async (item: TakenImport, err: unknown): Promise<void> => {
    const { signal } = stopping;
    const isHeld = err instanceof ErasureUnderWay;
    const mayGoOn = signal.aborted || isHeld || isPassing(err) || item.state === 'undoing';
    if (!signal.aborted && !isHeld) {
      metrics.importFailures.inc();
      log.warn(
        { err, import: item.id },
        mayGoOn ? 'an import was interrupted: it goes on later' : 'an import failed',
      );
    }
    try {
      if (mayGoOn) await imports.leave(item.id, item.lease, signal.aborted ? 0 : isHeld ? HELD_MS : retryMs);
      else if (await imports.end(item.id, item.lease, 'failed', 'The import met an internal error'))
        await options.onEnded(item, 'failed');
    } catch (failure) {
      log.warn({ err: failure, import: item.id }, 'an import is taken again when its lease is over');
    }
  };

  const running = loop();
  return {
    wake: wakeUp,
    async stop() {
      stopping.abort(new Error('the server is stopping'));
      wake();
      await running;
    },
  };
}
