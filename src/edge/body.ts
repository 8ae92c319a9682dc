/** Request bodies: collected from the socket within limits of size, time and memory, then inflated. */
import { AppError } from '../errors.js';
import { type BodyEncoding, InflateQueue, tooLarge } from './inflate.js';
import type { UwsResponse } from './uws.js';

export interface BodyLimits {
  /** Bytes of all request bodies that the process holds at once, from arrival to answer. */
  readonly inFlightBytes: number;
  /** ms from the request's head to the end of its body. */
  readonly timeoutMs: number;
}

/** Bytes of bodies in flight and the bodies that are still arriving; one for the app. */
export class BodyBudget {
  usedBytes = 0;
  readonly inflating = new InflateQueue();
  readonly #arriving = new Set<Body>();
  readonly #sweep: NodeJS.Timeout;

  constructor(readonly limits: BodyLimits) {
    this.#sweep = setInterval(() => this.#endSlow(), Math.min(1000, limits.timeoutMs));
    this.#sweep.unref();
  }

  get arriving(): number {
    return this.#arriving.size;
  }

  take(bytes: number): boolean {
    if (this.usedBytes + bytes > this.limits.inFlightBytes) return false;
    this.usedBytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.usedBytes -= bytes;
  }

  watch(body: Body): void {
    this.#arriving.add(body);
  }

  unwatch(body: Body): void {
    this.#arriving.delete(body);
  }

  close(): void {
    clearInterval(this.#sweep);
  }

  #endSlow(): void {
    const now = performance.now();
    for (const body of this.#arriving) {
      if (now >= body.deadline) {
        body.fail(new AppError('request_timeout', 'The request body took too long to arrive'));
      }
    }
  }
}

/** Called once: with the bytes, or with the reason why there are none. Not called after `release`. */
export type BodyDone = (error: AppError | null, bytes: Uint8Array) => void;

const EMPTY = new Uint8Array(0);

/**
 * One body. A body that comes in one piece (nearly every event) is copied once, and nothing is allocated beside the copy. After a
 * failure the rest of the body is thrown away as it comes.
 */
export class Body {
  /** As `performance.now()`. */
  readonly deadline: number;
  #chunks: Uint8Array[] | null = null;
  #received = 0;
  #held = 0;
  #done: BodyDone | null;

  constructor(
    private readonly budget: BodyBudget,
    private readonly limitBytes: number,
    private readonly encoding: BodyEncoding,
    startedAt: number,
    done: BodyDone,
  ) {
    this.deadline = startedAt + budget.limits.timeoutMs;
    this.#done = done;
  }

  /** Starts reading; must be called inside the request's handler. */
  read(res: UwsResponse): void {
    res.onData((chunk, isLast) => this.#add(chunk, isLast));
  }

  fail(error: AppError): void {
    const done = this.#done;
    this.release();
    done?.(error, EMPTY);
  }

  /** As `fail`, but does nothing to a body that has been handed over: its owner still holds it. */
  cancel(error: AppError): void {
    if (this.#done !== null) this.fail(error);
  }

  /** Frees what is held; nothing is reported afterwards. The owner calls it when the request is over, however it ended. */
  release(): void {
    this.#done = null;
    this.#dropChunks();
    this.budget.give(this.#held);
    this.#held = 0;
  }

  #add(chunk: ArrayBuffer, isLast: boolean): void {
    if (this.#done === null) return;
    const length = chunk.byteLength;
    this.#received += length;
    if (this.#received > this.limitBytes) this.fail(tooLarge(this.limitBytes));
    else if (this.#hold(length)) {
      if (isLast && this.#chunks === null) this.#complete(copyWhole(chunk));
      else this.#collect(chunk, isLast);
    }
  }

  #collect(chunk: ArrayBuffer, isLast: boolean): void {
    if (this.#chunks === null) {
      this.#chunks = [];
      this.budget.watch(this);
    }
    if (chunk.byteLength > 0) this.#chunks.push(copy(chunk));
    if (isLast) this.#join();
  }

  #hold(bytes: number): boolean {
    if (!this.budget.take(bytes)) {
      this.fail(new AppError('overloaded', 'Too many request bodies at once', { retryAfterSeconds: 1 }));
      return false;
    }
    this.#held += bytes;
    return true;
  }

  #join(): void {
    const joined = new Uint8Array(this.#received);
    let offset = 0;
    for (const part of this.#chunks ?? []) {
      joined.set(part, offset);
      offset += part.length;
    }
    this.#dropChunks();
    this.#complete(joined);
  }

  #complete(bytes: Uint8Array): void {
    if (this.encoding === '' || bytes.length === 0) this.#finish(bytes);
    else this.#inflate(bytes, this.encoding);
  }

  #inflate(bytes: Uint8Array, encoding: Exclude<BodyEncoding, ''>): void {
    this.budget.inflating.add({
      bytes,
      encoding,
      limitBytes: this.limitBytes,
      wanted: () => this.#done !== null,
      done: (error, inflated) => {
        if (this.#done === null) return;
        if (error !== null) this.fail(error);
        else if (this.#hold(inflated.length)) this.#finish(inflated);
      },
    });
  }

  #finish(bytes: Uint8Array): void {
    const done = this.#done;
    this.#done = null;
    done?.(null, bytes);
  }

  #dropChunks(): void {
    if (this.#chunks === null) return;
    this.#chunks = null;
    this.budget.unwatch(this);
  }
}

/** The chunk's memory is gone after the callback. */
function copy(chunk: ArrayBuffer): Uint8Array {
  return new Uint8Array(chunk.slice(0));
}

/** Small bodies that came whole lie one behind the other: an allocation for each costs more than the rest of reading it. */
const SLAB_BYTES = 128 << 10;
const SLAB_BODY_BYTES = 16 << 10;
let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
let slabUsed = 0;

/** As `copy`, for a body that is handled at once: one that arrives slowly would keep its neighbours' memory. */
function copyWhole(chunk: ArrayBuffer): Uint8Array {
  const length = chunk.byteLength;
  if (length > SLAB_BODY_BYTES) return copy(chunk);
  if (slabUsed + length > SLAB_BYTES) {
    slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    slabUsed = 0;
  }
  const bytes = new Uint8Array(slab.buffer, slabUsed, length);
  bytes.set(new Uint8Array(chunk));
  slabUsed += length;
  return bytes;
}
