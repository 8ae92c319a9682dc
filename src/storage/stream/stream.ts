/** A durable, partitioned, at-least-once log of messages (events/frame.ts), with one consumer a partition in the whole cluster. */
export interface FrameStream {
  readonly kind: 'jetstream' | 'local' | 'spooled';
  readonly partitions: number;
  /** What a message costs, as the time worth gathering frames for one under load. Undefined: no opinion. */
  readonly linger?: Linger;
  /** Largest message that the stream takes at the moment, bytes. Undefined: any that is ever made. */
  readonly maxMessageBytes?: number | undefined;
  /**
   * Resolves once the message survives `kill -9` of every process (P1): acknowledged by JetStream or fsynced.
   * @throws StreamUnavailableError the stream is away; the caller may spool or answer 503
   * @throws StreamFullError the byte limit is reached
   * @throws MessageTooLargeError the message has more bytes than the stream takes
   */
  append(partition: number, message: Uint8Array): Promise<void>;
  /**
   * Competes for partitions (leases) and feeds the consumer with their messages until `stop`. Never throws for a stream that is
   * away: it keeps trying and logs.
   */
  consume(consumer: PartitionConsumer): Promise<Subscription>;
  /**
   * Does what sends rows to the event store. The next owner of a local stream waits for them to take effect only when this one was killed
   * meanwhile. Undefined: leases tell.
   * @throws StreamUnavailableError nothing was sent
   */
  readonly sending?: (<T>(work: () => Promise<T>) => Promise<T>) | undefined;
  status(): Promise<StreamStatus>;
  /**
   * Resolves once everything appended before the call has been acknowledged and its bytes are gone from the stream. Needs a consumer, here
   * or on another node.
   * @throws StreamUnavailableError the stream is away; the signal's reason
   */
  drain(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Time between two messages of a partition under load, ms: the least, and the most when many partitions are busy. */
export interface Linger {
  readonly leastMs: number;
  readonly mostMs: number;
}

export interface PartitionConsumer {
  /** This node has become the owner. Messages follow after it resolves. */
  acquired(ownership: PartitionOwnership): Promise<void>;
  /** One message; the next of the same partition comes after the promise resolves (back-pressure). */
  message(partition: number, message: StreamMessage): Promise<void>;
  /**
   * Ownership ends (released, lost or closing); unacknowledged messages will come again, here or elsewhere. Comes after `acquired` has
   * resolved, also while a `message` is pending. When `validUntil` is still ahead, acknowledgements until it resolves count.
   */
  lost(partition: number): Promise<void>;
}

export interface PartitionOwnership {
  readonly partition: number;
  /** Fencing token: grows with each change of owner. */
  readonly epoch: number;
  /** ms since epoch until which nobody else can own the partition. Nothing may be written to the store past it. */
  validUntil(): number;
}

export interface StreamMessage {
  readonly data: Uint8Array;
  /** Earlier messages of the partition may still be unacknowledged. Idempotent; failure only means redelivery. */
  ack(): Promise<void>;
}

export interface Subscription {
  /** Partitions owned now. */
  owned(): readonly number[];
  /** Stops delivery, calls `lost` for each partition, releases the leases. */
  stop(): Promise<void>;
}

export interface StreamStatus {
  readonly reachable: boolean;
  /** Messages appended and not yet acknowledged by a writer. */
  readonly lagMessages: number;
  readonly bytes: number;
  readonly limitBytes: number;
  /** How full is what takes the next message, 0 to 1: the spool while the stream is away. */
  readonly fill: number;
  /** The stream itself takes nothing at the moment: what comes goes to the spool. */
  readonly isSpooling?: boolean;
  readonly detail?: string;
}

/** A message may have so many bytes; less room than that (or, of a small log, than an eighth of it) is none to rely on. */
const LARGE_MESSAGE_BYTES = 1 << 20;

/** Whether the next message is taken, whatever its size. */
export function takesMessages({ reachable, bytes, limitBytes }: StreamStatus): boolean {
  return reachable && limitBytes - bytes >= Math.min(LARGE_MESSAGE_BYTES, limitBytes / 8);
}

export class StreamUnavailableError extends Error {
  override readonly name = 'StreamUnavailableError';
}

export class MessageTooLargeError extends Error {
  override readonly name = 'MessageTooLargeError';
}

export class StreamFullError extends Error {
  override readonly name = 'StreamFullError';
}
