import { cutAddress } from '../enrich/cut-address.js';
import { scanSiteId } from '../enrich/site-scan.js';
import { hostOf } from '../enrich/url.js';
import { AppError, type ErrorCode } from '../errors.js';
import type { SiteFrame } from '../events/frame.js';
import type { Telemetry } from '../telemetry.js';
import { hostAllowed, type Site, type SiteDirectory } from '../websites/site.js';
import type { RecordingQuota } from './quota.js';
import { type RecorderMetrics, recorderMetrics, type UploadOutcome } from './recorder-metrics.js';
import type { RecordingPool } from './recording-pool.js';
import type { RecordingOutcome, RecordingTask } from './recording-protocol.js';
import { isSampled } from './sampling.js';
import { scanSessionId } from './session-scan.js';

export interface Upload {
  /** The inflated body; the recorder's to keep. */
  readonly bytes: Uint8Array;
  readonly address: string;
  readonly userAgent: string;
  /** `Origin` header, else `Referer`, else ''. */
  readonly origin: string;
  /** ms since epoch. */
  readonly receivedAt: number;
  /** The visitor asked not to be tracked. */
  readonly optOut: boolean;
}

export type UploadAnswer =
  /** Durable. */
  | { readonly kind: 'stored' }
  /** As the site's settings have it, not taken. */
  | { readonly kind: 'ignored'; readonly reason: 'not_sampled' | 'page_excluded' | 'do_not_track' }
  /** It will be refused as often as it comes. */
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string };

export interface Recorder {
  /**
   * Resolves once what it accepts is durable (P1).
   * @throws AppError `overloaded`, `storage_unavailable`: nothing was taken, try again later
   */
  submit(upload: Upload): Promise<UploadAnswer>;
  /** Takes nothing more and resolves when all that was taken is answered. */
  close(): Promise<void>;
}

export interface RecorderOptions {
  readonly pool: RecordingPool;
  readonly sites: SiteDirectory;
  readonly quota: RecordingQuota;
  /** Makes a frame durable in the stream of recordings. */
  readonly publish: (frame: SiteFrame) => Promise<void>;
  /** The stream of events is so full that recordings have to give way. */
  readonly mustYield: () => Promise<boolean>;
  readonly production: boolean;
  /** `tracker`: trackers have sampled already, only a rate of 0 is enforced here. */
  readonly sampling: 'server' | 'tracker';
  readonly telemetry: Telemetry;
  /** Bytes of uploads that are not answered yet. Default 96 MiB. */
  readonly maxBytes?: number;
  /** Uploads of one site that are in the pool or wait for it. Default 32: half of what may wait for the pool. */
  readonly maxOfSite?: number;
}

const YIELD_RETRY_SECONDS = 30;

export function createRecorder(options: RecorderOptions): Recorder {
  return new PooledRecorder(options);
}

class PooledRecorder implements Recorder {
  readonly #metrics: RecorderMetrics;
  readonly #maxBytes: number;
  readonly #maxOfSite: number;
  /** Uploads in the pool, or waiting for it, by site; '' for those whose site the scan has not found. */
  readonly #ofSite = new Map<string, number>();
  #bytes = 0;
  #open = 0;
  #closed: (() => void) | undefined;
  #isClosing = false;

  constructor(private readonly options: RecorderOptions) {
    this.#metrics = recorderMetrics(options.telemetry.registry, () => this.#bytes);
    this.#maxBytes = options.maxBytes ?? 96 * 1024 * 1024;
    this.#maxOfSite = options.maxOfSite ?? 32;
  }

  async submit(upload: Upload): Promise<UploadAnswer> {
    const name = scanSiteId(upload.bytes, 'event');
    const size = upload.bytes.length;
    if (this.#isClosing || this.#bytes + size > this.#maxBytes) {
      this.#count('busy', 'full');
      throw full();
    }
    this.#bytes += size;
    this.#open++;
    try {
      return await this.#counted(this.#take(upload, name, false));
    } finally {
      this.#bytes -= size;
      this.#open--;
      if (this.#open === 0) this.#closed?.();
    }
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    if (this.#open > 0)
      await new Promise<void>((resolve) => {
        this.#closed = resolve;
      });
  }

  async #counted(work: Promise<UploadAnswer>): Promise<UploadAnswer> {
    try {
      const answer = await work;
      if (answer.kind === 'stored') this.#count('stored', '');
      else if (answer.kind === 'ignored') this.#count('ignored', answer.reason);
      else this.#count('rejected', answer.code);
      return answer;
    } catch (error) {
      const isBusy = error instanceof AppError && error.code === 'overloaded';
      this.#count(isBusy ? 'busy' : 'failed', error instanceof AppError ? error.code : 'internal');
      throw error;
    }
  }

  #count(outcome: UploadOutcome, reason: string): void {
    this.#metrics.uploads.inc({ outcome, reason });
  }

