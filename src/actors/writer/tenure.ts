import type { PartitionOwnership } from '../../storage/stream/stream.js';

/** What is stored was received seconds before, as a rule. */
export const REPAIR_BACK_MS = 3_600_000;

/** One stretch of ownership of a partition by this node. All that a block holds is tied to the tenure under which it came. */
export class Tenure {
  /** No more messages are taken; what was taken may still be finished. */
  leaving = false;
  /** Another node may be writing now: nothing of this tenure may be stored or acknowledged any more. */
  ended = false;
  /** The store may hold half of what an earlier owner or an attempt in doubt stored: to be completed before anything is acknowledged. */
  isUnrepaired = true;
  /** Events received in this time before the newest stored one are compared, ms. */
  repairBackMs = REPAIR_BACK_MS;
  /** When the oldest row was received that an attempt in doubt has stored, ms since epoch: after an outage, long before the newest. */
  repairSince = Number.POSITIVE_INFINITY;
  /** A repair that failed may have taken rows away: what it was asked for must be asked for again. */
  isRepairBegun = false;
  /** Failures in a row of repairs that could not have been asked for less. */
  repairsFailed = 0;

  constructor(readonly ownership: PartitionOwnership) {}

  get partition(): number {
    return this.ownership.partition;
  }

  /** ms since epoch */
  validUntil(): number {
    return this.ended ? 0 : this.ownership.validUntil();
  }
}
