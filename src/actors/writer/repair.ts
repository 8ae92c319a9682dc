import type { EventStore } from '../../storage/events/event-store.js';
import type { Logger } from '../../telemetry.js';
import type { Tenure } from './tenure.js';

/** A store that has worked on it for so long without an end is asked for less, but for no less than what a block may hold, ms. */
const LONG_MS = 20_000;
const LEAST_BACK_MS = 300_000;

export interface RepairHost {
  readonly store: Pick<EventStore, 'repair'>;
  /** Number of partitions of the stream. */
  readonly partitions: number;
  readonly log: Logger;
}

/**
 * Completes what a crash of the store left half stored of the tenure's partition; nobody may insert rows of it meanwhile. A redelivery
 * does not, as it finds the rows stored.
 * @throws StoreUnavailableError
 */
export async function repairPartition({ store, partitions, log }: RepairHost, tenure: Tenure): Promise<void> {
  const { partition } = tenure;
  const askedAt = Date.now();
  let mended: number;
  try {
    mended = await store.repair(partition, partitions, tenure.repairBackMs);
  } catch (error) {
    if (Date.now() - askedAt > LONG_MS)
      tenure.repairBackMs = Math.max(LEAST_BACK_MS, tenure.repairBackMs / 2);
    throw error;
  }
  tenure.isUnrepaired = false;
  if (mended > 0) log.warn({ partition, mended }, 'figures were completed after a crash of the event store');
}
