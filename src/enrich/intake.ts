/**
 * The main thread's side of ingestion: finds the site, queues fairly, feeds the pool with micro-batches and hands the rows on. The
 * answer of a request waits until its rows are durable.
 */
import { AppError, type ErrorCode } from '../errors.js';
import type { SiteFrame } from '../events/frame.js';
import type { SiteSink } from '../events/site-sink.js';
import type { Telemetry } from '../telemetry.js';
import type { Site, SiteDirectory } from '../websites/site.js';
import { FairQueue, type FairQueueLimits } from './fair-queue.js';
import { IntakeMetrics } from './intake-metrics.js';
import type { EnrichPool } from './pool.js';
import type { EnrichOutcome, EnrichRequest, RejectedEvent } from './protocol.js';
import { scanSiteId } from './site-scan.js';

/** A record request as the edge has it. */
export interface IngestRequest {
  readonly source: EnrichRequest['source'];
  /** The inflated body; the intake's to keep. */
  readonly bytes: Uint8Array;
  readonly address: string;
  readonly userAgent: string;
  /** `Origin` header, else `Referer`, else ''. */
  readonly origin: string;
  /** ms since epoch. */
  readonly receivedAt: number;
  readonly prefetch: boolean;
}

export type IngestAnswer =
  | {
      readonly kind: 'accepted';
      readonly received: number;
      /** Stored, or recognised as a bot or a copy later on: all that was not rejected. */
      readonly accepted: number;
      readonly rejected: number;
      /** The first of the rejected events. */
      readonly errors: readonly RejectedEvent[];
      /** Of a single event; '' for batches. */
      readonly eventId: string;
      readonly visitorId: string;
      readonly sessionId: string;
    }
  /** Refused for good: the same request will never be taken. */
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string };

export interface IntakeLimits extends FairQueueLimits {
  /** Most requests and bytes of one task of the pool. */
  readonly taskItems: number;
  readonly taskBytes: number;
  /** Under load a task waits so long for more requests, ms. */
  readonly lingerMs: number;
}

export const INTAKE_LIMITS: IntakeLimits = {
  laneItems: 5000,
  laneBytes: 32 << 20,
  totalItems: 20_000,
  totalBytes: 128 << 20,
  taskItems: 128,
  taskBytes: 256 << 10,
  lingerMs: 1,
};

/** What a waiting request costs beside its body and headers. */
const REQUEST_OVERHEAD_BYTES = 256;

export interface IntakeOptions {
  readonly pool: EnrichPool;
  readonly sites: SiteDirectory;
  readonly sink: SiteSink;
  readonly limits?: Partial<IntakeLimits>;
  readonly telemetry: Telemetry;
}

export interface Intake {
  /**
   * Resolves when what it accepts is durable.
   * @throws AppError `overloaded`, `quota_exceeded`, `storage_unavailable`: nothing was taken, try again later
   */
  submit(request: IngestRequest): Promise<IngestAnswer>;
  /** Takes nothing more and resolves when all that was taken is answered. */
  close(): Promise<void>;
}

export function createIntake(options: IntakeOptions): Intake {
  return new PooledIntake(options);
}

interface Waiting {
  readonly request: EnrichRequest;
  readonly site: Site | null;
  /** The worker has already named another site once. */
  readonly again: boolean;
  resolve(answer: IngestAnswer | Promise<IngestAnswer>): void;
  reject(error: unknown): void;
}

class PooledIntake implements Intake {
  private readonly queue: FairQueue<Waiting>;
  private readonly limits: IntakeLimits;
  private readonly metrics: IntakeMetrics;
  private tasks = 0;
  private resolving = 0;
  private delivering = 0;
  private scheduled = false;
  private lastTaskAt = 0;
  private closing: (() => void) | null = null;

  constructor(private readonly options: IntakeOptions) {
    this.limits = { ...INTAKE_LIMITS, ...options.limits };
    this.queue = new FairQueue(this.limits);
    this.metrics = new IntakeMetrics(options.telemetry.registry, this.queue);
  }

  submit(request: IngestRequest): Promise<IngestAnswer> {
    if (this.closing !== null) return Promise.reject(this.full('the server is shutting down'));
    const name = scanSiteId(request.bytes, request.source);
    if (name === '') return this.enqueue(request, null, false);
    const site = this.options.sites.peek(name);
    if (site === undefined) return this.resolveFirst(request, name, false);
    return site === null ? Promise.resolve(this.unknownSite()) : this.enqueue(request, site, false);
  }

  async close(): Promise<void> {
    if (this.isIdle()) {
      this.closing ??= () => undefined;
      return;
    }
    await new Promise<void>((resolve) => {
      this.closing = resolve;
      this.schedule();
    });
  }

  private isIdle(): boolean {
    return this.queue.items === 0 && this.tasks === 0 && this.resolving + this.delivering === 0;
  }

  private async resolveFirst(request: IngestRequest, name: string, again: boolean): Promise<IngestAnswer> {
    if (this.resolving >= this.limits.laneItems) throw this.full('too many requests for new sites');
    this.resolving++;
    try {
      const site = await this.options.sites.resolve(name);
      return site === null ? this.unknownSite() : await this.enqueue(request, site, again);
    } finally {
      this.resolving--;
      this.settle();
    }
  }

