/** Feeds the pool: requests wait in a fair queue and leave in micro-batches, few enough in flight that order and bounds hold. */
import { AppError } from '../errors.js';
import { FairQueue, type FairQueueLimits } from './fair-queue.js';
import type { EnrichPool } from './pool.js';
import type { EnrichOutcome, EnrichRequest } from './protocol.js';

export interface FeederLimits extends FairQueueLimits {
  /** Most requests and bytes of one task of the pool. */
  readonly taskItems: number;
  readonly taskBytes: number;
  /** Under load a task waits so long for more requests, ms. */
  readonly lingerMs: number;
}

interface Waiting {
  readonly lane: string;
  readonly bytes: number;
  readonly request: EnrichRequest;
  resolve(outcome: EnrichOutcome): void;
  reject(error: unknown): void;
}

/** What a waiting request costs beside its body and headers. */
const REQUEST_OVERHEAD_BYTES = 256;

export class TaskFeeder {
  readonly queue: FairQueue<Waiting>;
  private tasks = 0;
  private scheduled = false;
  private lastTaskAt = 0;

  constructor(
    private readonly pool: EnrichPool,
    private readonly limits: FeederLimits,
  ) {
    this.queue = new FairQueue(limits);
  }

  /**
   * @param lane requests of one lane (a site) do not delay those of others
   * @throws AppError `overloaded` when the lane or the whole queue is full
   */
  enrich(lane: string, request: EnrichRequest): Promise<EnrichOutcome> {
    return new Promise((resolve, reject) => {
      const { body, userAgent, origin } = request;
      const bytes = body.byteLength + userAgent.length + origin.length + REQUEST_OVERHEAD_BYTES;
      if (this.queue.push(lane, { lane, bytes, request, resolve, reject }, bytes)) this.schedule();
      else reject(new AppError('overloaded', 'too many events are waiting', { retryAfterSeconds: 1 }));
    });
  }

  /**
   * Sees to it that waiting requests leave: at the end of this turn of the loop when a worker is free and it has been quiet, else
   * with the linger (so that tasks are worth their hop) or when a task comes back.
   */
  private schedule(): void {
    if (this.scheduled || this.tasks > this.pool.threads) return;
    this.scheduled = true;
    const busy = this.tasks >= this.pool.threads;
    const quiet = performance.now() - this.lastTaskAt >= this.limits.lingerMs;
    const full = this.queue.items >= this.limits.taskItems || this.queue.bytes >= this.limits.taskBytes;
    if (full || (quiet && !busy)) setImmediate(this.dispatch);
    else setTimeout(this.dispatch, this.limits.lingerMs);
  }

  /** One task a thread, and one that waits for whichever is done first. */
  private readonly dispatch = (): void => {
    this.scheduled = false;
    while (this.queue.items > 0 && this.tasks <= this.pool.threads) {
      const batch = this.queue.take(this.limits.taskItems, this.limits.taskBytes);
      this.lastTaskAt = performance.now();
      this.tasks++;
      void this.run(batch);
    }
  };

  private async run(batch: readonly Waiting[]): Promise<void> {
    try {
      const { outcomes, tookMs } = await this.pool.enrich(batch.map((waiting) => waiting.request));
      batch.forEach((waiting, index) => {
        const outcome = outcomes[index];
        this.queue.charge(waiting.lane, waiting.bytes, tookMs[index] ?? 0);
        if (outcome !== undefined) waiting.resolve(outcome);
        else waiting.reject(new AppError('internal', 'the event could not be processed'));
      });
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    } finally {
      this.tasks--;
      if (this.queue.items > 0) this.schedule();
    }
  }
}
