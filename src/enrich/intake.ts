/**
 * The main thread's side of ingestion: finds the site, has the request enriched and hands the rows on. The answer of a request waits
 * until its rows are durable.
 */
import { AppError, type ErrorCode } from '../errors.js';
import type { SiteSink } from '../events/site-sink.js';
import type { Telemetry } from '../telemetry.js';
import type { Site, SiteDirectory } from '../websites/site.js';
import { IntakeMetrics } from './intake-metrics.js';
import type { EnrichPool } from './pool.js';
import type { EnrichOutcome, EnrichRequest, RejectedEvent } from './protocol.js';
import { scanSiteId, topSiteId } from './site-scan.js';
import { enrichSite } from './site-table.js';
import { type FeederLimits, TaskFeeder } from './task-feeder.js';

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
  /** `DNT: 1` or `Sec-GPC: 1`. */
  readonly optOut: boolean;
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
      /** Of a single event; '' for all else. */
      readonly eventId: string;
      readonly visitorId: string;
      readonly sessionId: string;
    }
  /** Refused for good: the same request will never be taken. */
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string };

export const INTAKE_LIMITS: FeederLimits = {
  laneItems: 5000,
  laneBytes: 32 << 20,
  totalItems: 20_000,
  totalBytes: 128 << 20,
  taskItems: 128,
  taskBytes: 64 << 10,
  lingerMs: 1,
};

export interface IntakeOptions {
  readonly pool: EnrichPool;
  readonly sites: SiteDirectory;
  readonly sink: SiteSink;
  readonly limits?: Partial<FeederLimits>;
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

class PooledIntake implements Intake {
  private readonly feeder: TaskFeeder;
  private readonly limits: FeederLimits;
  private readonly metrics: IntakeMetrics;
  /** Requests that wait for their site. */
  private resolving = 0;
  /** Requests that are not answered yet, and books that are not delivered. */
  private open = 0;
  private closing = false;
  private closed: (() => void) | null = null;

  constructor(private readonly options: IntakeOptions) {
    this.limits = { ...INTAKE_LIMITS, ...options.limits };
    this.feeder = new TaskFeeder(options.pool, this.limits);
    this.metrics = new IntakeMetrics(options.telemetry.registry, this.feeder.queue);
  }

  async submit(request: IngestRequest): Promise<IngestAnswer> {
    if (this.closing) throw overloaded('the server is shutting down');
    this.open++;
    try {
      const name = scanSiteId(request.bytes, request.source);
      return await this.take(request, name, false);
    } catch (error) {
      if (error instanceof AppError) this.metrics.refused(error.code);
      throw error;
    } finally {
      this.settle();
    }
  }

  async close(): Promise<void> {
    this.closing = true;
    if (this.open === 0) return;
    await new Promise<void>((resolve) => {
      this.closed = resolve;
    });
  }

  private settle(): void {
    this.open--;
    if (this.open === 0) this.closed?.();
  }

  /**
   * @param name of the site as the body seems to have it, '' when the scan found none: then the worker tells
   * @param again the worker has already named another site once
   */
  private async take(request: IngestRequest, name: string, again: boolean): Promise<IngestAnswer> {
    const known = name === '' ? null : this.options.sites.peek(name);
    const site = known === undefined ? await this.resolve(name) : known;
    // What the scan found may be a property of the same name: then the worker tells.
    const isCertain = again || (name !== '' && name === topSiteId(request.bytes, request.source));
    if (site === null && isCertain) return this.unknownSite();
    const outcome = await this.feeder.enrich(site?.siteId ?? '', enrichRequest(request, site));
    switch (outcome.outcome) {
      case 'rows':
        return this.deliver(request, site, outcome);
      case 'refused':
        this.metrics.refused(outcome.code);
        this.keepBooks(request, site, outcome.received);
        return { kind: 'refused', code: outcome.code, message: outcome.message };
      case 'other_site':
        return again ? this.unknownSite() : this.take(request, outcome.site, true);
    }
  }

  private async resolve(name: string): Promise<Site | null> {
    if (this.resolving >= this.limits.laneItems) throw overloaded('too many requests for new sites');
    this.resolving++;
    try {
      return await this.options.sites.resolve(name);
    } finally {
      this.resolving--;
    }
  }

  private async deliver(
    request: IngestRequest,
    site: Site | null,
    outcome: Extract<EnrichOutcome, { outcome: 'rows' }>,
  ): Promise<IngestAnswer> {
    const { rowCount, received, rejected, errors, eventId, visitorId, sessionId } = outcome;
    this.metrics.events(request.source, rowCount, rejected, errors);
    if (rowCount === 0) this.keepBooks(request, site, received);
    else if (site !== null) {
      const { siteId } = site;
      const { source } = request;
      await this.options.sink.deliver({ siteId, source, received, rejected, rowCount, rows: [outcome.rows] });
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
  private keepBooks(request: IngestRequest, site: Site | null, received: number): void {
    if (site === null || received === 0) return;
    const { siteId } = site;
    const { source } = request;
    this.open++;
    this.options.sink
      .deliver({ siteId, source, received, rejected: received, rowCount: 0, rows: [] })
      .catch(() => this.metrics.booksLost(received))
      .finally(() => this.settle());
  }

  private unknownSite(): IngestAnswer {
    this.metrics.refused('website_not_found');
    return { kind: 'refused', code: 'website_not_found', message: 'invalid website_id' };
  }
}

function enrichRequest(from: IngestRequest, site: Site | null): EnrichRequest {
  return {
    source: from.source,
    body: from.bytes,
    site: site && enrichSite(site),
    address: from.address,
    userAgent: from.userAgent,
    origin: from.origin,
    receivedAt: from.receivedAt,
    prefetch: from.prefetch,
    optOut: from.optOut,
  };
}

function overloaded(message: string): AppError {
  return new AppError('overloaded', message, { retryAfterSeconds: 1 });
}
