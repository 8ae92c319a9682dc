/** A request body that is read while it arrives: a slow reader slows the sender down, so that a body of any size takes little memory. */
import { AppError } from '../errors.js';
import type { BodyBudget } from './body.js';
import { tooLarge } from './inflate.js';
import type { UwsResponse } from './uws.js';

/** So much waits for the reader before the sender is held back. */
const HIGH_BYTES = 512 * 1024;
const LEFT = new AppError('request_timeout', 'The client left');

/** The pieces in order. The iterator throws the AppError that ended the body early. To be read once. */
export class BodyStream implements AsyncIterable<Uint8Array> {
  readonly #chunks: Uint8Array[] = [];
  #waitingBytes = 0;
  #received = 0;
  #ended = false;
  #error: AppError | null = null;
  #paused = false;
  #over = false;
  #wake: (() => void) | undefined;
  #idle: NodeJS.Timeout | undefined;

  /** @param limitBytes of the whole body */
  constructor(
    private readonly res: UwsResponse,
    private readonly budget: BodyBudget,
    private readonly limitBytes: number,
  ) {}

  /** Starts reading; must be called inside the request's handler. */
  start(): void {
    this.#watch();
    this.res.onData((chunk, isLast) => this.#add(chunk, isLast));
  }

  /** The client has left. The response must not be touched any more. */
  cancel(): void {
    this.#paused = false;
    this.#fail(LEFT);
    this.#over = true;
  }

  /**
   * Nobody reads on: what still comes is thrown away. Must be called before the request is answered.
   * @returns whether the body had arrived
   */
  stop(): boolean {
    this.#over = true;
    this.#drop();
    clearTimeout(this.#idle);
    this.#resume();
    return this.#ended;
  }

  /** Frees what is held. */
  release(): void {
    this.#over = true;
    this.#drop();
    clearTimeout(this.#idle);
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#waitingBytes -= chunk.length;
        this.budget.give(chunk.length);
        if (this.#waitingBytes < HIGH_BYTES / 2) this.#resume();
        yield chunk;
      } else if (this.#error !== null) throw this.#error;
      else if (this.#ended) return;
      else if (this.#over) throw LEFT;
      else await this.#more();
    }
  }

  #add(chunk: ArrayBuffer, isLast: boolean): void {
    if (this.#over || this.#error !== null) {
      this.#ended ||= isLast;
      return;
    }
    this.#received += chunk.byteLength;
    if (this.#received > this.limitBytes) {
      this.#fail(tooLarge(this.limitBytes));
      return;
    }
    if (chunk.byteLength > 0 && !this.#hold(chunk)) {
      this.#fail(new AppError('overloaded', 'Too many request bodies at once', { retryAfterSeconds: 1 }));
      return;
    }
    this.#ended = isLast;
    if (isLast) clearTimeout(this.#idle);
    else this.#pace();
    this.#wake?.();
  }

  /** The chunk's memory is gone after the callback. */
  #hold(chunk: ArrayBuffer): boolean {
    if (!this.budget.take(chunk.byteLength)) return false;
    this.#chunks.push(new Uint8Array(chunk.slice(0)));
    this.#waitingBytes += chunk.byteLength;
    return true;
  }

  #pace(): void {
    if (this.#paused) return;
    this.#watch();
    if (this.#waitingBytes < HIGH_BYTES) return;
    this.#paused = true;
    clearTimeout(this.#idle);
    this.res.pause();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.res.resume();
    if (!this.#over) this.#watch();
  }

  /** The sender has this long for the next piece. While we hold it back no time passes. */
  #watch(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(
      () => this.#fail(new AppError('request_timeout', 'The request body took too long to arrive')),
      this.budget.limits.timeoutMs,
    );
    this.#idle.unref();
  }

  #fail(error: AppError): void {
    clearTimeout(this.#idle);
    if (this.#over || this.#error !== null || this.#ended) return;
    this.#error = error;
    this.#drop();
    this.#wake?.();
  }

  #drop(): void {
    this.budget.give(this.#waitingBytes);
    this.#waitingBytes = 0;
    this.#chunks.length = 0;
  }

  async #more(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }
}
