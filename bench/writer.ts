/** What the partition writer itself costs, the event store apart: decoding, dedupe, blocks, books, and how long it holds the event loop. */
import { randomBytes } from 'node:crypto';
import { createPartitionWriter } from '../src/actors/partition-writer.js';
import { encodeMessage, type SiteFrame } from '../src/events/frame.js';
import { silentTelemetry } from '../src/telemetry.js';
import { watchStalls } from './stalls.js';

export interface WriterBenchResult {
  /** CPU time of the process, µs a row. */
  readonly cpuUsPerRow: number;
  /** Longest stall of the event loop, ms. */
  readonly stallMs: number;
}

const PARTITIONS = 16;
const MESSAGES = 6_000;
const FRAMES = 10;
const ROWS = 10;
const ROW_BYTES = 350;

/** Takes 600,000 rows out of memory as fast as it can (about 3 s); the second of two runs counts. */
export async function runWriterBench(
  print: (line: string) => void = console.log,
): Promise<WriterBenchResult> {
  const done = async () => {};
  const writer = createPartitionWriter({
    store: {
      insertRows: done,
      addToBooks: done,
      quarantine: done,
      existingIds: async () => new Set<string>(),
      repair: async () => 0,
      recentIds: async () => [],
    },
    partitions: PARTITIONS,
    telemetry: silentTelemetry(),
  });
  for (let partition = 0; partition < PARTITIONS; partition++)
    await writer.acquired({ partition, epoch: 1, validUntil: () => Date.now() + 60_000 });
  const run = async (): Promise<WriterBenchResult> => {
    const messages = Array.from({ length: MESSAGES }, (_, i) => message(i % PARTITIONS));
    const stall = watchStalls();
    const before = process.cpuUsage();
    const lanes = Array.from({ length: PARTITIONS }, async (_, partition) => {
      for (let i = partition; i < MESSAGES; i += PARTITIONS)
        await writer.message(partition, { data: messages[i] ?? new Uint8Array(), ack: done });
    });
    await Promise.all(lanes);
    await writer.flush();
    const { user, system } = process.cpuUsage(before);
    return { cpuUsPerRow: (user + system) / (MESSAGES * FRAMES * ROWS), stallMs: stall() };
  };
  await run();
  const result = await run();
  await writer.stop(1_000);
  print(`partition writer, store apart ${result.cpuUsPerRow.toFixed(2)} CPU µs a row`);
  print(`longest stall meanwhile       ${result.stallMs.toFixed(1)} ms`);
  return result;
}

function message(partition: number): Uint8Array {
  const frames = Array.from({ length: FRAMES }, (_, i): SiteFrame => {
    const siteId = `65f1a2b3c4d5e6f7${(partition + i * PARTITIONS).toString(16).padStart(8, '0')}`;
    const rows = Array.from({ length: ROWS }, row);
    return { siteId, source: 'batch', received: ROWS, rejected: 0, rowCount: ROWS, rows };
  });
  return encodeMessage(frames);
}

function row(): Uint8Array {
  const record = Buffer.alloc(5 + ROW_BYTES);
  record.writeUInt32LE(1 + ROW_BYTES);
  randomBytes(16).copy(record, 5);
  record.writeBigInt64LE(BigInt(Date.now()), 5 + 16);
  record.writeBigInt64LE(BigInt(Date.now()), 5 + 24);
  return record;
}
