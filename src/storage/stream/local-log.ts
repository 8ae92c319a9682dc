import { mkdir } from 'node:fs/promises';
import type { Telemetry } from '../../telemetry.js';
import { Committer } from './local/committer.js';
import { Delivery } from './local/delivery.js';
import { type DirectoryLock, lockDirectory } from './local/directory-lock.js';
import { type Disk, realDisk } from './local/disk.js';
import { recover } from './local/recovery.js';
import { type Reserve, withReserve } from './local/reserve.js';
import type { SegmentSet } from './local/segment-set.js';
import { mayBeUnderWay, SendingNote } from './local/sending-note.js';
import { readState, writeState } from './local/state-file.js';
import {
  type FrameStream,
  type PartitionConsumer,
  type StreamStatus,
  StreamUnavailableError,
  type Subscription,
} from './stream.js';
import { type StreamMetrics, streamMetrics } from './stream-metrics.js';
import { pause } from './waiting.js';

export interface LocalLogOptions {
  /** Made when it is missing; used by one process at a time. */
  readonly directory: string;
  readonly partitions: number;
  /** A new segment file is begun at this size, at a quarter of `limitBytes` at the latest. Default 64 MiB. */
  readonly segmentBytes?: number;
  /** Appends that would exceed it are refused with StreamFullError. */
  readonly limitBytes: number;
  /** Least time between the starts of two group commits under load, ms; an idle log commits at once. Default 2. */
  readonly lingerMs?: number;
  /** Bytes of fresh messages kept in memory for the consumer; beyond that it reads them back from disk. Default 64 MiB. */
  readonly memoryBytes?: number;
  /** First pause before a record that the disk could not read is read again, ms. Default 100. */
  readonly readRetryMs?: number;
  /** How often acknowledgements are made durable, ms. After a crash, younger ones come again. Default 1000. */
  readonly stateIntervalMs?: number;
  /**
   * When the last owner was killed while it was sending something to a store that lives on (see `sending`): wait this long before
   * consuming, ms, because that may still take effect. Also how far ahead an ownership is asserted. Default 0: nothing survives the process (then asserted for 60 s).
   */
  readonly takeoverMs?: number;
  /** Label of the metrics. Default `local`. */
  readonly name?: 'local' | 'spool' | 'left spool' | 'recordings';
  readonly disk?: Disk;
  /** See `LockOptions`. */
  readonly onLost?: (error: Error) => void;
  readonly telemetry: Telemetry;
}

const DEFAULT_LEASE_MS = 60_000;
const DRAIN_POLL_MS = 25;

/**
 * Opens the durable log of a directory: append-only segment files, group commit with fdatasync, consumption in this process.
 * @throws Error another process uses the directory, or it cannot be read
 */
export async function openLocalLog(options: LocalLogOptions): Promise<LocalLog> {
  const { directory, disk = realDisk } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return withReserve(disk, directory, (reserve) => open(options, disk, reserve));
}

async function open(options: LocalLogOptions, disk: Disk, reserve: Reserve): Promise<LocalLog> {
  const { directory, partitions, telemetry, name = 'local', onLost } = options;
  const lock = await lockDirectory(directory, { disk, ...(onLost === undefined ? {} : { onLost }) });
  try {
    const log = telemetry.log.child({ part: `stream ${name}` });
    const metrics = streamMetrics(telemetry.registry);
    const state = await readState(directory, log);
    const { segments, nextSequence } = await recover({
      ...{ disk, directory, state, partitions, log, metrics, name },
      check: () => lock.check(),
    });
    const mustWait = state !== undefined && !state.clean && (await mayBeUnderWay(directory));
    const opened = new LocalLog(options, lock, segments, {
      ...{ log, metrics, nextSequence, disk, name, reserve },
      epoch: (state?.epoch ?? 0) + 1,
      notBefore: mustWait ? Date.now() + (options.takeoverMs ?? 0) : 0,
    });
    await opened.writeState(false);
    return opened;
  } catch (error) {
    await lock.release();
    throw error;
  }
}

interface Opening {
  readonly log: Telemetry['log'];
  readonly metrics: StreamMetrics;
  readonly nextSequence: number;
  readonly epoch: number;
  readonly notBefore: number;
  readonly disk: Disk;
  readonly name: NonNullable<LocalLogOptions['name']>;
  readonly reserve: Reserve;
}

/** See `openLocalLog`. */
export class LocalLog implements FrameStream {
  readonly kind = 'local';
  /** A message costs little: group commit takes those of all partitions together. */
  readonly linger = { leastMs: 2, mostMs: 3 };
  readonly partitions: number;
  /** Grows with each opening of the directory. */
  readonly epoch: number;
  private readonly committer: Committer;
  /** The first one is fed; the others wait for its end. */
  private readonly deliveries: Delivery[] = [];
  private readonly note: SendingNote;
  private readonly stateTimer: NodeJS.Timeout;
  private writingState: Promise<void> | undefined;
  private isStateBroken = false;
  private closing: Promise<void> | undefined;

