import { AppError } from '../errors.js';
import type { SiteFrame, Source } from '../events/frame.js';
import { StreamFullError, StreamUnavailableError } from '../storage/stream/stream.js';
import type { Answers } from './answers.js';
import type { Actor, ActorContext } from './runtime/actor.js';
import { TokenBucket } from './token-bucket.js';

/** A request's frame on its way through its site's actor. */
export interface Delivery {
  readonly frame: SiteFrame;
  /** Encoded size. */
  readonly bytes: number;
  /** Called exactly once: without argument when the frame is durable. */
  readonly settle: (error?: unknown) => void;
}

export interface SiteActorHost {
  /** @param requests how many were merged into the frame */
  publish(frame: SiteFrame, requests: number): Promise<void>;
  overQuota(): void;
  /** Of all sites. */
  readonly answers: Answers;
  readonly quotaPerMinute: number;
  readonly publishesInFlight: number;
  readonly mergeBytes: number;
  readonly now: () => number;
}

/**
 * The actor of one site. It publishes as long as it has a publish to spare; then it does not return from `receive`, its mailbox
 * fills, and the next publish takes all of that at once: batches grow with the load and cost no waiting without it.
 */
export class SiteActor implements Actor<Delivery> {
  #inFlight = 0;
  #settled: (() => void) | undefined;
  /** Heat points and funnel events have a quota each, so that they take nothing from the events'. */
  readonly #buckets = new Map<'events' | 'heatmap' | 'funnel', TokenBucket>();

  constructor(
    readonly context: ActorContext<string, Delivery>,
    readonly host: SiteActorHost,
  ) {}

  receive(first: Delivery): void | Promise<void> {
    for (const deliveries of this.#gather(first).values()) this.#publish(deliveries);
    if (this.#inFlight >= this.host.publishesInFlight) return this.#oneSettled();
  }

  canPassivate(): boolean {
    return this.#inFlight === 0;
  }

  async onStop(): Promise<void> {
    while (this.#inFlight > 0) await this.#oneSettled();
  }

  /** The first delivery and what waits behind it, within the quota and the size of a frame, by source. */
  #gather(first: Delivery): Map<Source, Delivery[]> {
    const bySource = new Map<Source, Delivery[]>();
    let bytes = 0;
    for (let next: Delivery | undefined = first; next !== undefined; next = this.context.takeWaiting()) {
      if (!this.#withinQuota(next)) continue;
      const same = bySource.get(next.frame.source);
      if (same === undefined) bySource.set(next.frame.source, [next]);
      else same.push(next);
      bytes += next.bytes;
      if (bytes >= this.host.mergeBytes) break;
    }
    return bySource;
  }

  #withinQuota(delivery: Delivery): boolean {
    const { source, rowCount } = delivery.frame;
    // Books alone cost nothing: anybody can have requests refused in the name of a site.
    if (this.host.quotaPerMinute <= 0 || rowCount === 0) return true;
    const waitMs = this.#bucket(source).take(rowCount, this.host.now());
    if (waitMs === 0) return true;
    this.host.overQuota();
    const retryAfterSeconds = Math.ceil(waitMs / 1000);
    delivery.settle(
      new AppError('quota_exceeded', 'this website sends more events a minute than its quota allows', {
        retryAfterSeconds,
      }),
    );
    return false;
  }

  #bucket(source: Source): TokenBucket {
    const kind = source === 'heatmap' || source === 'funnel' ? source : 'events';
    let bucket = this.#buckets.get(kind);
    if (bucket === undefined) {
      bucket = new TokenBucket(this.host.quotaPerMinute, this.host.now());
      this.#buckets.set(kind, bucket);
    }
    return bucket;
  }

  #publish(deliveries: readonly Delivery[]): void {
    this.#inFlight++;
    const done = (error?: unknown) => {
      this.#inFlight--;
      this.#settled?.();
      this.host.answers.give(deliveries.length, (i) => deliveries[i]?.settle(error));
    };
    const failed = (error: unknown) => done(publishError(error));
    try {
      this.host.publish(merge(deliveries), deliveries.length).then(() => done(), failed);
    } catch (error) {
      failed(error);
    }
  }

  #oneSettled(): Promise<void> {
    return new Promise((resolve) => {
      this.#settled = resolve;
    });
  }
}

/** One frame of several of the same site and source. */
function merge(deliveries: readonly Delivery[]): SiteFrame {
  const [first] = deliveries;
  if (first === undefined) throw new RangeError('nothing to merge');
  if (deliveries.length === 1) return first.frame;
  const { siteId, source } = first.frame;
  let received = 0;
  let rejected = 0;
  let rowCount = 0;
  const rows: Uint8Array[] = [];
  for (const { frame } of deliveries) {
    received += frame.received;
    rejected += frame.rejected;
    rowCount += frame.rowCount;
    rows.push(...frame.rows);
  }
  return { siteId, source, received, rejected, rowCount, rows };
}

function publishError(error: unknown): unknown {
  if (error instanceof StreamUnavailableError || error instanceof StreamFullError)
    return new AppError('storage_unavailable', 'the event stream takes nothing at the moment', {
      cause: error,
      retryAfterSeconds: 5,
    });
  return error;
}
