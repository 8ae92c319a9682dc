import { createInbox, type JetStreamManager, type Msg, type NatsConnection, nanos } from 'nats';
import type { Logger } from '../../../telemetry.js';
import type { PartitionConsumer, StreamMessage } from '../stream.js';
import { Backoff, createStop, Fifo, pause, Signal } from '../waiting.js';
import type { Lease } from './leases.js';
import { consumerName, deleteConsumer, type Names, replaceConsumer } from './setup.js';

/** A pull's byte limit must have room for any message. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
const BATCH = 256;
const BATCH_BYTES = 3 * MAX_MESSAGE_BYTES;
const EXPIRES_MS = 30_000;
const HEARTBEAT_MS = 5_000;
const SILENCE_MS = 12_500;
const ACKED = Promise.resolve();

export interface LaneOptions {
  readonly names: Names;
  readonly lease: Lease;
  readonly consumer: PartitionConsumer;
  readonly log: Logger;
  /** The connection, while it is up. */
  readonly current: () => NatsConnection | undefined;
  readonly onDelivered: () => void;
}

interface Fetched {
  readonly sequence: number;
  readonly message: Msg;
}

/** A message in the consumer's hands. */
interface Held {
  reply: string;
  isAcked: boolean;
}

/**
 * Consumes one owned partition: a pull consumer of its own in the server, one pull at a time, messages handed over one after the other.
 * After each gap in the connection the consumer is made anew, so that what was lost on the wire comes at once and not after the server's
 * waiting time; what the consumer still has in hand is recognised and not given twice.
 */
export class Lane {
  private generation = 0;
  private name: string | undefined;
  private readonly queue = new Fifo<Fetched>();
  private readonly signal = new Signal();
  private readonly held = new Map<number, Held>();
  private readonly stopped = createStop();
  private subscription: { unsubscribe(): void } | undefined;
  private pull: { inbox: string; left: number; heardAt: number } | undefined;
  private watchdog: NodeJS.Timeout | undefined;
  private restarting: Promise<void> | undefined;
  private isRestartWanted = false;
  private isStarted = false;
  private queuedBytes = 0;

  constructor(private readonly options: LaneOptions) {}

  /** Once the consumer said that it has taken the partition over. */
  start(): void {
    this.isStarted = true;
    this.restart();
    this.watchdog = setInterval(() => this.watch(), HEARTBEAT_MS);
    this.watchdog.unref();
    void this.deliver();
  }

  /** Makes the server's consumer anew and delivers from the oldest unacknowledged message on. */
  restart(): void {
    if (!this.isStarted) return;
    this.isRestartWanted = true;
    this.restarting ??= this.restartAll().finally(() => {
      this.restarting = undefined;
    });
  }

  private async restartAll(): Promise<void> {
    const backoff = new Backoff(100, 5_000);
    const { signal } = this.stopped;
    while (this.isRestartWanted && !signal.aborted) {
      this.isRestartWanted = false;
      const connection = this.options.current();
      if (connection === undefined) return; // the next `up` restarts
      try {
        await this.open(connection);
      } catch (error) {
        const { partition } = this.options.lease;
        this.options.log.warn({ err: error, partition }, 'cannot consume the partition yet: trying again');
        this.isRestartWanted = true;
        await pause(backoff.take(), signal);
      }
    }
  }

