import { randomBytes } from 'node:crypto';
import { headers, type JetStreamManager, JSONCodec, type NatsConnection } from 'nats';
import type { Logger } from '../../../telemetry.js';
import { fairShare } from './fair-share.js';
import { ApiError, apiErrorCode } from './setup.js';
import { type Moment, Term, thisMoment } from './term.js';

const codec = JSONCodec<{ node: string; session: string }>();

export interface LeaseOptions {
  readonly bucket: string;
  readonly partitions: number;
  readonly ttlMs: number;
  readonly nodeId: string;
  readonly log: Logger;
}

/** What the leases tell their user. */
export interface LeaseListener {
  /** This node owns the partition from now on. */
  acquired(lease: Lease): void;
  /** The partition is somebody else's or may become so: at once. */
  lost(partition: number): void;
  /** There are too many for this node: give it up in good order, then the lease is released. */
  giveUp(partition: number): Promise<void>;
}

export interface Lease {
  readonly partition: number;
  /** The bucket's revision at the acquisition: grows over all owners. */
  readonly epoch: number;
  /** ms since epoch. */
  validUntil(): number;
}

interface Held {
  revision: number;
  term: Term;
  isLeaving: boolean;
  renewing?: Promise<void>;
}

/**
 * Leases of partitions in a NATS bucket whose entries expire. Each node keeps a heartbeat entry and holds its fair share: partitions by
 * number of nodes. Every write names the revision that it replaces, so only one node can win. Time is taken before a write is sent and
 * by both local clocks, so that a lease ends here before it ends in the bucket.
 */
