import { crc32, deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PICTURES } from '../../test/support/pictures.js';
import { AppError } from '../errors.js';
import { checkedImage } from './image.js';

const HIDDEN = '<script>alert(document.domain)</script>';
const { jpeg, png, lossyWebp, transparentWebp, losslessWebp } = PICTURES;
const FORMATS = [
  ['jpg', jpeg],
  ['png', png],
  ['webp', lossyWebp],
  ['webp', transparentWebp],
  ['webp', losslessWebp],
] as const;

const refusal = async (bytes: Uint8Array): Promise<unknown> =>
  checkedImage(bytes).then(
    () => undefined,
    (error: unknown) => (error instanceof AppError ? error.code : error),
  );

const pngChunk = (type: string, body: Buffer): Buffer => {
  const bytes = Buffer.alloc(12 + body.length);
  bytes.writeUInt32BE(body.length, 0);
  bytes.write(type, 4, 'latin1');
  body.copy(bytes, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + body.length)), 8 + body.length);
  return bytes;
};
const jpegSegment = (marker: number, body: Buffer): Buffer => {
  const head = Buffer.from([0xff, marker, 0, 0]);
  head.writeUInt16BE(body.length + 2, 2);
  return Buffer.concat([head, body]);
};
const webpOf = (...chunks: readonly (readonly [string, Buffer])[]): Buffer => {
  const body = Buffer.concat(
    chunks.map(([type, data]) => {
      const head = Buffer.alloc(8);
      head.write(type, 0, 'latin1');
      head.writeUInt32LE(data.length, 4);
      return Buffer.concat([head, data, Buffer.alloc(data.length % 2)]);
    }),
  );
  const head = Buffer.from('RIFF\0\0\0\0WEBP', 'latin1');
  head.writeUInt32LE(4 + body.length, 4);
  return Buffer.concat([head, body]);
};
/** The chunks of a WebP file. */
const webpChunks = (data: Buffer): [string, Buffer][] => {
  const found: [string, Buffer][] = [];
  for (let at = 12; at < data.length; ) {
    const length = data.readUInt32LE(at + 4);
    found.push([data.toString('latin1', at, at + 4), data.subarray(at + 8, at + 8 + length)]);
    at += 8 + length + (length % 2);
  }
  return found;
};
const inserted = (into: Buffer, at: number, what: Buffer) =>
  Buffer.concat([into.subarray(0, at), what, into.subarray(at)]);
/** A PNG of its own header and raw rows. */
const pngOf = (header: readonly number[], rows: Buffer, ...before: readonly Buffer[]) =>
  Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    pngChunk('IHDR', Buffer.from(header)),
    ...before,
    pngChunk('IDAT', deflateSync(rows)),
    pngChunk('IEND', Buffer.alloc(0)),
  ]);
const size = (width: number, height: number) => [
  0,
  0,
  width >> 8,
  width & 255,
  0,
  0,
  height >> 8,
  height & 255,
];

