import type { NatsConnection } from 'nats';
import type { Logger, Telemetry } from '../../telemetry.js';
import { AckedPublisher } from './jetstream/acked-publisher.js';
import { MAX_MESSAGE_BYTES } from './jetstream/lane.js';
import { Link } from './jetstream/link.js';
import { type Names, setUp } from './jetstream/setup.js';
import { JetStreamSubscription } from './jetstream/subscription.js';
import type { FrameStream, PartitionConsumer, StreamStatus, Subscription } from './stream.js';
import { MessageTooLargeError, StreamFullError, StreamUnavailableError } from './stream.js';
import { type StreamMetrics, streamMetrics } from './stream-metrics.js';
import { pause } from './waiting.js';

export interface JetStreamOptions {
  /** `nats://user:password@host:port`, several with commas between; `tls://` for TLS. */
  readonly url: string;
  readonly streamName: string;
  /** Messages of partition N have the subject `<subject>.N`. */
  readonly subject: string;
  readonly partitions: number;
  /** Copies of the stream and of the leases in a NATS cluster. Default 1. */
  readonly replicas?: number;
  /** Bytes that the stream may hold; beyond them appends are refused with StreamFullError. */
  readonly limitBytes: number;
  /** How long a silent node keeps its partitions, ms. Default 10,000. */
  readonly leaseTtlMs?: number;
  /** Name of this node in the bucket of leases; need not be unique. */
  readonly nodeId: string;
  /** An append not acknowledged within this time fails, ms. Default 2,000. */
  readonly appendTimeoutMs?: number;
  /** Bytes that may wait for their acknowledgement. Default 64 MiB. */
  readonly maxInFlightBytes?: number;
  /** False: answer at once and connect in the background (when a spool stands in). Default true. */
  readonly waitForServer?: boolean;
  /** Ends the waiting for the server. */
  readonly signal?: AbortSignal;
  /** Label of the metrics. Default `jetstream`. */
  readonly name?: 'jetstream' | 'recordings';
  readonly telemetry: Telemetry;
}

const STATUS_AGE_MS = 1_000;
const DRAIN_POLL_MS = 50;

/**
 * Opens the JetStream stream, creating it when it is not there. Waits until the server is (with a log line), for ever if need be, unless
 * told otherwise.
 */
export async function openJetStream(options: JetStreamOptions): Promise<JetStream> {
  const stream = new JetStream(options);
  if (options.waitForServer === false) return stream;
  const { signal } = options;
  const aborted = new Promise<never>((_, reject) => {
    const stop = () => reject(new StreamUnavailableError('stopped while waiting for NATS'));
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
  });
  try {
    await Promise.race([stream.ready, aborted]);
    return stream;
  } catch (error) {
    await stream.close();
    throw error;
  }
}

/** See `openJetStream`. */
export class JetStream implements FrameStream {
  readonly kind = 'jetstream';
  /** A message costs about 130 µs of processor time, from the publisher through the server to the acknowledging writer. */
  readonly linger = { leastMs: 3, mostMs: 8 };
  readonly partitions: number;
  readonly ready: Promise<void>;
  private readonly names: Names;
  private readonly label: 'jetstream' | 'recordings';
  private readonly log: Logger;
  private readonly metrics: StreamMetrics;
  private readonly link: Link;
  private readonly publisher: AckedPublisher;
  private readonly subscriptions = new Set<JetStreamSubscription>();
  /** Known since the first connection. */
  maxMessageBytes = MAX_MESSAGE_BYTES;
  private inFlightBytes = 0;
  private lastStatus: StreamStatus;
  private statusAt = Number.NEGATIVE_INFINITY;
  private asking: Promise<StreamStatus> | undefined;
  private readonly statusTimer: NodeJS.Timeout;
  private closing: Promise<void> | undefined;

  constructor(private readonly options: JetStreamOptions) {
    const { telemetry, streamName: stream, subject, limitBytes } = options;
    this.partitions = options.partitions;
    this.label = options.name ?? 'jetstream';
    this.log = telemetry.log.child({ part: `stream ${this.label}` });
    this.metrics = streamMetrics(telemetry.registry);
    this.names = { stream, subject, bucket: `${stream}_leases` };
    this.lastStatus = { reachable: false, lagMessages: 0, bytes: 0, limitBytes, fill: 0 };
    this.link = new Link({
      url: options.url,
      name: options.nodeId,
      log: this.log,
      setUp: (connection) => this.setUp(connection),
    });
    this.ready = this.link.ready;
    this.publisher = new AckedPublisher(options.appendTimeoutMs ?? 2_000, () => this.link.repair());
    this.link.listen({
      up: (connection) => this.publisher.up(connection),
      down: () => this.publisher.failAll('the connection to NATS broke'),
    });
    this.statusTimer = setInterval(() => void this.status(), 5_000);
    this.statusTimer.unref();
  }

