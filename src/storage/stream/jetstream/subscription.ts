import { setTimeout as sleep } from 'node:timers/promises';
import type { NatsConnection } from 'nats';
import type { Logger } from '../../../telemetry.js';
import type { PartitionConsumer, Subscription } from '../stream.js';
import type { StreamMetrics } from '../stream-metrics.js';
import { Backoff } from '../waiting.js';
import { Lane } from './lane.js';
import { type Lease, Leases } from './leases.js';
import type { Link } from './link.js';
import type { Names } from './setup.js';

export interface SubscriptionOptions {
  readonly partitions: number;
  readonly names: Names;
  readonly nodeId: string;
  readonly leaseTtlMs: number;
  readonly log: Logger;
  readonly metrics: StreamMetrics;
  /** Of the stream, in the metrics. */
  readonly label: string;
  readonly link: Link;
  readonly consumer: PartitionConsumer;
  readonly onStopped: () => void;
}

interface Owned {
  readonly lane: Lane;
  /** Settles when the consumer has taken the partition over, or never will. */
  readonly taking: Promise<boolean>;
  isOver: boolean;
}

/** One consumer's part of the partitions: leases say which, each has a lane. */
export class JetStreamSubscription implements Subscription {
  private readonly ownedPartitions = new Map<number, Owned>();
  /** Partitions whose consumer is still giving up; a new ownership begins after it. */
  private readonly endings = new Map<number, Promise<void>>();
  private readonly leases: Leases;
  private stopping: Promise<void> | undefined;

  constructor(private readonly options: SubscriptionOptions) {
    const { names, partitions, leaseTtlMs, nodeId, log, link } = options;
    this.leases = new Leases(
      { bucket: names.bucket, partitions, ttlMs: leaseTtlMs, nodeId, log },
      {
        acquired: (lease) => this.acquired(lease),
        lost: (partition) => void this.end(partition, 'lost'),
        giveUp: (partition) => this.end(partition, 'released'),
      },
    );
    link.listen({
      up: (connection) => this.up(connection),
      down: () => this.leases.down(),
    });
  }

  private up(connection: NatsConnection): void {
    if (this.stopping !== undefined) return;
    this.leases.up(connection).catch((error: unknown) => {
      this.options.log.error({ err: error }, 'cannot take part in sharing the partitions');
    });
    for (const { lane } of this.ownedPartitions.values()) lane.restart();
  }

  private acquired(lease: Lease): void {
    const { names, consumer, log, metrics, link, label } = this.options;
    const lane = new Lane({
      ...{ names, lease, consumer, log },
      current: () => link.current,
      onDelivered: () => metrics.deliveredMessages.inc({ stream: label }),
    });
    const owned: Owned = {
      lane,
      isOver: false,
      taking: Promise.resolve().then(() => this.take(lease, owned)),
    };
    this.ownedPartitions.set(lease.partition, owned);
    metrics.leaseChanges.inc({ stream: label, change: 'acquired' });
    metrics.ownedPartitions.set({ stream: label }, this.ownedPartitions.size);
  }

  /** Lets the consumer take the partition over, again until it can or the lease is over; after it has let go of an earlier lease. */
  private async take(lease: Lease, owned: Owned): Promise<boolean> {
    const backoff = new Backoff(100, 5_000);
    await this.endings.get(lease.partition);
    while (!owned.isOver) {
      try {
        await this.options.consumer.acquired(lease);
        if (!owned.isOver) owned.lane.start();
        return true;
      } catch (error) {
        const { partition } = lease;
        this.options.log.error({ err: error, partition }, 'cannot take over the partition: trying again');
        await sleep(backoff.take());
      }
    }
    return false;
  }

  private async end(partition: number, change: 'lost' | 'released'): Promise<void> {
    const { metrics, label } = this.options;
    const owned = this.ownedPartitions.get(partition);
    if (owned === undefined) return;
    this.ownedPartitions.delete(partition);
    metrics.leaseChanges.inc({ stream: label, change });
    metrics.ownedPartitions.set({ stream: label }, this.ownedPartitions.size);
    owned.isOver = true;
    owned.lane.stop();
    const ending = this.letGo(partition, owned, change).finally(() => {
      if (this.endings.get(partition) === ending) this.endings.delete(partition);
    });
    this.endings.set(partition, ending);
    await ending;
  }

  private async letGo(partition: number, owned: Owned, change: 'lost' | 'released'): Promise<void> {
    try {
      if (await owned.taking) await this.options.consumer.lost(partition);
      if (change === 'released') await owned.lane.remove();
    } catch (error) {
      this.options.log.error({ err: error, partition }, 'consumer failed to give up a partition');
    }
  }

  owned(): readonly number[] {
    return [...this.ownedPartitions.keys()].sort((a, b) => a - b);
  }

  stop(): Promise<void> {
    this.stopping ??= this.leases.stop().finally(() => this.options.onStopped());
    return this.stopping;
  }
}