describe('a picture', () => {
  it.each(FORMATS)(
    'in the format %s keeps its size, and what is kept is a picture again',
    async (extension, bytes) => {
      const first = await checkedImage(bytes);
      expect(first).toMatchObject({ extension, width: 24, height: 16 });
      expect(first.bytes.length).toBeLessThanOrEqual(bytes.length);
      expect(Buffer.from(first.bytes).includes('ICC')).toBe(false);
      expect(await checkedImage(first.bytes)).toEqual(first);
    },
  );

  it('loses what is hidden in it or behind it', async () => {
    const hidden = Buffer.from(HIDDEN);
    const exif = Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), hidden]);
    const chunks = webpChunks(lossyWebp);
    const head = chunks[0] ?? (['', Buffer.alloc(0)] as const);
    for (const [extension, poisoned] of [
      ['jpg', inserted(jpeg, 2, jpegSegment(0xfe, hidden))],
      ['jpg', inserted(jpeg, 2, jpegSegment(0xe1, exif))],
      ['jpg', inserted(jpeg, 2, jpegSegment(0xed, hidden))],
      ['png', inserted(png, 33, pngChunk('tEXt', hidden))],
      ['png', inserted(png, 33, pngChunk('eXIf', hidden))],
      ['webp', webpOf(head, ['EXIF', hidden], ...chunks.slice(1))],
      ['webp', webpOf(...chunks, ['XMP ', hidden])],
      ...FORMATS.map(([extension, bytes]) => [extension, Buffer.concat([bytes, hidden])] as const),
    ] as const) {
      expect(poisoned.includes(HIDDEN)).toBe(true);
      const { bytes, ...rest } = await checkedImage(poisoned);
      expect(rest).toEqual({ extension, width: 24, height: 16 });
      expect(Buffer.from(bytes).includes('<script'), extension).toBe(false);
    }
  });

  it('of a PNG loses what follows its pixels inside their own part', async () => {
    const rows = Buffer.alloc(2 * 5);
    const clean = pngOf([...size(4, 2), 8, 0, 0, 0, 0], rows);
    const deflated = Buffer.concat([deflateSync(rows), Buffer.from(HIDDEN)]);
    const poisoned = Buffer.concat([
      clean.subarray(0, 33),
      pngChunk('IDAT', deflated),
      pngChunk('IEND', Buffer.alloc(0)),
    ]);
    expect(Buffer.from((await checkedImage(poisoned)).bytes).equals(clean)).toBe(true);
  });

  it('keeps of Exif which way is up, and nothing else', async () => {
    const tiff = (order: 'II' | 'MM') => {
      const entry = Buffer.alloc(8 + 2 + 24 + 4);
      entry.write(order, 'latin1');
      const short = (value: number, at: number) =>
        order === 'II' ? entry.writeUInt16LE(value, at) : entry.writeUInt16BE(value, at);
      const long = (value: number, at: number) =>
        order === 'II' ? entry.writeUInt32LE(value, at) : entry.writeUInt32BE(value, at);
      short(42, 2);
      long(8, 4);
      short(2, 8);
      for (const [index, [tag, value]] of [
        [0x010f, 1],
        [0x0112, 6],
      ].entries()) {
        const at = 10 + index * 12;
        short(tag ?? 0, at);
        short(3, at + 2);
        long(1, at + 4);
        short(value ?? 0, at + 8);
      }
      return jpegSegment(
        0xe1,
        Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), entry, Buffer.from(HIDDEN)]),
      );
    };
    for (const order of ['II', 'MM'] as const) {
      const { bytes } = await checkedImage(inserted(jpeg, 2, tiff(order)));
      const kept = Buffer.from(bytes);
      const at = kept.indexOf('Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06', 'latin1');
      expect(at).toBeGreaterThan(0);
      expect(kept.includes('<script')).toBe(false);
      expect((await checkedImage(bytes)).bytes).toEqual(bytes);
    }
  });

  it('is refused when it is something else, moves, or is too large', async () => {
    const [head, ...rest] = webpChunks(transparentWebp);
    if (!head) throw new Error('no header');
    const moving = Buffer.from(head[1]);
    moving[0] = (moving[0] ?? 0) | 0x02;
    const wide = Buffer.from(jpeg);
    const frame = wide.indexOf(Buffer.from([0xff, 0xc0]));
    wide.writeUInt16BE(60_000, frame + 5);
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
      Buffer.from('<!doctype html>'),
      Buffer.from('GIF89a\x01\0\x01\0\0\0\0;', 'latin1'),
      Buffer.from('%PDF-1.7'),
      Buffer.from('RIFF\x04\0\0\0WAVE', 'latin1'),
      webpOf(['VP8X', moving], ...rest),
      webpOf(['VP8X', head[1]], ['ANIM', Buffer.alloc(6)], ...rest),
      wide,
      pngOf([...size(9000, 1), 8, 0, 0, 0, 0], Buffer.alloc(9001)),
      // 16 bits a channel.
      pngOf([...size(3000, 3000), 16, 6, 0, 0, 0], Buffer.alloc(3000 * 24_001)),
      pngOf([...size(8000, 8000), 1, 0, 0, 0, 0], Buffer.alloc(8000 * 1001)),
    ]) {
      expect(await refusal(bytes), bytes.toString('latin1', 0, 40)).toBe('invalid_image');
    }
  });

  it('of a PNG is refused when its parts do not make a picture', async () => {
    const grey = [...size(4, 2), 8, 0, 0, 0, 0];
    const indexed = [...size(4, 2), 8, 3, 0, 0, 0];
    const palette = pngChunk('PLTE', Buffer.alloc(6));
    const rows = Buffer.alloc(2 * 5);
    expect(await refusal(pngOf(grey, rows))).toBeUndefined();
    expect(await refusal(pngOf(indexed, rows, palette))).toBeUndefined();
    expect(await refusal(pngOf([...size(3, 5), 8, 0, 0, 0, 1], Buffer.alloc(25)))).toBeUndefined();
    for (const bytes of [
      pngOf(grey, Buffer.alloc(9)),
      pngOf(grey, Buffer.alloc(11)),
      // A bomb is not unpacked further than the header says.
      pngOf(grey, Buffer.alloc(50_000_000)),
      pngOf(indexed, rows),
      pngOf(indexed, rows, palette, palette),
      pngOf(indexed, rows, pngChunk('PLTE', Buffer.alloc(7))),
      pngOf(grey, rows, pngChunk('tRNS', Buffer.alloc(3))),
      pngOf(grey, rows, pngChunk('EVIL', Buffer.alloc(3))),
      pngOf([...size(4, 2), 3, 0, 0, 0, 0], rows),
      pngOf([...size(4, 2), 8, 0, 0, 0, 2], rows),
      pngOf([...size(0, 2), 8, 0, 0, 0, 0], Buffer.alloc(2)),
    ]) {
      expect(await refusal(bytes)).toBe('invalid_image');
    }
    const broken = Buffer.from(png);
    broken[40] = (broken[40] ?? 0) ^ 1;
    expect(await refusal(broken)).toBe('invalid_image');
  });
});

