import type { Logger } from '../../../telemetry.js';
import { MessageTooLargeError, StreamFullError, StreamUnavailableError } from '../stream.js';
import type { StreamMetrics } from '../stream-metrics.js';
import { type Disk, writeAll } from './disk.js';
import { NextSegment, type OpenSegment } from './next-segment.js';
import { HEADER_BYTES, MAX_PAYLOAD_BYTES, writeHeader } from './record.js';
import type { SegmentSet } from './segment-set.js';

const MAX_COMMIT_BYTES = 8 * 1024 * 1024;
const MAX_COMMIT_RECORDS = 4096;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;
const RETRY_AFTER_FAILURE_MS = 500;

export interface CommitterOptions {
  readonly name: string;
  readonly directory: string;
  readonly segmentBytes: number;
  readonly limitBytes: number;
  readonly lingerMs: number;
  readonly disk: Disk;
  /** @throws Error the directory has another owner */
  readonly check: () => Promise<void>;
  readonly log: Logger;
  readonly metrics: StreamMetrics;
  /** A record has become durable. */
  readonly onDurable: (sequence: number, partition: number, payload: Uint8Array) => void;
}

interface Waiting {
  readonly partition: number;
  readonly payload: Uint8Array;
  readonly since: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Group commit: all appends that come while a flush runs, or within the linger since the last one began, go out as one write that is
 * durable when it returns. When nothing is going on an append is written at once.
 */
export class Committer {
  private waiting: Waiting[] = [];
  private waitingBytes = 0;
  private active: OpenSegment | undefined;
  private readonly following: NextSegment;
  /** Files being closed. */
  private readonly closings = new Set<Promise<void>>();
  private running: Promise<void> | undefined;
  /** Calls off the commit that is going to start. */
  private cancelStart: (() => void) | undefined;
  private lastStart = 0;
  private failedAt = Number.NEGATIVE_INFINITY;
  private isBroken = false;
  private closed = false;

  constructor(
    private readonly options: CommitterOptions,
    private readonly segments: SegmentSet,
    private nextSequence: number,
  ) {
    this.following = new NextSegment(options.disk, options.directory);
  }

  /** Number of the next record. */
  get next(): number {
    return this.nextSequence;
  }

  /** Has the last write failed, and is it too early to try again? */
  get isFailing(): boolean {
    return performance.now() - this.failedAt < RETRY_AFTER_FAILURE_MS;
  }

  append(partition: number, payload: Uint8Array): Promise<void> {
    const refusal = this.refusal(payload.byteLength);
    if (refusal !== undefined) {
      const reason = refusal instanceof StreamFullError ? 'full' : 'unavailable';
      this.options.metrics.appendErrors.inc({ stream: this.options.name, reason });
      return Promise.reject(refusal);
    }
    return new Promise((resolve, reject) => {
      this.waiting.push({ partition, payload, since: performance.now(), resolve, reject });
      this.waitingBytes += HEADER_BYTES + payload.byteLength;
      this.schedule();
    });
  }

  private refusal(bytes: number): Error | undefined {
    if (this.closed) return new StreamUnavailableError('the log is closed');
    if (bytes > MAX_PAYLOAD_BYTES) return new MessageTooLargeError('message is too large for the log');
    if (this.isFailing) return new StreamUnavailableError('the disk of the log fails');
    const total = this.segments.bytes + this.waitingBytes + HEADER_BYTES + bytes;
    if (total > this.options.limitBytes) return new StreamFullError('the log has reached its byte limit');
    if (this.waitingBytes > MAX_WAITING_BYTES)
      return new StreamFullError('too many appends wait for the disk');
    return undefined;
  }

  private schedule(): void {
    if (this.running !== undefined || this.cancelStart !== undefined || this.waiting.length === 0) return;
    const wait = this.lastStart + this.options.lingerMs - performance.now();
    if (wait > 0) {
      const timer = setTimeout(() => this.start(), wait);
      this.cancelStart = () => clearTimeout(timer);
    } else {
      // Gathers the appends of this turn of the event loop.
      const immediate = setImmediate(() => this.start());
      this.cancelStart = () => clearImmediate(immediate);
    }
  }

  private start(): void {
    this.cancelStart = undefined;
    this.running = this.commit().finally(() => {
      this.running = undefined;
      this.schedule();
    });
  }

  private async commit(): Promise<void> {
    this.lastStart = performance.now();
    const { batch, bytes } = this.take();
    try {
      await this.write(batch, bytes);
      this.settle(batch);
      this.note(undefined);
    } catch (error) {
      this.failedAt = performance.now();
      await this.abandonActive();
      this.note(error);
      const failure = new StreamUnavailableError('the disk of the log fails', { cause: error });
      for (const { reject } of batch) reject(failure);
      this.options.metrics.appendErrors.inc(
        { stream: this.options.name, reason: 'unavailable' },
        batch.length,
      );
    } finally {
      this.waitingBytes -= bytes;
    }
  }

