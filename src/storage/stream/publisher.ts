import { AppError } from '../../errors.js';
import { encodeMessage, frameSize, type SiteFrame } from '../../events/frame.js';
import { partitionOf } from '../../events/partition.js';
import type { Telemetry } from '../../telemetry.js';
import { splitFrame } from './split-frame.js';
import type { FrameStream, Linger } from './stream.js';
import { type StreamMetrics, streamMetrics } from './stream-metrics.js';
import { Watermarks } from './watermarks.js';

export interface PublisherOptions {
  readonly stream: FrameStream;
  /** Time between two messages of a partition under load, ms; an idle partition's frame goes at once. Default: the stream's. */
  readonly lingerMs?: number;
  /** Largest message, bytes, where the stream takes such. Default 1,000,000. */
  readonly maxBytes?: number;
  /** Frames not yet durable, bytes; beyond it `publish` throws `overloaded`. Default 64 MiB. */
  readonly maxInFlightBytes?: number;
  readonly telemetry: Telemetry;
}

/** Turns site frames into stream messages. */
export interface Publisher {
  /**
   * Resolves once the frame is durable (P1). Frames that share a message share one promise.
   * @throws AppError `overloaded` (too much in flight, or the stream too full for this source), `storage_unavailable` (the stream is away or full), `body_too_large` (a single
   * row does not fit into a message)
   */
  publish(frame: SiteFrame): Promise<void>;
  /** Frames not yet durable, bytes. */
  inFlightBytes(): number;
  /** Sends what waits, resolves when it is settled; then refuses everything. */
  close(): Promise<void>;
}

/** Magic and version (events/frame.ts). */
const MESSAGE_HEADER_BYTES = 2;
const MAX_MESSAGE_BYTES = 1_000_000;
const BUSY_WITHIN_MS = 50;
const IMMEDIATE_RETRY_SECONDS = 1;
const AWAY_RETRY_SECONDS = 5;

/**
 * Coalesces the site frames of a partition into messages: one message is in flight for a partition at a time, the next takes all that
 * came meanwhile. Only full messages go out beside it.
 */
export function createPublisher(options: PublisherOptions): Publisher {
  return new CoalescingPublisher(options);
}

interface Batch {
  readonly frames: SiteFrame[];
  bytes: number;
  readonly settled: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

interface Lane {
  readonly partition: number;
  batch: Batch | undefined;
  inFlight: number;
  isScheduled: boolean;
  lastSend: number;
}

class CoalescingPublisher implements Publisher {
  private readonly lanes: Lane[];
  private readonly linger: Linger;
  private lingerMs: number;
  private lingerSetAt = Number.NEGATIVE_INFINITY;
  private readonly maxInFlightBytes: number;
  private readonly metrics: StreamMetrics;
  private readonly watermarks: Watermarks;
  private readonly sends = new Set<Promise<void>>();
  /** Lanes to send at the end of this turn of the event loop. */
  private due: Lane[] = [];
  private bytes = 0;
  private closed = false;

  constructor(private readonly options: PublisherOptions) {
    const { lingerMs, stream } = options;
    this.linger =
      lingerMs === undefined
        ? (stream.linger ?? { leastMs: 3, mostMs: 3 })
        : { leastMs: lingerMs, mostMs: lingerMs };
    this.lingerMs = this.linger.leastMs;
    this.maxInFlightBytes = options.maxInFlightBytes ?? 64 * 1024 * 1024;
    this.metrics = streamMetrics(options.telemetry.registry);
    this.watermarks = new Watermarks(stream, this.metrics);
    this.lanes = Array.from({ length: options.stream.partitions }, (_, partition) => ({
      ...{ partition, batch: undefined, inFlight: 0, isScheduled: false },
      lastSend: Number.NEGATIVE_INFINITY,
    }));
  }

  inFlightBytes(): number {
    return this.bytes;
  }

  /** A server that was started again may take less than before. */
  private get maxBytes(): number {
    const { maxBytes = MAX_MESSAGE_BYTES, stream } = this.options;
    return Math.min(maxBytes, stream.maxMessageBytes ?? maxBytes);
  }

  publish(frame: SiteFrame): Promise<void> {
    if (!this.watermarks.concern(frame.source)) return this.take(frame);
    return this.watermarks.check(frame.source).then(() => this.take(frame));
  }

