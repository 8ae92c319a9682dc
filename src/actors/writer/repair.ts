import { type EventStore, StoreUnavailableError } from '../../storage/events/event-store.js';
import type { Logger } from '../../telemetry.js';
import { REPAIR_BACK_MS, type Tenure } from './tenure.js';

/** A repair that fails is asked for half of it the next time, but for no less than this, ms. */
const LEAST_BACK_MS = 15_000;
/** So many times is the least asked for. */
const LAST_ATTEMPTS = 8;

export interface RepairHost {
  readonly store: Pick<EventStore, 'repair'>;
  /** Number of partitions of the stream. */
  readonly partitions: number;
  readonly log: Logger;
}

/**
 * Completes what a crash of the store left half stored of the tenure's partition; nobody may insert rows of it meanwhile. A redelivery
 * does not, as it finds the rows stored.
 * @throws StoreUnavailableError, RepairFailedError
 */
export async function repairPartition({ store, partitions, log }: RepairHost, tenure: Tenure): Promise<void> {
  const { partition, repairBackMs: backMs } = tenure;
  const since = Math.floor(tenure.repairSince);
  let mended: number;
  try {
    mended = await store.repair(partition, partitions, {
      backMs,
      since,
      validUntil: () => tenure.validUntil(),
      changing: () => {
        tenure.isRepairBegun = true;
      },
    });
  } catch (error) {
    // While the store is away nothing can be inserted either: waiting costs nothing.
    if (!(error instanceof StoreUnavailableError)) askForLess(tenure);
    throw error;
  }
  settle(tenure);
  if (backMs < REPAIR_BACK_MS) log.warn({ partition, backMs }, 'figures were compared over a shorter time');
  if (mended > 0) log.warn({ partition, mended }, 'figures were completed after a crash of the event store');
}

/**
 * Leaves a partition as it is whose repair fails however little is asked for: it would keep all partitions from being stored, and wrong
 * figures that are alarmed harm less.
 * @returns whether it was given up
 */
export function giveUpHopeless(tenure: Tenure): boolean {
  if (!tenure.isUnrepaired || tenure.repairsFailed < LAST_ATTEMPTS) return false;
  settle(tenure);
  return true;
}

function askForLess(tenure: Tenure): void {
  if (tenure.isRepairBegun || tenure.repairBackMs === LEAST_BACK_MS) tenure.repairsFailed++;
  if (tenure.isRepairBegun) return;
  tenure.repairBackMs = Math.max(LEAST_BACK_MS, tenure.repairBackMs / 2);
  tenure.repairSince = (tenure.repairSince + Date.now()) / 2;
}

function settle(tenure: Tenure): void {
  tenure.isUnrepaired = false;
  tenure.isRepairBegun = false;
  tenure.repairBackMs = REPAIR_BACK_MS;
  tenure.repairSince = Number.POSITIVE_INFINITY;
  tenure.repairsFailed = 0;
}
