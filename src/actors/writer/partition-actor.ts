import type { EventStore } from '../../storage/events/event-store.js';
import type { PartitionOwnership, StreamMessage } from '../../storage/stream/stream.js';
import type { Logger } from '../../telemetry.js';
import type { DedupeWindow } from '../dedupe-window.js';
import type { Actor } from '../runtime/actor.js';
import type { Collector } from './collector.js';
import { repairPartition } from './repair.js';
import { Tenure } from './tenure.js';

export type PartitionCommand =
  | { readonly do: 'acquire'; readonly ownership: PartitionOwnership }
  | { readonly do: 'take'; readonly message: StreamMessage }
  | { readonly do: 'leave' };

export interface PartitionHost {
  readonly store: Pick<EventStore, 'recentIds' | 'repair'>;
  readonly partitions: number;
  readonly window: DedupeWindow;
  readonly collector: Collector;
  /** Tenures by partition: they outlive a restart of the actor. */
  readonly tenures: Map<number, Tenure>;
  readonly log: Logger;
  /** How far back the window is refilled, ms, and with how many ids at most. */
  readonly refillMs: number;
  readonly refillIds: number;
  /** How long what was taken may still be stored after the partition was given up, ms. */
  readonly leaveMs: number;
  /** Runs refills one after the other, so that a node that takes over many partitions does not hold all their ids at once. */
  readonly oneAtATime: <Result>(run: () => Promise<Result>) => Promise<Result>;
}

/** One partition on this node: takes over, takes messages, leaves; one thing at a time. */
export class PartitionActor implements Actor<PartitionCommand> {
  constructor(
    readonly partition: number,
    readonly host: PartitionHost,
  ) {}

  receive(command: PartitionCommand): Promise<void> {
    switch (command.do) {
      case 'acquire':
        return this.#acquire(command.ownership);
      case 'take':
        return this.#take(command.message);
      case 'leave':
        return this.#leave();
    }
  }

  async #acquire(ownership: PartitionOwnership): Promise<void> {
    const { tenures, oneAtATime } = this.host;
    await this.#leave();
    const tenure = new Tenure(ownership);
    await oneAtATime(() => this.#repair(tenure));
    await oneAtATime(() => this.#refill());
    tenures.set(this.partition, tenure);
  }

  /** Tried once; when the store does not answer, the inserter does it before it stores or acknowledges anything. */
  async #repair(tenure: Tenure): Promise<void> {
    try {
      await repairPartition(this.host, tenure);
    } catch (error) {
      const { partition } = this;
      this.host.log.warn({ partition, err: error }, 'cannot check the figures of a new partition yet');
    }
  }

  /**
   * Reads back what earlier owners stored lately. When the store does not answer, or with too much, the window starts empty: right all
   * the same, since whatever may be older than the window is then looked up.
   */
  async #refill(): Promise<void> {
    const { store, partitions, window, log, refillMs, refillIds } = this.host;
    const now = Date.now();
    let ids: readonly Uint8Array[] | null = null;
    try {
      ids = await store.recentIds(this.partition, partitions, now - refillMs, refillIds);
    } catch (error) {
      log.warn({ partition: this.partition, err: error }, 'cannot refill the dedupe window: it starts empty');
    }
    window.open(this.partition, ids === null ? now : now - refillMs, ids ?? []);
  }

  async #take(message: StreamMessage): Promise<void> {
    const tenure = this.host.tenures.get(this.partition);
    // A message that crossed the end of its tenure stays unacknowledged and comes to the next owner.
    if (tenure !== undefined) await this.host.collector.take(tenure, message);
  }

  async #leave(): Promise<void> {
    const { tenures, collector, window, leaveMs } = this.host;
    const tenure = tenures.get(this.partition);
    if (tenure === undefined) return;
    tenure.leaving = true;
    const left = Math.min(leaveMs, tenure.validUntil() - Date.now());
    if (left > 0) await within(left, collector.flush());
    await collector.end(tenure);
    window.close(this.partition);
    tenures.delete(this.partition);
  }
}

async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
