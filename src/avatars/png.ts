/** PNG (ISO/IEC 15948): header, palette, transparency and pixels are kept. */
import { crc32, createInflate } from 'node:zlib';
import { checkSize, damaged, type Picture, part, tooLarge } from './picture.js';

const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
const HEADER_BYTES = 13;
/** A few KiB can claim this much, and inflating it takes a fifth of a second of a thread. */
const MAX_PIXEL_BYTES = 64 * 1024 * 1024;
const INFLATED_AT_ONCE = 64 * 1024;

/** Channels of each colour type and the bit depths that it may have. */
const COLOURS: Readonly<Record<number, { readonly channels: number; readonly depths: readonly number[] }>> = {
  0: { channels: 1, depths: [1, 2, 4, 8, 16] },
  2: { channels: 3, depths: [8, 16] },
  3: { channels: 1, depths: [1, 2, 4, 8] },
  4: { channels: 2, depths: [8, 16] },
  6: { channels: 4, depths: [8, 16] },
};
const PALETTE = 3;

/** Adam7: where the pixels of each pass begin and how far apart they are. */
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

interface Header {
  readonly width: number;
  readonly height: number;
  readonly colour: number;
  readonly bitsPerPixel: number;
  readonly interlaced: boolean;
}

/** @throws AppError `invalid_image` */
export async function checkedPng(data: Buffer): Promise<Picture> {
  if (!part(data, 0, 8).equals(SIGNATURE)) throw damaged('signature');
  const chunks = readChunks(data);
  const header = readHeader(chunks.header);
  checkColours(header, chunks);
  const pixels = Buffer.concat(chunks.pixels);
  const expected = pixelBytes(header);
  if (expected > MAX_PIXEL_BYTES) throw tooLarge(header.width, header.height);
  const used = await inflatedExactly(pixels, expected);
  const kept = [SIGNATURE, chunk('IHDR', chunks.header)];
  if (chunks.palette !== undefined) kept.push(chunk('PLTE', chunks.palette));
  if (chunks.transparency !== undefined) kept.push(chunk('tRNS', chunks.transparency));
  kept.push(chunk('IDAT', pixels.subarray(0, used)), chunk('IEND', Buffer.alloc(0)));
  return { bytes: Buffer.concat(kept), width: header.width, height: header.height };
}

interface Chunks {
  header: Buffer;
  palette: Buffer | undefined;
  transparency: Buffer | undefined;
  readonly pixels: Buffer[];
}

function readChunks(data: Buffer): Chunks {
  const found: Chunks = { header: Buffer.alloc(0), palette: undefined, transparency: undefined, pixels: [] };
  let at = SIGNATURE.length;
  for (let index = 0; ; index++) {
    const length = part(data, at, 8).readUInt32BE(0);
    const type = data.toString('latin1', at + 4, at + 8);
    const body = part(data, at + 8, length);
    const sum = part(data, at + 8 + length, 4).readUInt32BE(0);
    if (crc32(data.subarray(at + 4, at + 8 + length)) !== sum) throw damaged('checksum');
    at += 12 + length;
    if ((type === 'IHDR') !== (index === 0)) throw damaged('order');
    if (type === 'IEND') return found;
    keep(found, type, body);
  }
}

function keep(found: Chunks, type: string, body: Buffer): void {
  const early = found.pixels.length === 0;
  if (type === 'IHDR') found.header = body;
  else if (type === 'IDAT') found.pixels.push(body);
  else if (type === 'PLTE' && early && found.palette === undefined) found.palette = body;
  else if (type === 'tRNS' && early && found.transparency === undefined) found.transparency = body;
  // A capital letter: without it the picture cannot be shown.
  else if (!/^[a-z][A-Za-z]{3}$/.test(type) || type === 'tRNS') throw damaged('parts');
}

function readHeader(body: Buffer): Header {
  if (body.length !== HEADER_BYTES) throw damaged('header');
  const [depth, colour, compression, filter, interlace] = body.subarray(8);
  const kind = COLOURS[colour ?? -1];
  if (depth === undefined || colour === undefined || kind?.depths.includes(depth) !== true)
    throw damaged('colours');
  if (compression !== 0 || filter !== 0 || (interlace !== 0 && interlace !== 1)) throw damaged('header');
  const [width, height] = [body.readUInt32BE(0), body.readUInt32BE(4)];
  checkSize(width, height);
  return { width, height, colour, bitsPerPixel: kind.channels * depth, interlaced: interlace === 1 };
}

function checkColours({ colour, bitsPerPixel }: Header, { palette, transparency }: Chunks): void {
  const most = colour === PALETTE ? 2 ** bitsPerPixel : 256;
  if (palette === undefined ? colour === PALETTE : palette.length % 3 !== 0 || palette.length === 0)
    throw damaged('palette');
  if ((palette?.length ?? 0) > 3 * most) throw damaged('palette');
  if (transparency === undefined) return;
  const length = transparency.length;
  const fits =
    colour === PALETTE
      ? length <= (palette?.length ?? 0) / 3
      : (colour === 0 && length === 2) || (colour === 2 && length === 6);
  if (!fits) throw damaged('transparency');
}

/** Bytes of all rows, each with its filter byte. */
function pixelBytes({ width, height, bitsPerPixel, interlaced }: Header): number {
  const size = (columns: number, rows: number) =>
    columns === 0 || rows === 0 ? 0 : rows * (1 + Math.ceil((columns * bitsPerPixel) / 8));
  if (!interlaced) return size(width, height);
  return PASSES.reduce(
    (sum, [x, y, dx, dy]) => sum + size(Math.ceil((width - x) / dx), Math.ceil((height - y) / dy)),
    0,
  );
}

/**
 * Inflates without keeping anything.
 * @returns how many of the bytes belong to the pixels
 * @throws AppError `invalid_image` when they are not exactly as many as the header says
 */
async function inflatedExactly(pixels: Buffer, expected: number): Promise<number> {
  const inflate = createInflate({ chunkSize: INFLATED_AT_ONCE });
  const drain = async () => {
    let length = 0;
    for await (const piece of inflate) {
      length += Buffer.byteLength(piece);
      if (length > expected) break;
    }
    return length;
  };
  const inflated = drain().catch(() => -1);
  inflate.end(pixels);
  if ((await inflated) !== expected) throw damaged('pixels');
  return inflate.bytesWritten;
}

function chunk(type: string, body: Buffer): Buffer {
  const bytes = Buffer.alloc(12 + body.length);
  bytes.writeUInt32BE(body.length, 0);
  bytes.write(type, 4, 'latin1');
  body.copy(bytes, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + body.length)), 8 + body.length);
  return bytes;
}
