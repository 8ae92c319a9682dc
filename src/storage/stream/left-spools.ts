import { readdir, rm, rmdir, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Logger, Telemetry } from '../../telemetry.js';
import { RESERVE } from './local/reserve.js';
import { DAMAGED } from './local/segment-set.js';
import { type LocalLog, openLocalLog } from './local-log.js';
import { Mover } from './mover.js';
import { patiently } from './patiently.js';
import type {
  FrameStream,
  Linger,
  PartitionConsumer,
  StreamMessage,
  StreamStatus,
  Subscription,
} from './stream.js';
import { streamMetrics } from './stream-metrics.js';
import { createStop, pause } from './waiting.js';

export interface LeftSpoolsOptions {
  /** What is used and answered for; closed with the result. */
  readonly stream: FrameStream;
  /** Where the messages go. */
  readonly target: FrameStream;
  /** Spools of processes that are no more. Their folders are removed when they are empty. */
  readonly directories: readonly string[];
  /** Local logs that were the stream before the target was. Their folders are removed, too. */
  readonly formerStreams?: readonly string[];
  /** As long may something that their last owner had sent to a store still take effect after it was killed, ms. Default 0. */
  readonly takeoverMs?: number;
  readonly limitBytes: number;
  /** Ends the waiting for a process that still ends. */
  readonly signal: AbortSignal;
  readonly telemetry: Telemetry;
}

const RETRY_FIRST_MS = 50;
const RETRY_LAST_MS = 1_000;

/**
 * A stream that also works off spools which earlier processes of this node have left.
 * @throws Error a process uses one of the folders
 */
export async function withLeftSpools(options: LeftSpoolsOptions): Promise<FrameStream> {
  const left: LeftSpool[] = [];
  try {
    for (const directory of options.directories) left.push(await LeftSpool.open(directory, false, options));
    for (const directory of options.formerStreams ?? [])
      left.push(await LeftSpool.open(directory, true, options));
  } catch (error) {
    await Promise.allSettled(left.map((spool) => spool.close()));
    throw error;
  }
  return new StreamWithLeftSpools(options.stream, left);
}

class StreamWithLeftSpools implements FrameStream {
  readonly kind: FrameStream['kind'];
  readonly partitions: number;
  readonly linger: Linger;

  get maxMessageBytes(): number | undefined {
    return this.stream.maxMessageBytes;
  }

  get sending(): FrameStream['sending'] {
    return this.stream.sending;
  }

  constructor(
    private readonly stream: FrameStream,
    private readonly left: readonly LeftSpool[],
  ) {
    this.kind = stream.kind;
    this.partitions = stream.partitions;
    this.linger = stream.linger ?? { leastMs: 3, mostMs: 3 };
  }

  append(partition: number, message: Uint8Array): Promise<void> {
    return this.stream.append(partition, message);
  }

  consume(consumer: PartitionConsumer): Promise<Subscription> {
    return this.stream.consume(consumer);
  }

  /** What is left counts as waiting, so that nobody throws a disk away with it. */
  async status(): Promise<StreamStatus> {
    const [status, ...left] = await Promise.all([
      this.stream.status(),
      ...this.left.map((spool) => spool.waiting()),
    ]);
    const waiting = left.reduce((sum, messages) => sum + messages, 0);
    if (waiting === 0) return status;
    const details = [status.detail, `${waiting} messages wait in what earlier processes have left on disk`];
    return {
      ...status,
      lagMessages: status.lagMessages + waiting,
      detail: details.filter((detail) => detail !== undefined).join('; '),
    };
  }

  async drain(signal: AbortSignal): Promise<void> {
    await Promise.all(this.left.map((spool) => spool.drain(signal)));
    await this.stream.drain(signal);
  }

  async close(): Promise<void> {
    try {
      await Promise.all(this.left.map((spool) => spool.close()));
    } finally {
      await this.stream.close();
    }
  }
}

class LeftSpool {
  readonly #stopped = createStop();
  readonly #mover: Mover;
  readonly #log: Logger;
  #subscription: Subscription | undefined;
  /** The spool is being closed, for whatever reason. */
  #closing: Promise<void> | undefined;

  private constructor(
    private readonly directory: string,
    private readonly spool: LocalLog,
    target: FrameStream,
    private readonly isFormerStream: boolean,
    telemetry: Telemetry,
  ) {
    const log = telemetry.log.child({ part: 'left spool', directory });
    this.#log = log;
    this.#mover = new Mover({
      ...{ target, log, isRepartitioning: isFormerStream, retryMs: RETRY_LAST_MS },
      ...{ signal: this.#stopped.signal, metrics: streamMetrics(telemetry.registry) },
    });
  }

  static async open(
    directory: string,
    isFormerStream: boolean,
    options: LeftSpoolsOptions,
  ): Promise<LeftSpool> {
    const { target, limitBytes, telemetry, signal, takeoverMs = 0 } = options;
    const { partitions } = target;
    // Its last owner may still be ending, when its parent was killed.
    const spool = await patiently(
      () =>
        openLocalLog({
          ...{ directory, partitions, limitBytes, name: 'left spool', telemetry },
          takeoverMs: isFormerStream ? takeoverMs : 0,
        }),
      signal,
    );
    const left = new LeftSpool(directory, spool, target, isFormerStream, telemetry);
    await left.#start();
    return left;
  }

  async #start(): Promise<void> {
    const messages = await this.waiting();
    if (messages === 0) return this.#finish();
    this.#log.warn(
      { messages },
      this.isFormerStream
        ? 'taking over what waits in the local log that was the stream before'
        : 'taking over what an earlier process of this node has spooled',
    );
    this.#subscription = await this.spool.consume({
      acquired: () => Promise.resolve(),
      message: (partition, message) => this.#move(partition, message),
      lost: () => Promise.resolve(),
    });
  }

  async #move(partition: number, message: StreamMessage): Promise<void> {
    await this.#mover.move(partition, message);
    if ((await this.waiting()) === 0) void this.#finish();
  }

  async waiting(): Promise<number> {
    return this.#closing === undefined ? (await this.spool.status()).lagMessages : 0;
  }

  async drain(signal: AbortSignal): Promise<void> {
    while ((await this.waiting()) > 0) {
      await pause(RETRY_FIRST_MS, signal);
      signal.throwIfAborted();
    }
  }

  /** What is left stays for the next start. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  /** Everything is in the stream: the folder goes. */
  #finish(): Promise<void> {
    this.#closing ??= this.#end()
      .then(() => this.#remove())
      .catch((err: unknown) => {
        this.#log.warn({ err }, 'a spool that was worked off could not be removed');
      });
    return this.#closing;
  }

  async #end(): Promise<void> {
    this.#stopped.abort();
    await this.#subscription?.stop();
    await this.spool.close();
  }

  async #remove(): Promise<void> {
    for (const name of await readdir(this.directory))
      if (!name.endsWith(DAMAGED)) await rm(join(this.directory, name), { recursive: true, force: true });
    // What the disk could not read stays, for people.
    await rmdir(this.directory).catch(() => {});
    const owner = dirname(this.directory);
    if (!/^process-\d+$/.test(basename(owner))) return;
    // The room that it kept, and of a process that was killed its claim; a folder that holds anything else stays.
    for (const name of [RESERVE, 'lock']) await unlink(join(owner, name)).catch(() => {});
    await rmdir(owner).catch(() => {});
  }
}
