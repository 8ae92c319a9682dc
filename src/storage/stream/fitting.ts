import { AppError } from '../../errors.js';
import {
  type DecodedSiteFrame,
  decodeMessage,
  encodeMessage,
  frameSize,
  type SiteFrame,
} from '../../events/frame.js';
import { partitionOf } from '../../events/partition.js';
import { splitFrame } from './split-frame.js';

/** A message on its way from one stream to another. */
export interface Moved {
  readonly partition: number;
  readonly message: Uint8Array;
}

/** Magic and version (events/frame.ts). */
const MESSAGE_HEADER_BYTES = 2;

/**
 * The same events as messages of at most `maxBytes`, those of a site in the partition that is its own when there are so many. Events of a
 * site among which one alone is larger are a message of their own.
 * @throws AppError `internal` when the message is damaged
 */
export function fittingMessages(message: Uint8Array, partitions: number, maxBytes: number): Moved[] {
  const open = new Map<number, { bytes: number; frames: SiteFrame[] }>();
  const moved: Moved[] = [];
  const close = (partition: number) => {
    const batch = open.get(partition);
    if (batch !== undefined) moved.push({ partition, message: encodeMessage(batch.frames) });
    open.delete(partition);
  };
  for (const decoded of decodeMessage(message)) {
    const partition = partitionOf(decoded.siteId, partitions);
    for (const frame of fittingFrames(siteFrame(decoded), maxBytes - MESSAGE_HEADER_BYTES)) {
      const size = frameSize(frame);
      if ((open.get(partition)?.bytes ?? 0) + size > maxBytes) close(partition);
      const batch = open.get(partition) ?? { bytes: MESSAGE_HEADER_BYTES, frames: [] };
      batch.frames.push(frame);
      batch.bytes += size;
      open.set(partition, batch);
    }
  }
  for (const partition of [...open.keys()]) close(partition);
  return moved;
}

/** Of which one is as it was when a row alone is larger. */
function fittingFrames(frame: SiteFrame, maxBytes: number): SiteFrame[] {
  try {
    return splitFrame(frame, maxBytes);
  } catch (error) {
    if (error instanceof AppError && error.code === 'body_too_large') return [frame];
    throw error;
  }
}

function siteFrame({ siteId, source, received, rejected, rows }: DecodedSiteFrame): SiteFrame {
  const records = rows.flatMap(({ flags, bytes }) => {
    const head = Buffer.allocUnsafe(5);
    head.writeUInt32LE(1 + bytes.byteLength);
    head.writeUInt8(flags, 4);
    return [head, bytes];
  });
  return { siteId, source, received, rejected, rowCount: rows.length, rows: records };
}
