import type { PartitionConsumer, PartitionOwnership } from '../../src/storage/stream/stream.js';

interface Message {
  readonly data: Uint8Array;
  acked: boolean;
}

/** A node that consumes; `dies` cuts it off as `kill -9` would. */
export interface FakeNode {
  readonly consumer: PartitionConsumer;
  isDead: boolean;
}

/**
 * A fake: one partition of a stream in memory, whose ownership the test moves between nodes. Messages that were not acknowledged are
 * delivered again to the next owner, in order.
 */
export class FakePartition {
  readonly #messages: Message[] = [];
  #epoch = 0;
  #owner: { readonly node: FakeNode; isOver: boolean; expiresAt: number } | undefined;
  #delivering: Promise<void> = Promise.resolve();
  #arrived: () => void = () => {};

  constructor(
    readonly partition: number,
    /** How long an ownership outlives the last sign of its node, ms. */
    readonly leaseMs: number,
  ) {}

  get unacknowledged(): number {
    return this.#messages.filter(({ acked }) => !acked).length;
  }

  append(data: Uint8Array): void {
    this.#messages.push({ data, acked: false });
    this.#arrived();
  }

  /** Gives the partition to a node; nobody may own it. */
  async give(node: FakeNode): Promise<void> {
    const owner = { node, isOver: false, expiresAt: Number.POSITIVE_INFINITY };
    this.#owner = owner;
    const ownership: PartitionOwnership = {
      partition: this.partition,
      epoch: ++this.#epoch,
      validUntil: () => Math.min(owner.expiresAt, Date.now() + this.leaseMs),
    };
    await node.consumer.acquired(ownership);
    this.#delivering = this.#deliver(owner);
  }

  async #deliver(owner: { readonly node: FakeNode; isOver: boolean }): Promise<void> {
    for (let at = 0; !owner.isOver; ) {
      const message = this.#messages[at];
      if (message === undefined) {
        await new Promise<void>((resolve) => {
          this.#arrived = resolve;
        });
        continue;
      }
      at++;
      if (message.acked) continue;
      await owner.node.consumer.message(this.partition, {
        data: message.data,
        ack: async () => {
          if (!owner.isOver && !owner.node.isDead) message.acked = true;
        },
      });
    }
  }

  /** The owner gives the partition up in good order. */
  async release(): Promise<void> {
    const owner = this.#owner;
    if (owner === undefined) return;
    const lost = owner.node.consumer.lost(this.partition);
    await lost;
    this.#end();
  }

  /** The owner cannot renew its lease; it learns so when the lease has run out. */
  async expire(): Promise<void> {
    const owner = this.#owner;
    if (owner === undefined) return;
    owner.expiresAt = Date.now() + this.leaseMs;
    await new Promise((resolve) => setTimeout(resolve, this.leaseMs + 1));
    this.#end();
    await owner.node.consumer.lost(this.partition);
  }

  /** The owner is dead; its lease runs out. */
  async abandon(): Promise<void> {
    this.#end();
    await new Promise((resolve) => setTimeout(resolve, this.leaseMs + 1));
  }

  #end(): void {
    if (this.#owner !== undefined) this.#owner.isOver = true;
    this.#owner = undefined;
    this.#arrived();
  }

  /** Rejects when delivering failed. */
  get delivering(): Promise<void> {
    return this.#delivering;
  }
}