describe('any bytes', () => {
  it('are a picture or refused, and what is kept is a fixed point', { timeout: 30_000 }, async () => {
    const damage = fc.array(
      fc.record({ at: fc.nat(1200), cut: fc.nat(12), put: fc.uint8Array({ maxLength: 12 }) }),
      { maxLength: 4 },
    );
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...FORMATS), damage, async ([, original], changes) => {
        let bytes = Buffer.from(original);
        for (const { at, cut, put } of changes) {
          const start = at % (bytes.length + 1);
          bytes = Buffer.concat([bytes.subarray(0, start), put, bytes.subarray(start + cut)]);
        }
        const outcome = await checkedImage(bytes).catch((error: unknown) => error);
        if (outcome instanceof AppError) {
          expect(outcome.code).toBe('invalid_image');
          return;
        }
        if (outcome instanceof Error) throw outcome;
        taken++;
        const { bytes: kept } = await checkedImage(bytes);
        expect(Buffer.from((await checkedImage(kept)).bytes).equals(kept)).toBe(true);
      }),
      { numRuns: 1500, seed: 42 },
    );
    expect(taken).toBeGreaterThan(100);
  });

  it('behind the right beginning do not break the check', { timeout: 30_000 }, async () => {
    const beginnings = FORMATS.flatMap(([, bytes]) =>
      [4, 12, 20, 40].map((length) => bytes.subarray(0, length)),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...beginnings),
        fc.uint8Array({ maxLength: 300 }),
        async (begin, rest) => {
          const code = await refusal(Buffer.concat([begin, rest]));
          expect([undefined, 'invalid_image']).toContain(code);
        },
      ),
      { numRuns: 1500, seed: 43 },
    );
  });
});
