import { createInbox, type Msg, type NatsConnection } from 'nats';
import { StreamFullError, StreamUnavailableError } from '../stream.js';
import { ApiError } from './setup.js';

const SWEEP_MS = 100;

interface Pending {
  readonly deadline: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Publishes with acknowledgement, many at a time over one reply subscription: cheaper than a request of the client library each,
 * which makes a timer and several promises.
 */
export class AckedPublisher {
  private readonly prefix = `${createInbox()}.`;
  /** In the order of their deadlines. */
  private readonly pending = new Map<string, Pending>();
  private connection: NatsConnection | undefined;
  private count = 0;
  private readonly sweeper: NodeJS.Timeout;

  constructor(
    private readonly timeoutMs: number,
    private readonly onStreamMissing: () => void,
  ) {
    this.sweeper = setInterval(() => this.sweep(), SWEEP_MS);
    this.sweeper.unref();
  }

  /** The subscription lives as long as the connection object, over its reconnections. */
  up(connection: NatsConnection): void {
    if (this.connection === connection) return;
    this.connection = connection;
    connection.subscribe(`${this.prefix}*`, {
      callback: (error, message) => {
        if (error === null) this.settle(message);
      },
    });
  }

  publish(connection: NatsConnection, subject: string, data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const token = (++this.count).toString(36);
      try {
        connection.publish(subject, data, { reply: this.prefix + token });
      } catch (error) {
        reject(new StreamUnavailableError('the connection to NATS is closed', { cause: error }));
        return;
      }
      this.pending.set(token, { deadline: performance.now() + this.timeoutMs, resolve, reject });
    });
  }

  private settle(message: Msg): void {
    const token = message.subject.slice(this.prefix.length);
    const pending = this.pending.get(token);
    if (pending === undefined) return;
    this.pending.delete(token);
    const failure = this.failureOf(message);
    if (failure === undefined) pending.resolve();
    else pending.reject(failure);
  }

  private failureOf(message: Msg): Error | undefined {
    if (message.headers?.code === 503) {
      this.onStreamMissing();
      return new StreamUnavailableError('NATS has no stream for the message');
    }
    let answer: { error?: { err_code?: number; description?: string } };
    try {
      answer = message.json();
    } catch (error) {
      return new StreamUnavailableError('unreadable acknowledgement', { cause: error });
    }
    if (answer.error === undefined) return undefined;
    const { err_code: code, description = 'refused' } = answer.error;
    const isFull =
      code === ApiError.storeFailed ||
      code === ApiError.storageExceeded ||
      code === ApiError.insufficientResources;
    return isFull ? new StreamFullError(description) : new StreamUnavailableError(description);
  }

  private sweep(): void {
    const now = performance.now();
    for (const [token, { deadline, reject }] of this.pending) {
      if (deadline > now) break;
      this.pending.delete(token);
      reject(new StreamUnavailableError('NATS did not acknowledge in time'));
    }
  }

  /** Nothing that was sent can be acknowledged any more (it may be stored all the same). */
  failAll(reason: string): void {
    const failing = [...this.pending.values()];
    this.pending.clear();
    for (const { reject } of failing) reject(new StreamUnavailableError(reason));
  }

  close(): void {
    clearInterval(this.sweeper);
    this.failAll('the stream is closed');
  }
}