export class Leases {
  private readonly held = new Map<number, Held>();
  private readonly session = randomBytes(6).toString('hex');
  private readonly nodeKey: string;
  private connection: NatsConnection | undefined;
  private manager: JetStreamManager | undefined;
  private timer: NodeJS.Timeout | undefined;
  private readonly expiry: NodeJS.Timeout;
  private turning: Promise<void> | undefined;
  private isTurnWanted = false;
  private stopping = false;
  private lastRenewal = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly options: LeaseOptions,
    private readonly listener: LeaseListener,
  ) {
    const node = options.nodeId.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 64);
    this.nodeKey = `node.${node}-${this.session}`;
    this.expiry = setInterval(() => this.expire(), Math.max(20, options.ttlMs / 50));
    this.expiry.unref();
  }

  async up(connection: NatsConnection): Promise<void> {
    const isNew = this.connection !== connection;
    this.connection = connection;
    this.manager = await connection.jetstreamManager({ checkAPI: false, timeout: this.timeoutMs });
    if (isNew) connection.subscribe(this.nudgeSubject, { callback: () => this.wake() });
    this.lastRenewal = Number.NEGATIVE_INFINITY;
    this.nudge();
    this.wake();
  }

  down(): void {
    this.manager = undefined;
  }

  private get timeoutMs(): number {
    return Math.min(2_000, this.options.ttlMs / 3);
  }

  private get nudgeSubject(): string {
    return `seentics-leases.${this.options.bucket}`;
  }

  /** Tells the other nodes that something has changed. */
  private nudge(): void {
    try {
      this.connection?.publish(this.nudgeSubject);
    } catch {
      // Closed: the others find out in their next turn.
    }
  }

  /** A turn now, or right after the one under way. */
  private wake(): void {
    if (this.stopping) return;
    this.isTurnWanted = true;
    if (this.turning !== undefined) return;
    clearTimeout(this.timer);
    this.turning = this.turns().finally(() => {
      this.turning = undefined;
    });
  }

  private async turns(): Promise<void> {
    while (this.isTurnWanted && !this.stopping) {
      this.isTurnWanted = false;
      let isWaiting = true;
      try {
        isWaiting = await this.turn();
      } catch (error) {
        this.options.log.warn({ err: error }, 'cannot take part in sharing the partitions: trying again');
      }
      const ms = isWaiting ? Math.min(250, this.options.ttlMs / 10) : this.options.ttlMs / 6;
      this.timer = setTimeout(() => this.wake(), ms);
    }
  }

  /** Renews, counts the nodes, takes or gives. True while this node has less than its share. */
  private async turn(): Promise<boolean> {
    const { manager } = this;
    if (manager === undefined) return true;
    if (performance.now() - this.lastRenewal >= this.options.ttlMs / 3.5) await this.renew();
    const { nodes, taken } = await this.survey(manager);
    const share = fairShare(nodes, this.nodeKey, this.options.partitions);
    const mine = [...this.held].filter(([, { isLeaving }]) => !isLeaving);
    for (const [partition] of mine.slice(share)) void this.leave(partition);
    if (mine.length >= share) return false;
    const free = shuffled(this.options.partitions).filter(
      (partition) => !taken.has(partition) && !this.held.has(partition),
    );
    await Promise.all(free.slice(0, share - mine.length).map((partition) => this.acquire(partition)));
    return true;
  }

  private async survey(manager: JetStreamManager): Promise<{ nodes: Set<string>; taken: Set<number> }> {
    const prefix = `$KV.${this.options.bucket}.`;
    const filter = { subjects_filter: `${prefix}>` };
    const { state } = await manager.streams.info(`KV_${this.options.bucket}`, filter);
    const nodes = new Set([this.nodeKey]);
    const taken = new Set<number>();
    for (const subject of Object.keys(state.subjects ?? {})) {
      const key = subject.slice(prefix.length);
      if (key.startsWith('node.')) nodes.add(key);
      else if (key.startsWith('part.')) taken.add(Number(key.slice(5)));
    }
    return { nodes, taken };
  }

  private async acquire(partition: number): Promise<void> {
    const start = thisMoment();
    let revision: number;
    try {
      revision = await this.put(`part.${partition}`, 0);
    } catch (error) {
      if (apiErrorCode(error) !== ApiError.wrongLastSequence) throw error;
      return; // another node was quicker
    }
    if (this.stopping) {
      await this.remove(revision);
      return;
    }
    const held: Held = { revision, term: this.termFrom(start), isLeaving: false };
    this.held.set(partition, held);
    const validUntil = () => {
      const left = this.held.get(partition) === held ? held.term.left() : 0;
      return left > 0 ? Date.now() + left : 0;
    };
    this.listener.acquired({ partition, epoch: revision, validUntil });
  }

  /** A lease ends here a tenth of its time before it ends in the bucket. */
  private termFrom(start: Moment): Term {
    return new Term(start, this.options.ttlMs * 0.9);
  }

  private async renew(): Promise<void> {
    this.lastRenewal = performance.now();
    const results = await Promise.allSettled([this.put(this.nodeKey), ...this.renewHeld()]);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) {
      this.lastRenewal = Number.NEGATIVE_INFINITY;
      throw failed.reason;
    }
  }

  private renewHeld(): Promise<void>[] {
    return [...this.held].map(([partition, held]) => {
      held.renewing = this.renewOne(partition, held);
      return held.renewing;
    });
  }

  private async renewOne(partition: number, held: Held): Promise<void> {
    const start = thisMoment();
    const key = `part.${partition}`;
    try {
      held.revision = await this.put(key, held.revision);
    } catch (error) {
      if (apiErrorCode(error) !== ApiError.wrongLastSequence) throw error;
      // Either it is not ours any more, or an earlier renewal came through although its answer was lost.
      const revision = await this.ownRevision(partition);
      if (revision === undefined) {
        this.drop(partition, held, 'it expired or another node holds it');
        return;
      }
      held.revision = await this.put(key, revision);
    }
    held.term = this.termFrom(start);
  }

  private async ownRevision(partition: number): Promise<number | undefined> {
    try {
      const stored = await this.manager?.streams.getMessage(`KV_${this.options.bucket}`, {
        last_by_subj: `$KV.${this.options.bucket}.part.${partition}`,
      });
      if (stored === undefined || codec.decode(stored.data).session !== this.session) return undefined;
      return stored.seq;
    } catch (error) {
      if (apiErrorCode(error) === ApiError.noMessage) return undefined;
      throw error;
    }
  }

  /** Writes an entry; `expected` is the revision it replaces, 0 for none. */
  private async put(key: string, expected?: number): Promise<number> {
    const { connection, manager } = this;
    if (connection === undefined || manager === undefined) throw new Error('NATS is away');
    const stream = connection.jetstream({ timeout: this.timeoutMs });
    const data = codec.encode({ node: this.options.nodeId, session: this.session });
    const { seq } = await stream.publish(`$KV.${this.options.bucket}.${key}`, data, {
      timeout: this.timeoutMs,
      headers: headers(),
      ...(expected === undefined ? {} : { expect: { lastSubjectSequence: expected } }),
    });
    return seq;
  }

  private async remove(revision: number): Promise<void> {
    try {
      await this.manager?.streams.deleteMessage(`KV_${this.options.bucket}`, revision, false);
    } catch (error) {
      this.options.log.debug({ err: error }, 'a lease is left to expire');
    }
  }

  /** Gives a partition up in good order; its lease is renewed until the listener is done. */
  private async leave(partition: number): Promise<void> {
    const held = this.held.get(partition);
    if (held === undefined || held.isLeaving) return;
    held.isLeaving = true;
    try {
      await this.listener.giveUp(partition);
    } finally {
      await this.release(partition, held);
    }
  }

  private async release(partition: number, held: Held): Promise<void> {
    if (this.held.get(partition) !== held) return;
    this.held.delete(partition);
    await held.renewing?.catch(() => {});
    await this.remove(held.revision);
    this.nudge();
  }

  private expire(): void {
    for (const [partition, held] of this.held) {
      if (held.term.left() <= 0) this.drop(partition, held, 'it could not be renewed in time');
    }
  }

  private drop(partition: number, held: Held, reason: string): void {
    if (this.held.get(partition) !== held) return;
    this.held.delete(partition);
    this.options.log.warn({ partition, reason }, 'lost a partition');
    this.listener.lost(partition);
    this.wake();
  }

  /** Gives everything up in good order. */
  async stop(): Promise<void> {
    this.stopping = true;
    clearTimeout(this.timer);
    await this.turning;
    const node = { filter: `$KV.${this.options.bucket}.${this.nodeKey}` };
    await this.manager?.streams.purge(`KV_${this.options.bucket}`, node).catch(() => {});
    const renewing = setInterval(() => void Promise.allSettled(this.renewHeld()), this.options.ttlMs / 3);
    await Promise.allSettled([...this.held.keys()].map((partition) => this.leave(partition)));
    clearInterval(renewing);
    clearInterval(this.expiry);
    this.nudge();
  }
}

function shuffled(count: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j] ?? 0, order[i] ?? 0];
  }
  return order;
}
