import type { Logger, Telemetry } from '../../telemetry.js';
import { Mover } from './mover.js';
import {
  type FrameStream,
  type Linger,
  MessageTooLargeError,
  type PartitionConsumer,
  StreamFullError,
  type StreamStatus,
  StreamUnavailableError,
  type Subscription,
  takesMessages,
} from './stream.js';
import { type StreamMetrics, streamMetrics } from './stream-metrics.js';
import { createStop, pause } from './waiting.js';

export interface SpooledOptions {
  readonly primary: FrameStream;
  /** A local log of its own directory, with as many partitions as the primary. Closed with the spooled stream. */
  readonly spool: FrameStream;
  /** While the primary is away or full, one append in this time tries it, ms; the others go straight to the spool. Default 1000. */
  readonly probeMs?: number;
  readonly telemetry: Telemetry;
}

/** Longest wait for the primary's status, ms. */
const STATUS_MS = 1_000;

/**
 * A stream with a spool on disk before it: what the primary cannot take is durable in the spool and moves to the primary, in order, when
 * that is back. Consumption is the primary's. Messages that were appended during a break come after those appended behind it.
 */
export async function spooled(options: SpooledOptions): Promise<SpooledStream> {
  if (options.spool.partitions !== options.primary.partitions)
    throw new RangeError('spool and stream need the same number of partitions');
  const stream = new SpooledStream(options);
  await stream.start();
  return stream;
}

/** See `spooled`. */
export class SpooledStream implements FrameStream {
  readonly kind = 'spooled';
  readonly partitions: number;
  readonly linger: Linger;
  private readonly log: Logger;
  private readonly metrics: StreamMetrics;
  private readonly probeMs: number;
  private readonly stopped = createStop();
  /** When the primary may be tried again, by `performance.now()`; undefined while it works. */
  private closedUntil: number | undefined;
  private drainer: Subscription | undefined;
  private closing: Promise<void> | undefined;
  /** Of the primary. */
  private lastStatus: StreamStatus = { reachable: false, lagMessages: 0, bytes: 0, limitBytes: 0, fill: 1 };

  constructor(private readonly options: SpooledOptions) {
    this.partitions = options.primary.partitions;
    this.linger = options.primary.linger ?? { leastMs: 3, mostMs: 3 };
    this.log = options.telemetry.log.child({ part: 'stream spool' });
    this.metrics = streamMetrics(options.telemetry.registry);
    this.probeMs = options.probeMs ?? 1_000;
  }

  get maxMessageBytes(): number | undefined {
    return this.options.primary.maxMessageBytes;
  }

  /** Begins to move what an earlier run has left in the spool. */
  async start(): Promise<void> {
    const mover = new Mover({
      ...{ target: this.options.primary, isRepartitioning: false, retryMs: this.probeMs },
      ...{ signal: this.stopped.signal, log: this.log, metrics: this.metrics },
      worked: () => this.worked(),
      failed: (error) => this.failed(error),
    });
    // As the spool waits for each, the order within a partition stays.
    this.drainer = await this.options.spool.consume({
      acquired: () => Promise.resolve(),
      message: (partition, message) => mover.move(partition, message),
      lost: () => Promise.resolve(),
    });
  }

  /**
   * @throws StreamFullError the primary cannot take it and the spool is full
   * @throws StreamUnavailableError neither the primary nor the disk can take it
   */
  async append(partition: number, message: Uint8Array): Promise<void> {
    if (this.mayTry()) {
      try {
        await this.options.primary.append(partition, message);
        this.worked();
        return;
      } catch (error) {
        this.failed(error);
      }
    }
    await this.options.spool.append(partition, message);
    this.metrics.spooledMessages.inc({ direction: 'in' });
  }

  /** True while the primary works, and for one caller each `probeMs` while it does not. */
  private mayTry(): boolean {
    if (this.closedUntil === undefined) return true;
    const now = performance.now();
    if (now < this.closedUntil) return false;
    this.closedUntil = now + this.probeMs;
    return true;
  }

  private worked(): void {
    if (this.closedUntil === undefined) return;
    this.closedUntil = undefined;
    this.log.info('the stream takes messages again');
  }

  /** @throws the error, when it is not one that the spool is for */
  private failed(error: unknown): void {
    // Made before the stream came to take only smaller ones: on its way out of the spool it is divided.
    if (error instanceof MessageTooLargeError) return;
    if (!(error instanceof StreamUnavailableError || error instanceof StreamFullError)) throw error;
    if (this.closedUntil === undefined)
      this.log.warn({ reason: error.message }, 'the stream takes no messages: they go to the spool');
    this.closedUntil = performance.now() + this.probeMs;
  }

  consume(consumer: PartitionConsumer): Promise<Subscription> {
    return this.options.primary.consume(consumer);
  }

  /** Reachable while either can take messages; figures are sums. */
  async status(): Promise<StreamStatus> {
    const [first, second] = await Promise.all([this.primaryStatus(), this.options.spool.status()]);
    const isSpooling = !takesMessages(first);
    const details = [first.detail, second.detail].filter((detail) => detail !== undefined);
    if (second.lagMessages > 0) details.push(`${second.lagMessages} messages wait in the spool`);
    return {
      reachable: !isSpooling || takesMessages(second),
      isSpooling,
      lagMessages: first.lagMessages + second.lagMessages,
      bytes: first.bytes + second.bytes,
      limitBytes: first.limitBytes + second.limitBytes,
      fill: (first.reachable ? first : second).fill,
      ...(details.length > 0 ? { detail: details.join('; ') } : {}),
    };
  }

  /** A stream that hangs is not waited for: it takes nothing. */
  private async primaryStatus(): Promise<StreamStatus> {
    const late = new AbortController();
    const hung = pause(STATUS_MS, late.signal).then(() => ({
      ...this.lastStatus,
      reachable: false,
      detail: 'the stream does not answer',
    }));
    try {
      this.lastStatus = await Promise.race([this.options.primary.status(), hung]);
    } finally {
      late.abort();
    }
    return this.lastStatus;
  }

  /** The spool is that of this node. */
  async drain(signal: AbortSignal): Promise<void> {
    await this.options.spool.drain(signal);
    await this.options.primary.drain(signal);
  }

  /** Closes both. What is left in the spool stays there for the next start. */
  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    this.stopped.abort();
    await this.drainer?.stop();
    await Promise.all([this.options.primary.close(), this.options.spool.close()]);
  }
}
