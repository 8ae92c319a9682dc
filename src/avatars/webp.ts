/** WebP (RFC 9649), still pictures: the picture and its transparency are kept. */
import { checkSize, damaged, type Picture, part } from './picture.js';

const ANIMATED = 0x02;
const ALPHA = 0x10;
const KNOWN_FLAGS = 0x3e;

interface Chunks {
  extended: Buffer | undefined;
  alpha: Buffer | undefined;
  readonly picture: { readonly type: 'VP8 ' | 'VP8L'; readonly body: Buffer };
}

/** @throws AppError `invalid_image` */
export function checkedWebp(data: Buffer): Picture {
  const length = part(data, 0, 12).readUInt32LE(4);
  if (data.toString('latin1', 8, 12) !== 'WEBP' || length < 4) throw damaged('signature');
  const { extended, alpha, picture } = readChunks(part(data, 12, length - 4));
  const size = picture.type === 'VP8 ' ? lossySize(picture.body) : losslessSize(picture.body);
  checkSize(size.width, size.height);
  if (extended !== undefined) checkExtended(extended, size);
  const body = chunk(picture.type, picture.body);
  if (alpha === undefined || picture.type === 'VP8L') return { bytes: riff([body]), ...size };
  const head = Buffer.alloc(10);
  head[0] = ALPHA;
  head.writeUIntLE(size.width - 1, 4, 3);
  head.writeUIntLE(size.height - 1, 7, 3);
  return { bytes: riff([chunk('VP8X', head), chunk('ALPH', alpha), body]), ...size };
}

/** The order is prescribed: the extended header, transparency, the picture. What comes behind the picture is left out. */
function readChunks(data: Buffer): Chunks {
  const found: Omit<Chunks, 'picture'> = { extended: undefined, alpha: undefined };
  for (let at = 0, index = 0; ; index++) {
    const head = part(data, at, 8);
    const type = head.toString('latin1', 0, 4);
    const length = head.readUInt32LE(4);
    const body = part(data, at + 8, length);
    at += 8 + length + (length % 2);
    if (type === 'VP8 ' || type === 'VP8L') return { ...found, picture: { type, body } };
    if (type === 'ANIM' || type === 'ANMF') throw damaged('moving pictures');
    if ((type === 'VP8X') !== (index === 0)) throw damaged('order');
    if (type === 'VP8X') found.extended = body;
    else if (type === 'ALPH') {
      if (found.alpha !== undefined) throw damaged('transparency');
      found.alpha = body;
    }
  }
}

function checkExtended(body: Buffer, { width, height }: { width: number; height: number }): void {
  if (body.length !== 10) throw damaged('header');
  const flags = body[0] ?? 0;
  if ((flags & ANIMATED) !== 0) throw damaged('moving pictures');
  if ((flags & ~KNOWN_FLAGS) !== 0) throw damaged('header');
  if (body.readUIntLE(4, 3) + 1 !== width || body.readUIntLE(7, 3) + 1 !== height) throw damaged('size');
}

/** Of a key frame (RFC 6386, 9.1). */
function lossySize(body: Buffer): { width: number; height: number } {
  const head = part(body, 0, 10);
  const tag = head.readUIntLE(0, 3);
  const isKeyFrame = (tag & 1) === 0 && head.readUIntBE(3, 3) === 0x9d012a;
  if (!isKeyFrame || tag >>> 5 > body.length - 10) throw damaged('frame');
  return { width: head.readUInt16LE(6) & 0x3fff, height: head.readUInt16LE(8) & 0x3fff };
}

function losslessSize(body: Buffer): { width: number; height: number } {
  const head = part(body, 0, 5);
  const bits = head.readUInt32LE(1);
  if (head[0] !== 0x2f || bits >>> 29 !== 0) throw damaged('frame');
  return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
}

function chunk(type: string, body: Buffer): Buffer {
  const bytes = Buffer.alloc(8 + body.length + (body.length % 2));
  bytes.write(type, 0, 'latin1');
  bytes.writeUInt32LE(body.length, 4);
  body.copy(bytes, 8);
  return bytes;
}

function riff(chunks: readonly Buffer[]): Buffer {
  const body = Buffer.concat([Buffer.from('WEBP'), ...chunks]);
  const head = Buffer.alloc(8);
  head.write('RIFF', 0, 'latin1');
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body]);
}
