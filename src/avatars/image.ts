/**
 * Pictures that people upload. They are not decoded (that would take a native library, or seconds of the main thread) but taken apart as
 * their formats prescribe and put together anew from the parts that hold the picture: places, names, previews, texts, profiles and
 * whatever is hidden between or behind the parts stay outside.
 */
import { AppError } from '../errors.js';
import { checkedJpeg } from './jpeg.js';
import { checkedPng } from './png.js';
import { checkedWebp } from './webp.js';

export type ImageExtension = 'jpg' | 'png' | 'webp';

export interface CheckedImage {
  readonly extension: ImageExtension;
  /** Put together anew. */
  readonly bytes: Uint8Array;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
}

/** Media types by extension. */
export const IMAGE_TYPES: Readonly<Record<ImageExtension, string>> = {
  jpg: 'image/jpeg',
  png: 'image/png',
  webp: 'image/webp',
};

/**
 * Tells the format by the content; what the sender calls it does not matter.
 * @throws AppError `invalid_image`
 */
export async function checkedImage(bytes: Uint8Array): Promise<CheckedImage> {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const begin = data.subarray(0, 4).toString('latin1');
  if (begin === '\x89PNG') return { extension: 'png', ...(await checkedPng(data)) };
  if (begin === 'RIFF') return { extension: 'webp', ...checkedWebp(data) };
  if (begin.startsWith('\xff\xd8')) return { extension: 'jpg', ...checkedJpeg(data) };
  throw new AppError('invalid_image', 'The picture must be a JPEG, PNG or WebP file');
}
