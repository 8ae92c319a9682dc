/**
 * JPEG (ITU-T T.81), baseline and progressive: tables, frame and scans are kept, and of the application's segments which colours the
 * numbers mean and which way is up.
 */
import { checkSize, damaged, type Picture, part } from './picture.js';

const SOI = Buffer.from([0xff, 0xd8]);
const EOI = Buffer.from([0xff, 0xd9]);
const MARKER = {
  DHT: 0xc4,
  EOI: 0xd9,
  SOS: 0xda,
  DQT: 0xdb,
  DRI: 0xdd,
  APP0: 0xe0,
  APP1: 0xe1,
  APP14: 0xee,
  COM: 0xfe,
} as const;
/** Baseline, extended, progressive; all with Huffman codes. */
const FRAMES: readonly number[] = [0xc0, 0xc1, 0xc2];
/** A progressive picture has about ten; each is a pass over all pixels for whoever shows it. */
const MAX_SCANS = 64;

interface Segment {
  readonly marker: number;
  /** Marker, length and content. */
  readonly bytes: Buffer;
  readonly body: Buffer;
}

/** @throws AppError `invalid_image` */
export function checkedJpeg(data: Buffer): Picture {
  const kept: Buffer[] = [SOI];
  let size: { width: number; height: number } | undefined;
  let components = 0;
  let scans = 0;
  let at = SOI.length;
  for (;;) {
    at = skipFill(data, at);
    if (data[at] === MARKER.EOI) break;
    const segment = readSegment(data, at);
    at += segment.bytes.length - 1;
    if (FRAMES.includes(segment.marker)) {
      if (size !== undefined) throw damaged('two frames');
      size = readFrame(segment.body);
      components = segment.body[5] ?? 0;
    }
    const bytes = keptOf(segment);
    if (bytes !== undefined) kept.push(bytes);
    if (segment.marker !== MARKER.SOS) continue;
    if (size === undefined || ++scans > MAX_SCANS) throw damaged('scans');
    checkScan(segment.body, components);
    const end = endOfScan(data, at);
    kept.push(data.subarray(at, end));
    at = end;
  }
  if (size === undefined || scans === 0) throw damaged('no picture');
  kept.push(EOI);
  return { bytes: Buffer.concat(kept), ...size };
}

/** @returns where the marker's second byte is */
function skipFill(data: Buffer, start: number): number {
  if (data[start] !== 0xff) throw damaged('marker');
  let at = start + 1;
  while (data[at] === 0xff) at++;
  if (at >= data.length) throw damaged('ends too early');
  return at;
}

/** @param at the marker's second byte */
function readSegment(data: Buffer, at: number): Segment {
  const marker = data[at] ?? 0;
  const length = part(data, at + 1, 2).readUInt16BE(0);
  if (length < 2) throw damaged('segment');
  const body = part(data, at + 3, length - 2);
  return { marker, body, bytes: Buffer.concat([Buffer.from([0xff]), data.subarray(at, at + 1 + length)]) };
}

/** @returns undefined for what is left out */
function keptOf({ marker, bytes, body }: Segment): Buffer | undefined {
  const starts = (text: string) => body.toString('latin1', 0, text.length) === text;
  if (FRAMES.includes(marker)) return bytes;
  switch (marker) {
    case MARKER.SOS:
    case MARKER.DQT:
    case MARKER.DHT:
      return bytes;
    case MARKER.DRI:
      if (body.length !== 2) throw damaged('restarts');
      return bytes;
    case MARKER.APP0:
      return starts('JFIF\0') ? JFIF : undefined;
    case MARKER.APP1:
      return starts('Exif\0\0') ? orientationOf(body.subarray(6)) : undefined;
    case MARKER.APP14:
      return starts('Adobe') && body.length >= 12 ? adobe(body[11] ?? 0) : undefined;
    default:
      if ((marker > MARKER.APP0 && marker <= 0xef) || marker === MARKER.COM) return undefined;
      throw damaged('segments');
  }
}

function readFrame(body: Buffer): { width: number; height: number } {
  const [precision, , , , , components] = body;
  if (precision !== 8 || (components !== 1 && components !== 3 && components !== 4)) throw damaged('frame');
  if (body.length !== 6 + 3 * components) throw damaged('frame');
  const [height, width] = [body.readUInt16BE(1), body.readUInt16BE(3)];
  checkSize(width, height);
  return { width, height };
}

function checkScan(body: Buffer, components: number): void {
  const count = body[0] ?? 0;
  if (count < 1 || count > components || body.length !== 4 + 2 * count) throw damaged('scan');
}

/** Where the next marker begins that is neither a stuffed byte nor a restart. */
function endOfScan(data: Buffer, start: number): number {
  for (let at = data.indexOf(0xff, start); at >= 0; at = data.indexOf(0xff, at + 1)) {
    const next = data[at + 1];
    if (next === undefined) break;
    if (next === 0xff || next === 0 || (next >= 0xd0 && next <= 0xd7)) continue;
    return at;
  }
  throw damaged('ends too early');
}

function segment(marker: number, body: Buffer): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0]);
  head.writeUInt16BE(body.length + 2, 2);
  return Buffer.concat([head, body]);
}

/** Version 1.1, square pixels, no preview. */
const JFIF = segment(MARKER.APP0, Buffer.from('JFIF\0\x01\x01\0\0\x01\0\x01\0\0', 'latin1'));

const adobe = (transform: number): Buffer =>
  segment(MARKER.APP14, Buffer.from([...Buffer.from('Adobe'), 0, 100, 0, 0, 0, 0, transform]));

const ORIENTATION = 0x0112;
const SHORT = 3;

/** An Exif segment that says nothing but which way is up; undefined when the given one does not say it. */
function orientationOf(tiff: Buffer): Buffer | undefined {
  const order = tiff.toString('latin1', 0, 2);
  if (tiff.length < 8 || (order !== 'II' && order !== 'MM')) return undefined;
  const short = (at: number) => (order === 'II' ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at));
  const first = order === 'II' ? tiff.readUInt32LE(4) : tiff.readUInt32BE(4);
  if (first + 2 > tiff.length) return undefined;
  const count = short(first);
  for (let entry = 0, at = first + 2; entry < count && at + 12 <= tiff.length; entry++, at += 12) {
    if (short(at) !== ORIENTATION) continue;
    const value = short(at + 8);
    return short(at + 2) === SHORT && value >= 1 && value <= 8 ? exif(value) : undefined;
  }
  return undefined;
}

function exif(orientation: number): Buffer {
  const tiff = Buffer.from('MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0', 'latin1');
  tiff.writeUInt16BE(orientation, 18);
  return segment(MARKER.APP1, Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), tiff]));
}
