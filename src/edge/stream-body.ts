import { pipeline, Readable } from 'node:stream';
import { constants, createBrotliCompress, createGzip } from 'node:zlib';
import type { UwsResponse } from './uws.js';

/**
 * An answer that is made piece by piece while it is sent, so that none of its size is ever in memory. The first piece is awaited before the
 * status goes out: what fails before it is answered as an error. A failure after that ends the connection, so that nobody takes the part for
 * the whole. When the client leaves, the iterator's `return` is called. Pieces of 16 KiB and more compress well; each is sent at once.
 */
export class StreamBody {
  constructor(
    readonly pieces: AsyncIterable<Uint8Array>,
    readonly contentType: string,
    /** False for what is compressed already. */
    readonly isCompressible: boolean = true,
  ) {}
}

/** What is handed to the socket at once: a slow client makes it keep no more than that, beside what the kernel holds. */
const SLICE_BYTES = 256 * 1024;

const BROTLI = { flush: constants.BROTLI_OPERATION_FLUSH, params: { [constants.BROTLI_PARAM_QUALITY]: 1 } };
const GZIP = { flush: constants.Z_SYNC_FLUSH, level: 1 };

/** The pieces in a content encoding; null: as they are. */
export function encodedPieces(
  pieces: AsyncIterable<Uint8Array>,
  encoding: 'br' | 'gzip' | null,
): AsyncIterable<Uint8Array> {
  if (encoding === null) return pieces;
  const source = Readable.from(pieces, { objectMode: false });
  const encoder = encoding === 'br' ? createBrotliCompress(BROTLI) : createGzip(GZIP);
  // The loop over the encoder reports what fails, and its end destroys both.
  pipeline(source, encoder, () => {});
  return encoder;
}

/** Writes pieces to a client as fast as it takes them. */
export class StreamWriter {
  #wake: (() => void) | undefined;
  #left = false;

  constructor(private readonly res: UwsResponse) {
    res.onWritable(() => {
      this.#wake?.();
      return true;
    });
  }

  /** The client has left: whoever waits for it goes on. */
  abort(): void {
    this.#left = true;
    this.#wake?.();
  }

  /** @returns false when the client has left */
  async write(piece: Uint8Array): Promise<boolean> {
    // A write of nothing would end the answer.
    for (let at = 0; at < piece.length && !this.#left; at += SLICE_BYTES) {
      let taken = true;
      this.res.cork(() => {
        taken = this.res.write(piece.subarray(at, at + SLICE_BYTES));
      });
      if (!taken) await this.#room();
    }
    return !this.#left;
  }

  async #room(): Promise<void> {
    if (this.#left) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }
}