  private async setUp(connection: NatsConnection): Promise<void> {
    const { replicas = 1, partitions, limitBytes, leaseTtlMs = 10_000 } = this.options;
    const maxPayload = connection.info?.max_payload ?? MAX_MESSAGE_BYTES;
    if (maxPayload < MAX_MESSAGE_BYTES)
      this.log.error({ maxPayload }, 'NATS takes only small messages: set its max_payload to 1 MiB at least');
    this.maxMessageBytes = Math.min(maxPayload, MAX_MESSAGE_BYTES);
    const manager = await connection.jetstreamManager({ timeout: 5_000 });
    await setUp(manager, { ...this.names, partitions, replicas, limitBytes, leaseTtlMs }, this.log);
  }

  async append(partition: number, message: Uint8Array): Promise<void> {
    const start = performance.now();
    const size = message.byteLength;
    this.inFlightBytes += size;
    try {
      await this.publish(partition, message);
      this.metrics.appendSeconds.observe({ stream: this.label }, (performance.now() - start) / 1000);
      this.metrics.appendedMessages.inc({ stream: this.label });
      this.metrics.appendedBytes.inc({ stream: this.label }, size);
    } catch (error) {
      const reason = error instanceof StreamFullError ? 'full' : 'unavailable';
      this.metrics.appendErrors.inc({ stream: this.label, reason });
      throw error;
    } finally {
      this.inFlightBytes -= size;
    }
  }

  private publish(partition: number, message: Uint8Array): Promise<void> {
    const connection = this.link.current;
    if (connection === undefined) throw new StreamUnavailableError(`NATS at ${this.link.address} is away`);
    if (this.inFlightBytes > (this.options.maxInFlightBytes ?? 64 * 1024 * 1024))
      throw new StreamUnavailableError('too many messages wait for their acknowledgement');
    if (message.byteLength > this.maxMessageBytes)
      throw new MessageTooLargeError(
        'message is larger than 1 MiB or than the NATS server takes (max_payload)',
      );
    return this.publisher.publish(connection, `${this.names.subject}.${partition}`, message);
  }

  consume(consumer: PartitionConsumer): Promise<Subscription> {
    if (this.closing !== undefined) return Promise.reject(new StreamUnavailableError('the stream is closed'));
    const { leaseTtlMs = 10_000, nodeId } = this.options;
    const { partitions, names, log, metrics, link, label } = this;
    const subscription = new JetStreamSubscription({
      ...{ partitions, names, log, metrics, link, label, consumer, nodeId, leaseTtlMs },
      onStopped: () => this.subscriptions.delete(subscription),
    });
    this.subscriptions.add(subscription);
    return Promise.resolve(subscription);
  }

  /** The server is asked once a second at most. */
  status(): Promise<StreamStatus> {
    if (this.link.current === undefined) {
      return Promise.resolve({
        ...this.lastStatus,
        reachable: false,
        detail: `waiting for NATS at ${this.link.address}`,
      });
    }
    if (performance.now() - this.statusAt < STATUS_AGE_MS) return Promise.resolve(this.lastStatus);
    this.asking ??= this.askStatus(this.link.current).finally(() => {
      this.asking = undefined;
    });
    return this.asking;
  }

  private async askStatus(connection: NatsConnection): Promise<StreamStatus> {
    const { limitBytes } = this.options;
    try {
      const manager = await connection.jetstreamManager({ checkAPI: false, timeout: 2_000 });
      const { state } = await manager.streams.info(this.names.stream);
      const { messages: lagMessages, bytes } = state;
      this.lastStatus = { reachable: true, lagMessages, bytes, limitBytes, fill: bytes / limitBytes };
      this.metrics.lagMessages.set({ stream: this.label }, state.messages);
      this.metrics.storedBytes.set({ stream: this.label }, state.bytes);
    } catch (error) {
      const detail = error instanceof Error ? error.message : 'no answer';
      this.lastStatus = { ...this.lastStatus, reachable: false, detail };
    }
    this.metrics.inFlightBytes.set({ stream: this.label }, this.inFlightBytes);
    this.statusAt = performance.now();
    return this.lastStatus;
  }

  /** The server keeps the bytes of acknowledged messages in its files until these are full: purging up to the first live one frees them. */
  async drain(signal: AbortSignal): Promise<void> {
    const connection = this.link.current;
    if (connection === undefined) throw new StreamUnavailableError(`NATS at ${this.link.address} is away`);
    const manager = await connection.jetstreamManager({ checkAPI: false, timeout: 5_000 });
    const { stream } = this.names;
    let { state } = await manager.streams.info(stream);
    const end = state.last_seq;
    while (state.messages > 0 && state.first_seq <= end) {
      await pause(DRAIN_POLL_MS, signal);
      signal.throwIfAborted();
      ({ state } = await manager.streams.info(stream));
    }
    await manager.streams.purge(stream, {
      seq: state.messages > 0 ? state.first_seq : state.last_seq + 1,
    });
  }

  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    clearInterval(this.statusTimer);
    await Promise.all([...this.subscriptions].map((subscription) => subscription.stop()));
    this.publisher.close();
    await this.link.close();
  }
}