  /** Logs when the disk begins to fail and when it is well again. */
  private note(error: unknown): void {
    const { log, directory } = this.options;
    if (error !== undefined && !this.isBroken)
      log.error({ err: error, directory }, 'cannot write to the log');
    if (error === undefined && this.isBroken) log.info({ directory }, 'the log can be written again');
    this.isBroken = error !== undefined;
  }

  private take(): { batch: Waiting[]; bytes: number } {
    const maxBytes = Math.min(MAX_COMMIT_BYTES, this.options.segmentBytes);
    let bytes = 0;
    let count = 0;
    for (const { payload } of this.waiting) {
      if (count > 0 && (bytes + payload.byteLength > maxBytes || count >= MAX_COMMIT_RECORDS)) break;
      bytes += HEADER_BYTES + payload.byteLength;
      count++;
    }
    const batch = this.waiting;
    this.waiting = batch.length === count ? [] : batch.splice(count);
    return { batch, bytes };
  }

  private async write(batch: readonly Waiting[], bytes: number): Promise<void> {
    const { disk, metrics, name, check } = this.options;
    await check();
    const { segment, fd, isSynced } = await this.segmentFor(bytes);
    let sequence = this.nextSequence;
    // A failed write keeps its numbers: what of it reached the disk can never be taken for something else.
    this.nextSequence += batch.length;
    const headers = Buffer.allocUnsafe(batch.length * HEADER_BYTES);
    const buffers: Uint8Array[] = [];
    for (const [i, { partition, payload }] of batch.entries()) {
      writeHeader(headers, i * HEADER_BYTES, partition, sequence + i, payload);
      buffers.push(headers.subarray(i * HEADER_BYTES, (i + 1) * HEADER_BYTES), payload);
    }
    await writeAll(disk, fd, buffers, segment.bytes);
    if (!isSynced) await disk.datasync(fd);
    metrics.commits.inc({ stream: name });
    for (const { partition, payload } of batch) {
      segment.add(sequence, partition, segment.bytes, payload.byteLength);
      segment.bytes += HEADER_BYTES + payload.byteLength;
      sequence++;
    }
    this.segments.bytes += bytes;
    this.segments.live += batch.length;
    const { segmentBytes } = this.options;
    if (segment.bytes > segmentBytes / 2)
      this.following.prepare(this.nextSequence + Math.ceil(segmentBytes / HEADER_BYTES));
  }

  /** The file that takes the next commit; `nextSequence` is the number of its next record. */
  private async segmentFor(bytes: number): Promise<OpenSegment> {
    if (this.active !== undefined && this.active.segment.bytes + bytes > this.options.segmentBytes)
      this.sealActive(this.active);
    if (this.active === undefined) {
      // A name that could not be made is not tried again: it may be there after all.
      const opened = await this.following.take(this.nextSequence).catch((error: unknown) => {
        this.nextSequence++;
        throw error;
      });
      this.nextSequence = opened.segment.base;
      this.active = opened;
      this.segments.add(opened.segment);
    }
    return this.active;
  }

  private settle(batch: readonly Waiting[]): void {
    const { metrics, name, onDurable } = this.options;
    const now = performance.now();
    let sequence = this.nextSequence - batch.length;
    let bytes = 0;
    for (const { partition, payload, since, resolve } of batch) {
      metrics.appendSeconds.observe({ stream: name }, (now - since) / 1000);
      bytes += payload.byteLength;
      resolve();
      onDurable(sequence++, partition, payload);
    }
    metrics.appendedMessages.inc({ stream: name }, batch.length);
    metrics.appendedBytes.inc({ stream: name }, bytes);
  }

  private sealActive({ segment, fd }: OpenSegment): void {
    this.active = undefined;
    this.segments.seal(segment);
    const closing = this.options.disk
      .close(fd)
      .catch((error: unknown) => {
        this.options.log.warn({ err: error, segment: segment.path }, 'cannot close a segment of the log');
      })
      .finally(() => this.closings.delete(closing));
    this.closings.add(closing);
  }

  /** After a failed write or flush nothing past the last good byte can be trusted: cut it off and go on in a new file. */
  private async abandonActive(): Promise<void> {
    const active = this.active;
    if (active === undefined) return;
    try {
      await this.options.disk.truncate(active.fd, active.segment.bytes);
    } catch {
      // Recovery skips it; sound records in it were reported as failed, so they come as duplicates.
    }
    this.sealActive(active);
  }

  /**
   * Ends the active file, so that it goes with its last acknowledgement.
   * @returns number of the first record that is in a later file
   */
  async rotate(): Promise<number> {
    while (this.running !== undefined) await this.running;
    // What is appended while the file is closed goes into the next one.
    const end = this.nextSequence;
    if (this.active !== undefined) this.sealActive(this.active);
    return end;
  }

  /** Bytes of the appends that wait for their flush. */
  get inFlightBytes(): number {
    return this.waitingBytes;
  }

  /** Writes what waits, then refuses everything. */
  async close(): Promise<void> {
    this.closed = true;
    while (this.running !== undefined || this.waiting.length > 0) {
      this.cancelStart?.();
      if (this.running === undefined) this.start();
      await this.running;
    }
    if (this.active !== undefined) this.sealActive(this.active);
    await this.following.close();
    await Promise.all(this.closings);
  }
}
