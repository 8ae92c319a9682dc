import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../../telemetry.js';
import type { StreamMetrics } from '../stream-metrics.js';
import type { Disk } from './disk.js';
import { HEADER_BYTES, scanRecords } from './record.js';
import { Segment, segmentBase } from './segment.js';
import { isRemoved, SegmentSet } from './segment-set.js';
import type { LogState } from './state-file.js';

export interface Recovered {
  readonly segments: SegmentSet;
  /** Number of the next record. */
  readonly nextSequence: number;
}

export interface RecoveryOptions {
  readonly disk: Disk;
  /** @throws Error the directory has another owner */
  readonly check: () => Promise<void>;
  readonly directory: string;
  readonly state: LogState | undefined;
  readonly partitions: number;
  readonly log: Logger;
  readonly metrics: StreamMetrics;
  readonly name: string;
}

/**
 * Reads all segments of a directory. A torn tail (an append that a crash cut short, so never acknowledged) is cut off; damage with
 * sound records behind it is skipped with a loud log. A file that the disk cannot read as a whole gives what can be read of it, and is
 * kept. Segments are never appended to again.
 */
export async function recover(options: RecoveryOptions): Promise<Recovered> {
  const { disk, directory, state, log } = options;
  const segments = new SegmentSet(disk, log, options.check);
  const acked = new Map(state?.acked.map(({ base, bits }) => [base, Buffer.from(bits, 'base64')]));
  let nextSequence = state?.nextSequence ?? 0;
  const names = await readdir(directory);
  for (const name of names.filter(isRemoved)) await removeLeft(join(directory, name), options);
  const bases = names.map(segmentBase).filter((base) => base !== undefined);
  for (const base of bases.sort((a, b) => a - b)) {
    const segment = new Segment(disk, directory, base);
    const unread = await load(segment, options);
    // Also the name of an empty file, which is about to be deleted, is never used again.
    nextSequence = Math.max(nextSequence, base + Math.max(segment.count, 1) + unread);
    segment.applyAckedBits(acked.get(base) ?? Buffer.alloc(0));
    segments.add(segment);
    segments.seal(segment);
  }
  return { segments, nextSequence };
}

/** Nobody needs the file, so a log is opened although it stays. */
async function removeLeft(path: string, { disk, log }: RecoveryOptions): Promise<void> {
  try {
    await disk.unlink(path);
  } catch (error) {
    log.error({ err: error, segment: path }, 'cannot delete what is left of a finished segment of the log');
  }
}

/** Answers how many records at most may be in the end of the file that cannot be read. */
async function load(segment: Segment, options: RecoveryOptions): Promise<number> {
  const { disk, log, metrics, name } = options;
  const { size } = await stat(segment.path);
  const fd = await disk.open(segment.path, 'r+');
  try {
    const { end, damaged, isUnreadable } = await scanRecords(disk, fd, size, (header, offset) => {
      const { sequence, length } = header;
      if (sequence < segment.base + segment.count) {
        log.error({ segment: segment.path, sequence, offset }, 'record of the log is out of order: skipped');
        return;
      }
      // The number of partitions may have become smaller since: nothing is lost, the rest of a division stays the rest.
      segment.add(sequence, header.partition % options.partitions, offset, length);
    });
    for (const [from, to] of damaged) {
      metrics.damagedBytes.inc({ stream: name }, to - from);
      log.error({ segment: segment.path, from, to }, 'log is damaged on disk: these bytes are lost');
    }
    segment.bytes = end;
    if (isUnreadable) {
      log.error({ segment: segment.path }, 'the disk cannot read all of this file of the log: it is kept');
      segment.isDamaged = true;
      segment.bytes = size;
      metrics.damagedBytes.inc({ stream: name }, size - end);
      return Math.ceil((size - end) / HEADER_BYTES);
    }
    if (end < size) {
      log.warn({ segment: segment.path, from: end, bytes: size - end }, 'unfinished append cut off the log');
      await disk.truncate(fd, end);
      await disk.datasync(fd);
    }
    return 0;
  } finally {
    await disk.close(fd);
  }
}
