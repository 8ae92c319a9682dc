import type { Logger } from '../../../telemetry.js';
import type { PartitionConsumer, StreamMessage, Subscription } from '../stream.js';
import type { StreamMetrics } from '../stream-metrics.js';
import { Backoff, createStop, Fifo, pause, Signal } from '../waiting.js';
import { isUnreadable } from './disk.js';
import { RecordState, type Segment } from './segment.js';
import type { SegmentSet } from './segment-set.js';

const ACKED = Promise.resolve();
/** A record that the disk could not read so often is lost. */
const READ_TRIES = 10;

export interface DeliveryOptions {
  readonly name: string;
  readonly partitions: number;
  readonly epoch: number;
  /** Bytes of messages kept in memory for the consumer; the rest is read back from disk. */
  readonly memoryBytes: number;
  /** ms since epoch before which another owner may still be writing. */
  readonly notBefore: number;
  /** How long an ownership is asserted ahead, ms. */
  readonly leaseMs: number;
  /** First pause before a record is read again, ms; they double up to fifty times that. */
  readonly readRetryMs: number;
  readonly segments: SegmentSet;
  readonly log: Logger;
  readonly metrics: StreamMetrics;
}

/** Feeds one consumer with the records of all partitions, each partition in order and at its own pace. */
export class Delivery implements Subscription {
  private readonly lanes: Lane[] = [];
  private readonly stopped = createStop();
  /** Payloads that need not be read back, by sequence number. */
  private readonly hot = new Map<number, Uint8Array>();
  private hotBytes = 0;
  private ending: Promise<void> | undefined;

  constructor(
    private readonly options: DeliveryOptions,
    private readonly consumer: PartitionConsumer,
    private readonly onStopped: (delivery: Delivery) => void,
  ) {
    for (let partition = 0; partition < options.partitions; partition++) this.lanes.push(new Lane(partition));
  }

  /** Takes all records that are not acknowledged and starts. */
  start(): void {
    for (const segment of this.options.segments.list) {
      for (let sequence = segment.base; segment.holds(sequence); sequence++) {
        if (segment.stateAt(sequence) === RecordState.acked) continue;
        segment.setDelivered(sequence, false);
        this.lanes[segment.partitionAt(sequence)]?.queue.push(sequence);
      }
    }
    for (const lane of this.lanes) void this.run(lane);
  }

  /** A record has been appended. */
  offer(sequence: number, partition: number, payload: Uint8Array): void {
    const lane = this.lanes[partition];
    if (lane === undefined) return;
    this.keep(sequence, payload);
    lane.queue.push(sequence);
    lane.signal.set();
  }

  private keep(sequence: number, payload: Uint8Array): void {
    if (this.hotBytes + payload.byteLength > this.options.memoryBytes || this.hot.has(sequence)) return;
    this.hot.set(sequence, payload);
    this.hotBytes += payload.byteLength;
  }

  private takeHot(sequence: number): Uint8Array | undefined {
    const payload = this.hot.get(sequence);
    if (payload === undefined) return undefined;
    this.hot.delete(sequence);
    this.hotBytes -= payload.byteLength;
    return payload;
  }

  private async run(lane: Lane): Promise<void> {
    const { log, notBefore, metrics, name } = this.options;
    const { signal } = this.stopped;
    const backoff = new Backoff(100, 5_000);
    await pause(Math.max(0, notBefore - Date.now()), signal);
    while (!signal.aborted && !lane.owned) {
      try {
        lane.acquiring = this.acquire(lane);
        await lane.acquiring;
      } catch (error) {
        log.error({ err: error, partition: lane.partition }, 'cannot take over the partition: trying again');
        await pause(backoff.take(), signal);
      }
    }
    while (!signal.aborted) {
      const sequence = lane.queue.shift();
      if (sequence === undefined) {
        await lane.signal.wait();
        continue;
      }
      const data = await this.load(sequence);
      if (data === undefined || signal.aborted) continue;
      const message: StreamMessage = {
        data,
        ack: () => {
          this.options.segments.ack(sequence);
          return ACKED;
        },
      };
      metrics.deliveredMessages.inc({ stream: name });
      await this.handOver(lane, message);
    }
  }