  private take(frame: SiteFrame): Promise<void> {
    const size = frameSize(frame);
    if (this.closed) return Promise.reject(unavailable('the server is stopping'));
    if (this.bytes + size > this.maxInFlightBytes) {
      const retryAfterSeconds = IMMEDIATE_RETRY_SECONDS;
      return Promise.reject(
        new AppError('overloaded', 'too many events wait to be stored', { retryAfterSeconds }),
      );
    }
    if (size + MESSAGE_HEADER_BYTES > this.maxBytes) return this.publishLarge(frame);
    return this.enqueue(frame, size);
  }

  private async publishLarge(frame: SiteFrame): Promise<void> {
    const parts = splitFrame(frame, this.maxBytes - MESSAGE_HEADER_BYTES);
    await Promise.all(parts.map((part) => this.enqueue(part, frameSize(part))));
  }

  private enqueue(frame: SiteFrame, size: number): Promise<void> {
    const lane = this.lanes[partitionOf(frame.siteId, this.lanes.length)];
    if (lane === undefined) return Promise.reject(new RangeError('no such partition'));
    if (lane.batch !== undefined && lane.batch.bytes + size > this.maxBytes) this.send(lane);
    lane.batch ??= newBatch();
    lane.batch.frames.push(frame);
    lane.batch.bytes += size;
    this.bytes += size;
    const { settled } = lane.batch;
    this.schedule(lane);
    return settled;
  }

  private schedule(lane: Lane): void {
    if (lane.isScheduled || lane.inFlight > 0 || lane.batch === undefined) return;
    lane.isScheduled = true;
    const now = performance.now();
    if (now - this.lingerSetAt > BUSY_WITHIN_MS) this.adaptLinger(now);
    const wait = this.closed ? 0 : lane.lastSend + this.lingerMs - now;
    if (wait > 0) setTimeout(() => this.sendScheduled(lane), wait);
    else if (this.due.push(lane) === 1) setImmediate(() => this.sendDue());
  }

  /** One millisecond for each busy partition: the more of them share the traffic, the longer it takes to fill a message. */
  private adaptLinger(now: number): void {
    let busy = 0;
    for (const { lastSend } of this.lanes) if (now - lastSend < BUSY_WITHIN_MS) busy++;
    this.lingerMs = Math.min(Math.max(busy, this.linger.leastMs), this.linger.mostMs);
    this.lingerSetAt = now;
  }

  private sendDue(): void {
    const due = this.due;
    this.due = [];
    for (const lane of due) this.sendScheduled(lane);
  }

  private sendScheduled(lane: Lane): void {
    lane.isScheduled = false;
    // A full message may have gone out meanwhile; its end schedules the rest.
    if (lane.inFlight === 0) this.send(lane);
  }

  private send(lane: Lane): void {
    const { batch } = lane;
    if (batch === undefined) return;
    lane.batch = undefined;
    lane.inFlight++;
    lane.lastSend = performance.now();
    const sending = this.append(lane.partition, batch).finally(() => {
      this.sends.delete(sending);
      lane.inFlight--;
      this.bytes -= batch.bytes - MESSAGE_HEADER_BYTES;
      this.schedule(lane);
    });
    this.sends.add(sending);
    this.metrics.publisherBytes.set(this.bytes);
  }

  private async append(partition: number, batch: Batch): Promise<void> {
    try {
      await this.options.stream.append(partition, encodeMessage(batch.frames));
      this.metrics.publisherFrames.inc(batch.frames.length);
      this.metrics.publisherMessages.inc();
      batch.resolve();
    } catch (error) {
      batch.reject(unavailable('events cannot be stored at the moment', error));
    }
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const lane of this.lanes) this.send(lane);
    while (this.sends.size > 0) await Promise.all(this.sends);
  }
}

function newBatch(): Batch {
  let resolve: () => void = () => {};
  let reject: (error: Error) => void = () => {};
  const settled = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { frames: [], bytes: MESSAGE_HEADER_BYTES, settled, resolve, reject };
}

function unavailable(message: string, cause?: unknown): AppError {
  return new AppError('storage_unavailable', message, { cause, retryAfterSeconds: AWAY_RETRY_SECONDS });
}