  private async open(connection: NatsConnection): Promise<void> {
    const { names, lease } = this.options;
    const { partition, epoch } = lease;
    this.closePull();
    while (this.queue.shift() !== undefined);
    this.queuedBytes = 0;
    const manager = await connection.jetstreamManager({ checkAPI: false });
    if (lease.validUntil() === 0) return;
    const name = consumerName(partition, epoch, ++this.generation);
    if (this.name !== undefined) await deleteConsumer(manager, names.stream, this.name);
    await replaceConsumer(manager, names, partition, name);
    this.name = name;
    if (this.stopped.signal.aborted) return;
    const inbox = createInbox();
    this.subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error === null && this.pull?.inbox === inbox) this.take(message, this.pull);
      },
    });
    this.pull = { inbox, left: 0, heardAt: performance.now() };
    this.pullMore();
  }

  private closePull(): void {
    this.subscription?.unsubscribe();
    this.subscription = undefined;
    this.pull = undefined;
  }

  /** Asks for more once what was asked for is answered and half of it is handed over. */
  private pullMore(): void {
    const connection = this.options.current();
    const { pull, name } = this;
    if (pull === undefined || pull.left > 0) return;
    if (this.queue.length > BATCH / 2 || this.queuedBytes > BATCH_BYTES / 2) return;
    if (connection === undefined || name === undefined) return;
    pull.left = BATCH;
    pull.heardAt = performance.now();
    const request = {
      batch: BATCH,
      max_bytes: BATCH_BYTES,
      expires: nanos(EXPIRES_MS),
      idle_heartbeat: nanos(HEARTBEAT_MS),
    };
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${this.options.names.stream}.${name}`;
    connection.publish(subject, JSON.stringify(request), { reply: pull.inbox });
  }

  private take(message: Msg, pull: { left: number; heardAt: number }): void {
    pull.heardAt = performance.now();
    const sequence = message.reply === undefined ? undefined : streamSequence(message.reply);
    if (sequence !== undefined) {
      pull.left--;
      this.queue.push({ sequence, message });
      this.queuedBytes += message.data.byteLength;
      this.signal.set();
      return;
    }
    const code = message.headers?.code ?? 0;
    if (code === 100) return;
    pull.left = 0;
    const isOver = code === 409 && /consumer deleted/i.test(message.headers?.description ?? '');
    if (isOver || code === 503) this.later(() => this.restart());
    else this.pullMore();
  }

  /** Not in the middle of what may be our own deletion, nor in a tight loop. */
  private later(action: () => void): void {
    if (this.restarting !== undefined) return;
    setTimeout(() => {
      if (!this.stopped.signal.aborted) action();
    }, 100).unref();
  }

  private watch(): void {
    const { pull } = this;
    if (this.options.current() === undefined || this.restarting !== undefined) return;
    if (pull === undefined || (pull.left > 0 && performance.now() - pull.heardAt > SILENCE_MS))
      this.restart();
  }

  private async deliver(): Promise<void> {
    while (!this.stopped.signal.aborted) {
      const next = this.queue.shift();
      this.queuedBytes -= next?.message.data.byteLength ?? 0;
      this.pullMore();
      if (next === undefined) await this.signal.wait();
      else if (next.message.reply !== undefined) await this.handOver(next, next.message.reply);
    }
  }

  private async handOver({ sequence, message }: Fetched, reply: string): Promise<void> {
    const known = this.held.get(sequence);
    if (known !== undefined) {
      known.reply = reply;
      if (known.isAcked) this.acknowledge(sequence, known);
      return;
    }
    const held: Held = { reply, isAcked: false };
    this.held.set(sequence, held);
    const handed: StreamMessage = {
      data: message.data,
      ack: () => {
        if (!held.isAcked) this.acknowledge(sequence, held);
        return ACKED;
      },
    };
    this.options.onDelivered();
    await this.giveUntilTaken(handed);
  }

  private async giveUntilTaken(message: StreamMessage): Promise<void> {
    const { consumer, lease, log } = this.options;
    const backoff = new Backoff(100, 5_000);
    const { signal } = this.stopped;
    while (!signal.aborted) {
      try {
        await consumer.message(lease.partition, message);
        return;
      } catch (error) {
        const { partition } = lease;
        log.error({ err: error, partition }, 'consumer failed on a message: it comes again');
        await pause(backoff.take(), signal);
      }
    }
  }

  private acknowledge(sequence: number, held: Held): void {
    held.isAcked = true;
    const connection = this.options.current();
    // While the server is away the acknowledgement is kept for the message's next coming.
    if (connection === undefined) return;
    this.held.delete(sequence);
    connection.publish(held.reply);
  }

  /** Nothing is delivered any more; acknowledgements still go out. */
  stop(): void {
    this.stopped.abort();
    clearInterval(this.watchdog);
    this.closePull();
    this.signal.set();
  }

  /** Removes the server's consumer, so that what is not acknowledged is free at once. */
  async remove(): Promise<void> {
    await this.restarting;
    const connection = this.options.current();
    if (connection === undefined || this.name === undefined) return;
    const manager: JetStreamManager = await connection.jetstreamManager({ checkAPI: false });
    await deleteConsumer(manager, this.options.names.stream, this.name);
  }
}

/**
 * Stream sequence in a delivered message's reply subject: `$JS.ACK.stream.consumer.delivered.SEQUENCE…`, or with domain and account
 * before the stream where there are more than nine tokens.
 */
function streamSequence(reply: string): number | undefined {
  if (!reply.startsWith('$JS.ACK.')) return undefined;
  const tokens = reply.split('.');
  const sequence = Number(tokens[tokens.length > 9 ? 7 : 5]);
  return Number.isSafeInteger(sequence) ? sequence : undefined;
}
