import { AppError } from '../errors.js';

/** What the check of one format gives. */
export interface Picture {
  readonly bytes: Uint8Array;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
}

/** More would only burden whoever looks at it. */
const MAX_SIDE = 8_192;
const MAX_PIXELS = 32_000_000;

/** @throws AppError `invalid_image` */
export function checkSize(width: number, height: number): void {
  if (width === 0 || height === 0) throw damaged('without size');
  if (width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS) throw tooLarge(width, height);
}

export function tooLarge(width: number, height: number): AppError {
  return new AppError('invalid_image', `The picture is too large: ${width} x ${height} pixels`);
}

/** @param what is wrong, for people */
export function damaged(what: string): AppError {
  return new AppError('invalid_image', `The picture is damaged or of a kind that is not taken (${what})`);
}

/** @throws AppError `invalid_image` where the bytes end before */
export function part(data: Buffer, start: number, length: number): Buffer {
  if (start + length > data.length) throw damaged('ends too early');
  return data.subarray(start, start + length);
}