  private async acquire(lane: Lane): Promise<void> {
    const { epoch, leaseMs, metrics, name } = this.options;
    const { partition } = lane;
    const validUntil = () => (lane.released ? 0 : Date.now() + leaseMs);
    await this.consumer.acquired({ partition, epoch, validUntil });
    lane.owned = true;
    metrics.ownedPartitions.inc({ stream: name });
    metrics.leaseChanges.inc({ stream: name, change: 'acquired' });
  }

  /** Hands the message over until the consumer takes it. */
  private async handOver(lane: Lane, message: StreamMessage): Promise<void> {
    const { signal } = this.stopped;
    const backoff = new Backoff(100, 5_000);
    while (!signal.aborted) {
      try {
        await this.consumer.message(lane.partition, message);
        return;
      } catch (error) {
        const { partition } = lane;
        this.options.log.error({ err: error, partition }, 'consumer failed on a message: it comes again');
        await pause(backoff.take(), signal);
      }
    }
  }

  private async load(sequence: number): Promise<Uint8Array | undefined> {
    const { segments, log, readRetryMs } = this.options;
    const { signal } = this.stopped;
    const backoff = new Backoff(readRetryMs, readRetryMs * 50);
    let unreadable = 0;
    while (!signal.aborted) {
      const hot = this.takeHot(sequence);
      const segment = segments.find(sequence);
      if (segment === undefined || segment.stateAt(sequence) === RecordState.acked) return undefined;
      if (hot !== undefined) {
        segment.setDelivered(sequence, true);
        return hot;
      }
      try {
        const payload = await this.readBack(segment, sequence);
        if (payload !== undefined) return payload;
        this.giveUp(segment, sequence);
        return undefined;
      } catch (error) {
        if (isUnreadable(error) && ++unreadable >= READ_TRIES) {
          segment.isDamaged = true;
          this.giveUp(segment, sequence);
          return undefined;
        }
        log.error({ err: error, segment: segment.path }, 'cannot read the log: trying again');
        await pause(backoff.take(), signal);
      }
    }
    return undefined;
  }

  private giveUp(segment: Segment, sequence: number): void {
    const { segments, log, name, metrics } = this.options;
    log.error({ segment: segment.path, sequence }, 'record of the log is damaged on disk: it is lost');
    metrics.damagedBytes.inc({ stream: name }, segment.lengthAt(sequence));
    segments.ack(sequence);
  }

  private async readBack(segment: Segment, sequence: number): Promise<Uint8Array | undefined> {
    let asked: Uint8Array | undefined;
    for (const record of await segment.read(sequence)) {
      if (record.sequence === sequence) asked = Buffer.from(record.payload);
      else if (segment.stateAt(record.sequence) === RecordState.pending)
        this.keep(record.sequence, Buffer.from(record.payload));
    }
    if (asked !== undefined) segment.setDelivered(sequence, true);
    return asked;
  }

  owned(): readonly number[] {
    return this.lanes.filter((lane) => lane.owned).map((lane) => lane.partition);
  }

  stop(): Promise<void> {
    this.ending ??= this.end();
    return this.ending;
  }

  private async end(): Promise<void> {
    const { log, metrics, name } = this.options;
    this.stopped.abort();
    for (const lane of this.lanes) lane.signal.set();
    await Promise.all(
      this.lanes.map(async (lane) => {
        await lane.acquiring?.catch(() => {});
        if (!lane.owned) return;
        try {
          await this.consumer.lost(lane.partition);
        } catch (error) {
          log.error({ err: error, partition: lane.partition }, 'consumer failed to give up a partition');
        }
        lane.owned = false;
        lane.released = true;
        metrics.ownedPartitions.dec({ stream: name });
        metrics.leaseChanges.inc({ stream: name, change: 'released' });
      }),
    );
    this.hot.clear();
    this.hotBytes = 0;
    this.onStopped(this);
  }
}

class Lane {
  readonly queue = new Fifo<number>();
  readonly signal = new Signal();
  owned = false;
  released = false;
  acquiring: Promise<void> | undefined;

  constructor(readonly partition: number) {}
}