  constructor(
    private readonly options: LocalLogOptions,
    private readonly lock: DirectoryLock,
    private readonly segments: SegmentSet,
    private readonly opening: Opening,
  ) {
    this.partitions = options.partitions;
    this.epoch = opening.epoch;
    const { name, disk, log, metrics } = opening;
    const limitBytes = options.limitBytes;
    this.committer = new Committer(
      {
        ...{ name, disk, log, metrics, limitBytes, directory: options.directory },
        segmentBytes: Math.min(options.segmentBytes ?? 64 * 1024 * 1024, Math.ceil(limitBytes / 4)),
        lingerMs: options.lingerMs ?? 2,
        check: () => lock.check(),
        onDurable: (sequence, partition, payload) => this.deliveries[0]?.offer(sequence, partition, payload),
      },
      segments,
      opening.nextSequence,
    );
    this.note = new SendingNote(disk, options.directory, () => lock.check());
    this.stateTimer = setInterval(() => this.tick(), options.stateIntervalMs ?? 1_000);
    this.stateTimer.unref();
  }

  append(partition: number, message: Uint8Array): Promise<void> {
    return this.committer.append(partition, message);
  }

  /** A store that ends with this process is sent to without a note. */
  readonly sending = <T>(work: () => Promise<T>): Promise<T> =>
    (this.options.takeoverMs ?? 0) > 0 ? this.note.run(work) : work();

  /** All partitions belong to the first consumer; one that comes while it is there waits for its end. */
  async consume(consumer: PartitionConsumer): Promise<Subscription> {
    const { name, log, metrics, epoch, notBefore } = this.opening;
    const { takeoverMs = 0, memoryBytes = 64 * 1024 * 1024, readRetryMs = 100 } = this.options;
    const leaseMs = takeoverMs > 0 ? takeoverMs : DEFAULT_LEASE_MS;
    const delivery = new Delivery(
      {
        ...{ name, log, metrics, epoch, notBefore, leaseMs, memoryBytes, readRetryMs },
        ...{ partitions: this.partitions, segments: this.segments },
      },
      consumer,
      (stopped) => this.next(stopped),
    );
    this.deliveries.push(delivery);
    if (this.deliveries[0] === delivery) delivery.start();
    return delivery;
  }

  private next(stopped: Delivery): void {
    const at = this.deliveries.indexOf(stopped);
    this.deliveries.splice(at, 1);
    if (at === 0 && this.closing === undefined) this.deliveries[0]?.start();
  }

  status(): Promise<StreamStatus> {
    return Promise.resolve({
      reachable: this.closing === undefined && !this.committer.isFailing,
      lagMessages: this.segments.live,
      bytes: this.segments.bytes,
      limitBytes: this.options.limitBytes,
      fill: this.segments.bytes / this.options.limitBytes,
      ...(this.committer.isFailing ? { detail: 'the disk fails' } : {}),
    });
  }

  async drain(signal: AbortSignal): Promise<void> {
    const end = await this.committer.rotate();
    while (this.segments.hasBefore(end)) {
      if (this.closing !== undefined) throw new StreamUnavailableError('the log is closed');
      await pause(DRAIN_POLL_MS, signal);
      signal.throwIfAborted();
    }
  }

  private tick(): void {
    const { metrics, name } = this.opening;
    metrics.storedBytes.set({ stream: name }, this.segments.bytes);
    metrics.lagMessages.set({ stream: name }, this.segments.live);
    metrics.inFlightBytes.set({ stream: name }, this.committer.inFlightBytes);
    if (!this.segments.isDirty || this.writingState !== undefined) return;
    this.writingState = this.saveAcks().finally(() => {
      this.writingState = undefined;
    });
  }

  private async saveAcks(): Promise<void> {
    try {
      await this.writeState(false);
      await this.opening.reserve.fill();
      this.isStateBroken = false;
    } catch (error) {
      this.segments.isDirty = true;
      if (!this.isStateBroken)
        this.opening.log.error({ err: error }, 'cannot write the acknowledgements of the log: trying again');
      this.isStateBroken = true;
    }
  }

  /** Makes epoch and acknowledgements durable. */
  async writeState(clean: boolean): Promise<void> {
    await this.lock.check();
    this.segments.isDirty = false;
    const acked = [];
    for (const segment of this.segments.list) {
      const bits = segment.ackedBits();
      if (bits !== undefined) acked.push({ base: segment.base, bits: bits.toString('base64') });
    }
    const { epoch, disk } = this.opening;
    const nextSequence = this.committer.next;
    await writeState(disk, this.options.directory, { epoch, nextSequence, clean, acked });
  }

  /** Writes what waits, stops the consumer, makes the acknowledgements durable and frees the directory. */
  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  private async end(): Promise<void> {
    clearInterval(this.stateTimer);
    await this.committer.close();
    await Promise.all(this.deliveries.map((delivery) => delivery.stop()));
    await this.writingState;
    try {
      // While the last owner's writes were still waited for, or ours may take effect, so must the next opening wait.
      await this.writeState(Date.now() >= this.opening.notBefore && !this.note.isUnderWay);
    } catch (error) {
      this.opening.log.error({ err: error }, 'cannot write the acknowledgements of the log: some come again');
    } finally {
      await this.note.close();
      await this.segments.close();
      await this.lock.release();
    }
  }
}
