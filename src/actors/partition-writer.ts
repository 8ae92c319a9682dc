import type {
  FrameStream,
  PartitionConsumer,
  PartitionOwnership,
  StreamMessage,
} from '../storage/stream/stream.js';
import type { Telemetry } from '../telemetry.js';
import { DedupeWindow } from './dedupe-window.js';
import { ActorStoppedError } from './runtime/errors.js';
import { ActorGroup } from './runtime/group.js';
import type { Block } from './writer/block.js';
import { BlockInserter } from './writer/block-inserter.js';
import { Collector } from './writer/collector.js';
import { notedStore, type WriterStore } from './writer/noted-store.js';
import type { RowObserver } from './writer/observer.js';
import { PartitionActor, type PartitionCommand, type PartitionHost } from './writer/partition-actor.js';
import { Pause } from './writer/pause.js';
import type { Tenure } from './writer/tenure.js';
import { writerMetrics } from './writer/writer-metrics.js';

/** Longest time that an insert may take effect after it was sent, ms: what an owner after a crash has to wait out. */
export const DEFAULT_INSERT_MS = 20_000;

export interface PartitionWriterOptions {
  readonly store: WriterStore;
  /** See `FrameStream`: the stream's own, if it has one. */
  readonly sending?: FrameStream['sending'];
  /** Sees new events before they are stored. */
  readonly observer?: RowObserver;
  /** In the names of its metrics, actors and log lines. Default `writer`, the one of the events. */
  readonly name?: 'writer' | 'recording_writer';
  /** Number of partitions of the stream. */
  readonly partitions: number;
  readonly telemetry: Telemetry;
  /** Ids that the dedupe window holds, of all partitions of this process. Default 8,000,000 (128 MiB when full). */
  readonly dedupeWindowEvents?: number;
  /** Longest time from a message to the start of its insert when none is under way, ms. Default 700. */
  readonly flushMs?: number;
  /** Rows of a block, about. Default 100,000. */
  readonly blockRows?: number;
  /** Bytes of the messages of a block, about. Two blocks at most are in memory. Default 64 MiB. */
  readonly blockBytes?: number;
  /** Longest time that an insert may take effect after it was sent, ms. Default 20,000. */
  readonly insertMs?: number;
  /** Pauses while the store does not answer, ms. Defaults 100 and 5,000. */
  readonly retryFirstMs?: number;
  readonly retryMaxMs?: number;
  /** How far back the window is read from the store at a takeover, ms. Default ten minutes. */
  readonly refillMs?: number;
  /** Ids read back for a partition at most; with more, the window starts empty. Default 200,000. */
  readonly refillIds?: number;
  /** When a partition is given up, what was taken is still stored within this time, ms. Default 2,000. */
  readonly leaveMs?: number;
}

/** The consumer that brings the stream into the event store. */
export interface PartitionWriter extends PartitionConsumer {
  /** Stores what was taken so far; resolves when it is stored and acknowledged. */
  flush(): Promise<void>;
  /** Ends the actors, after the subscription was stopped (which gives up all partitions). */
  stop(deadlineMs: number): Promise<void>;
}

/**
 * Writes each event of the stream once (P3). Partition actors drop duplicates and collect rows into one block for the whole node; the
 * block inserter stores block after block and acknowledges the messages. What makes it exact:
 *
 * - A partition has one writer at a time, and an insert cannot take effect after the writer's ownership has ended.
 * - The dedupe window holds only what is stored; the ids of blocks under way are kept beside it and vanish with a block that is given up.
 * - A block is repeated as it is, under the same token, until the store answers. When a part of it is lost to another owner meanwhile,
 *   or after so long that the store may have forgotten the token, the rest first waits out the attempt in doubt and asks the store which
 *   rows it took.
 * - Messages are acknowledged last; a crash before that brings them again, and the window (refilled from the store) or the store itself
 *   knows their rows.
 *
 * The books count what passes through here: after a crash between insert and acknowledgement the messages that come again are counted
 * as received again and as duplicates, so the books always balance and `stored` never exceeds the rows in the store.
 */
export function createPartitionWriter(options: PartitionWriterOptions): PartitionWriter {
  const { sending, telemetry, partitions, name = 'writer' } = options;
  const store = sending === undefined ? options.store : notedStore(options.store, sending);
  const isOfEvents = name === 'writer';
  const log = telemetry.log.child({ part: isOfEvents ? 'partition writer' : name });
  const window = new DedupeWindow(options.dedupeWindowEvents ?? 8_000_000);
  const pause = new Pause(options.retryFirstMs ?? 100, options.retryMaxMs ?? 5_000);
  const tenures = new Map<number, Tenure>();
  const figures = {
    rowsHeld: () => collector.rowsHeld,
    bytesHeld: () => collector.bytesHeld,
    windowIds: () => window.size,
    windowBytes: () => window.byteLength,
  };
  const metrics = writerMetrics(telemetry.registry, figures, name);
  const inserters = new ActorGroup<'node', Block>({
    name: isOfEvents ? 'block_inserter' : `${name}_inserter`,
    telemetry,
    mailbox: { messages: 1 },
    create: () =>
      new BlockInserter({
        store,
        partitions,
        observer: options.observer,
        window,
        metrics,
        log,
        pause,
        insertMs: options.insertMs ?? DEFAULT_INSERT_MS,
      }),
  });
  const collector = new Collector({
    window,
    flushMs: options.flushMs ?? 700,
    maxRows: options.blockRows ?? 100_000,
    maxBytes: options.blockBytes ?? 64 * 1024 * 1024,
    store: (block) => settle(inserters, block),
    nudge: () => pause.cut(),
  });
  const host: PartitionHost = {
    ...{ store, partitions, window, collector, tenures, log },
    refillMs: options.refillMs ?? 600_000,
    refillIds: options.refillIds ?? 200_000,
    leaveMs: options.leaveMs ?? 2_000,
    oneAtATime: serializer(),
  };
  const actors = new ActorGroup<number, PartitionCommand>({
    name: isOfEvents ? 'partition' : `${name}_partition`,
    telemetry,
    mailbox: { messages: 16 },
    create: ({ key }) => new PartitionActor(key, host),
  });

  return {
    acquired: (ownership: PartitionOwnership) =>
      actors.ask(ownership.partition, { do: 'acquire', ownership }),
    message: (partition: number, message: StreamMessage) => actors.ask(partition, { do: 'take', message }),
    lost(partition: number) {
      const tenure = tenures.get(partition);
      if (tenure !== undefined) tenure.leaving = true;
      // A message that waits for room must not keep the actor from leaving.
      collector.wake();
      return actors.ask(partition, { do: 'leave' });
    },
    flush: () => collector.flush(),
    async stop(deadlineMs) {
      await actors.stop(deadlineMs);
      await inserters.stop(deadlineMs);
    },
  };
}

/** A block goes on where it stood if the inserter fails on it for a reason of its own (a defect); the group paces the restarts. */
async function settle(inserters: ActorGroup<'node', Block>, block: Block): Promise<void> {
  for (;;) {
    try {
      return await inserters.ask('node', block);
    } catch (error) {
      if (error instanceof ActorStoppedError) return;
    }
  }
}

function serializer(): PartitionHost['oneAtATime'] {
  let last: Promise<unknown> = Promise.resolve();
  return (run) => {
    const result = last.then(run);
    last = result.catch(() => {});
    return result;
  };
}