  /**
   * @param name of the site as the body has it, '' when the scan found none: then the worker tells
   * @param again the worker has already named another site once
   */
  async #take(upload: Upload, name: string, again: boolean): Promise<UploadAnswer> {
    const site = name === '' ? null : await this.options.sites.resolve(name);
    if (name !== '') {
      const answer = await this.#gate(upload, site, name);
      if (answer !== null) return answer;
    }
    const outcome = await this.#inPool(site, this.#taskOf(upload, site));
    if (outcome.kind === 'other_site') {
      if (again || outcome.site === '') return unknownSite(outcome.site);
      return this.#take({ ...upload, bytes: new Uint8Array(outcome.body) }, outcome.site, true);
    }
    return this.#finish(site, outcome);
  }

  /** @param site counted by itself, however the body spells its id: nobody takes the whole pool by one site */
  async #inPool(site: Site | null, task: RecordingTask): Promise<RecordingOutcome> {
    const key = site?.siteId ?? '';
    const waiting = this.#ofSite.get(key) ?? 0;
    if (waiting >= this.#maxOfSite) throw full();
    this.#ofSite.set(key, waiting + 1);
    try {
      return await this.options.pool.run(task);
    } finally {
      const left = (this.#ofSite.get(key) ?? 1) - 1;
      if (left === 0) this.#ofSite.delete(key);
      else this.#ofSite.set(key, left);
    }
  }

  /** What the site's settings say before anything is parsed; null: go on. */
  async #gate(upload: Upload, site: Site | null, name: string): Promise<UploadAnswer | null> {
    const { quota, production } = this.options;
    if (site === null) return unknownSite(name);
    if (!site.isActive) return this.#refuse(site, 'website_inactive', `website is inactive: ${name}`);
    if (!hostAllowed(site, hostOf(upload.origin), production))
      return this.#refuse(site, 'origin_not_allowed', 'domain mismatch');
    if (!site.replayEnabled)
      return this.#refuse(site, 'feature_disabled', 'session replay is switched off for this website');
    if (upload.optOut && site.respectDoNotTrack) {
      this.#bookRefused(site.siteId);
      return { kind: 'ignored', reason: 'do_not_track' };
    }
    if (!this.#mayBeSampled(site, upload.bytes)) return { kind: 'ignored', reason: 'not_sampled' };
    if (await this.options.mustYield())
      throw new AppError('overloaded', 'recordings give way to events at the moment', {
        retryAfterSeconds: YIELD_RETRY_SECONDS,
      });
    if (await quota.isUsedUp(site.siteId))
      return this.#refuse(site, 'quota_exceeded', 'this website has recorded as much today as it may');
    return null;
  }

  /** Spares the pool what is surely not kept; it has the last word. */
  #mayBeSampled(site: Site, bytes: Uint8Array): boolean {
    const rate = this.#rateOf(site);
    if (rate >= 1) return true;
    const sessionId = scanSessionId(bytes);
    return rate > 0 && (sessionId === '' || isSampled(site.siteId, sessionId, rate));
  }

  #rateOf({ replaySamplingRate: rate }: Site): number {
    return this.options.sampling === 'tracker' && rate > 0 ? 1 : rate;
  }

  #taskOf(upload: Upload, site: Site | null): RecordingTask {
    const { userAgent, receivedAt } = upload;
    const address = site?.cutAddress === true ? cutAddress(upload.address) : upload.address;
    return {
      body: ownBuffer(upload.bytes),
      ...{ address, userAgent, receivedAt },
      siteId: site?.siteId ?? '',
      siteUuid: site?.id ?? '',
      samplingRate: site === null ? 0 : this.#rateOf(site),
      includePatterns: site?.replayIncludePatterns ?? null,
      excludePatterns: site?.replayExcludePatterns ?? null,
    };
  }

  async #finish(
    site: Site | null,
    outcome: Exclude<RecordingOutcome, { kind: 'other_site' }>,
  ): Promise<UploadAnswer> {
    if (outcome.kind === 'failed') {
      this.options.telemetry.log.error({ reason: outcome.reason }, 'a recording could not be processed');
      return this.#refuse(site, 'internal', 'the recording could not be processed');
    }
    if (outcome.kind === 'refused') return this.#refuse(site, outcome.code, outcome.message);
    if (outcome.kind === 'ignored') return outcome;
    if (site === null) return unknownSite('');
    const { rowCount, rows } = outcome;
    await this.options.publish({
      siteId: site.siteId,
      source: 'recording',
      received: rowCount,
      rejected: 0,
      rowCount,
      rows: [new Uint8Array(rows)],
    });
    this.#metrics.rawBytes.inc(outcome.rawBytes);
    this.#metrics.storedBytes.inc(outcome.storedBytes);
    this.#metrics.events.inc(outcome.events);
    this.#metrics.removed.inc(outcome.removed);
    await this.options.quota.add(site.siteId, outcome.storedBytes);
    return { kind: 'stored' };
  }

  #refuse(site: Site | null, code: ErrorCode, message: string): UploadAnswer {
    if (site !== null) this.#bookRefused(site.siteId);
    return { kind: 'refused', code, message };
  }

  /** The books get what is refused, too; they do not hold up the answer. */
  #bookRefused(siteId: string): void {
    const frame = { siteId, source: 'recording', received: 1, rejected: 1, rowCount: 0, rows: [] } as const;
    this.options.publish(frame).catch((error: unknown) => {
      this.options.telemetry.log.warn({ err: error }, 'a refused recording is missing in the books');
    });
  }
}

const full = (): AppError =>
  new AppError('overloaded', 'too many recordings wait to be processed', { retryAfterSeconds: 5 });

function unknownSite(name: string): UploadAnswer {
  return { kind: 'refused', code: 'website_not_found', message: `invalid website_id: ${name}` };
}

/** The memory of the bytes, theirs alone, so that it can move to a worker. */
function ownBuffer(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = bytes;
  if (buffer instanceof ArrayBuffer && byteOffset === 0 && byteLength === buffer.byteLength) return buffer;
  const copy = new ArrayBuffer(byteLength);
  new Uint8Array(copy).set(bytes);
  return copy;
}
