import { brotliCompressSync, brotliDecompress, constants } from 'node:zlib';

const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_SIZE_HINT, BROTLI_PARAM_MODE, BROTLI_MODE_TEXT } = constants;

/**
 * Compresses a chunk's events. Brotli of the lowest quality that finds repetitions: as small as gzip 6 in a fifth of its time
 * (docs/decisions/0006-replays.md). In the pool's worker, therefore at once.
 */
export function compressEvents(json: Uint8Array): Uint8Array {
  return brotliCompressSync(json, {
    params: {
      [BROTLI_PARAM_QUALITY]: 1,
      [BROTLI_PARAM_MODE]: BROTLI_MODE_TEXT,
      [BROTLI_PARAM_SIZE_HINT]: json.length,
    },
  });
}

/**
 * The JSON text of a chunk's events.
 * @param rawBytes its length: what is longer is damaged and never inflated
 * @throws Error when the bytes are damaged
 */
export function inflateEvents(data: Uint8Array, rawBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    brotliDecompress(data, { maxOutputLength: Math.max(1, rawBytes) }, (error, json) => {
      if (error !== null) reject(error);
      else if (json.length !== rawBytes) reject(new Error('a chunk has not the length that it had'));
      else resolve(json);
    });
  });
}
