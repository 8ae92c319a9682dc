/** Compressed request bodies, with a cap on what they may grow to. */
import { brotliDecompress, gunzip, type InputType, inflate, inflateRaw } from 'node:zlib';
import { AppError } from '../errors.js';

type Inflater = (
  input: InputType,
  options: { maxOutputLength: number },
  done: (error: Error | null, result: Uint8Array) => void,
) => void;

/** '' when the body is not compressed. */
export type BodyEncoding = '' | 'gzip' | 'deflate' | 'br';

/** @throws AppError `unsupported_encoding`, also for stacked encodings */
export function parseEncoding(header: string): BodyEncoding {
  if (header === '') return '';
  switch (header.trim().toLowerCase()) {
    case '':
    case 'identity':
      return '';
    case 'gzip':
    case 'x-gzip':
      return 'gzip';
    case 'deflate':
      return 'deflate';
    case 'br':
      return 'br';
    default:
      throw new AppError('unsupported_encoding', 'Content-Encoding must be gzip, deflate or br');
  }
}

/** Most bodies that grow at the same time. Node's thread pool has four threads, so more would only hold memory. */
const CONCURRENT = 8;

/** Deflate cannot grow further (1,032); brotli could make ten million bytes of a hundred, which no body worth reading does. */
const MAX_RATIO = 1_100;
/** So far a body may grow in any case. */
const SMALL_BYTES = 64 << 10;

interface Job {
  readonly bytes: Uint8Array;
  readonly encoding: Exclude<BodyEncoding, ''>;
  readonly limitBytes: number;
  /** False when the request is over and nobody waits for the result. */
  wanted(): boolean;
  done(error: AppError | null, inflated: Uint8Array): void;
}

/**
 * Inflates off the main thread, a few bodies at a time, so that many small bombs at once cannot take `limit` bytes each. Those that wait
 * hold their compressed bytes only, which the caller has accounted for.
 */
export class InflateQueue {
  readonly #waiting: Job[] = [];
  #running = 0;

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Calls `done` with `body_too_large` as soon as the limit is passed, or with `invalid_request` for damaged data. */
  add(job: Job): void {
    this.#waiting.push(job);
    this.#next();
  }

  #next(): void {
    while (this.#running < CONCURRENT) {
      const job = this.#waiting.shift();
      if (job === undefined) return;
      if (job.wanted()) this.#run(job);
    }
  }

  #run(job: Job): void {
    this.#running++;
    const limitBytes = Math.min(job.limitBytes, Math.max(SMALL_BYTES, job.bytes.length * MAX_RATIO));
    inflater(job.bytes, job.encoding)(job.bytes, { maxOutputLength: limitBytes }, (error, result) => {
      this.#running--;
      if (error === null) job.done(null, result);
      else job.done(inflateError(error, job.encoding, limitBytes), job.bytes);
      this.#next();
    });
  }
}

function inflater(bytes: Uint8Array, encoding: Exclude<BodyEncoding, ''>): Inflater {
  if (encoding === 'gzip') return gunzip;
  if (encoding === 'br') return brotliDecompress;
  return hasZlibHeader(bytes) ? inflate : inflateRaw;
}

/** HTTP's `deflate` is the zlib format (RFC 9110, 8.4.1.2), but some senders leave its header out. */
function hasZlibHeader(bytes: Uint8Array): boolean {
  const [first = 0, second = 0] = bytes;
  return (first & 0x0f) === 8 && ((first << 8) | second) % 31 === 0;
}

function inflateError(error: Error, encoding: string, limitBytes: number): AppError {
  if ('code' in error && error.code === 'ERR_BUFFER_TOO_LARGE') return tooLarge(limitBytes);
  return new AppError('invalid_request', `Request body is not valid ${encoding} data`, { cause: error });
}

export function tooLarge(limitBytes: number): AppError {
  return new AppError('body_too_large', `Request body exceeds ${limitBytes} bytes`, {
    details: { limitBytes },
  });
}