  private enqueue(from: IngestRequest, site: Site | null, again: boolean): Promise<IngestAnswer> {
    const request: EnrichRequest = {
      source: from.source,
      body: from.bytes,
      site,
      address: from.address,
      userAgent: from.userAgent,
      origin: from.origin,
      receivedAt: from.receivedAt,
      prefetch: from.prefetch,
    };
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { request, site, again, resolve, reject };
      const bytes =
        from.bytes.byteLength + from.userAgent.length + from.origin.length + REQUEST_OVERHEAD_BYTES;
      if (!this.queue.push(site?.siteId ?? '', waiting, bytes))
        reject(this.full('too many events are waiting'));
      else this.schedule();
    });
  }

  /**
   * Sees to it that waiting requests leave: at the end of this turn of the loop when a worker is free and it has been quiet, else
   * with the linger (so that tasks are worth their hop) or when a task comes back.
   */
  private schedule(): void {
    if (this.scheduled || this.tasks > this.options.pool.threads) return;
    this.scheduled = true;
    const busy = this.tasks >= this.options.pool.threads;
    const quiet = performance.now() - this.lastTaskAt >= this.limits.lingerMs;
    const full = this.queue.items >= this.limits.taskItems || this.queue.bytes >= this.limits.taskBytes;
    if (full || (quiet && !busy)) setImmediate(this.dispatch);
    else setTimeout(this.dispatch, this.limits.lingerMs);
  }

  private readonly dispatch = (): void => {
    this.scheduled = false;
    while (this.queue.items > 0 && this.tasks <= this.options.pool.threads) {
      const batch = this.queue.take(this.limits.taskItems, this.limits.taskBytes);
      this.lastTaskAt = performance.now();
      this.tasks++;
      void this.run(batch);
    }
  };

  private async run(batch: readonly Waiting[]): Promise<void> {
    try {
      const { outcomes } = await this.options.pool.enrich(batch.map((waiting) => waiting.request));
      batch.forEach((waiting, index) => {
        const outcome = outcomes[index];
        if (outcome === undefined)
          waiting.reject(new AppError('internal', 'the event could not be processed'));
        else waiting.resolve(this.answer(waiting, outcome));
      });
    } catch (error) {
      for (const waiting of batch) waiting.reject(error);
    } finally {
      this.tasks--;
      if (this.queue.items > 0) this.schedule();
      this.settle();
    }
  }

  private settle(): void {
    if (this.closing !== null && this.isIdle()) this.closing();
  }

  private answer(waiting: Waiting, outcome: EnrichOutcome): Promise<IngestAnswer> | IngestAnswer {
    switch (outcome.outcome) {
      case 'rows':
        return this.deliver(waiting, outcome);
      case 'refused':
        this.metrics.refused(outcome.code);
        this.keepBooks(waiting, outcome.received);
        return { kind: 'refused', code: outcome.code, message: outcome.message };
      case 'other_site':
        return this.tryOtherSite(waiting, outcome.site);
    }
  }

  private async deliver(
    waiting: Waiting,
    outcome: Extract<EnrichOutcome, { outcome: 'rows' }>,
  ): Promise<IngestAnswer> {
    const { rowCount, received, rejected, errors, eventId, visitorId, sessionId } = outcome;
    this.metrics.events(rowCount, rejected, errors);
    if (rowCount === 0) this.keepBooks(waiting, received);
    else if (waiting.site !== null) {
      const { siteId } = waiting.site;
      const source = waiting.request.source;
      await this.deliverFrame({ siteId, source, received, rejected, rowCount, rows: [outcome.rows] });
    }
    return {
      kind: 'accepted',
      received,
      accepted: rowCount,
      rejected,
      errors,
      eventId,
      visitorId,
      sessionId,
    };
  }

  /** Counts events that are refused for good (P2). Nobody waits for it: when it is lost, both sides of the books miss them. */
  private keepBooks(waiting: Waiting, received: number): void {
    if (waiting.site === null || received === 0) return;
    const frame: SiteFrame = {
      siteId: waiting.site.siteId,
      source: waiting.request.source,
      received,
      rejected: received,
      rowCount: 0,
      rows: [],
    };
    this.deliverFrame(frame).catch(() => this.metrics.booksLost(received));
  }

  private async deliverFrame(frame: SiteFrame): Promise<void> {
    this.delivering++;
    try {
      await this.options.sink.deliver(frame);
    } finally {
      this.delivering--;
      this.settle();
    }
  }

  private tryOtherSite(waiting: Waiting, name: string): Promise<IngestAnswer> | IngestAnswer {
    const { request } = waiting;
    const from: IngestRequest = { ...request, bytes: request.body };
    if (waiting.again) return this.unknownSite();
    const site = this.options.sites.peek(name);
    if (site === undefined) return this.resolveFirst(from, name, true);
    return site === null ? this.unknownSite() : this.enqueue(from, site, true);
  }

  private unknownSite(): IngestAnswer {
    this.metrics.refused('website_not_found');
    return { kind: 'refused', code: 'website_not_found', message: 'invalid website_id' };
  }

  private full(message: string): AppError {
    this.metrics.refused('overloaded');
    return new AppError('overloaded', message, { retryAfterSeconds: 1 });
  }
}
