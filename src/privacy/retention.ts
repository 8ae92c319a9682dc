/**
 * Removes what is older than a site's owner wants it to be: soon after midnight (UTC), by one node at a time, in bounded steps.
 */
import { createHash } from 'node:crypto';
import { dayOf } from '../enrich/visitor-hash.js';
import type { ExecutionStore } from '../storage/metadata/executions.js';
import type { WebsiteRecord, WebsiteStore } from '../storage/metadata/metadata.js';
import type { Telemetry } from '../telemetry.js';
import { settingsFrom } from '../websites/settings.js';
import { type RetentionMetrics, retentionMetrics } from './retention-metrics.js';
import type { Expiry, RetentionStore } from './retention-store.js';

const DAY_MS = 86_400_000;
const CHECK_MS = 3_600_000;
/** The first check comes so many times as soon. */
const FIRST_CHECK_PARTS = 60;
/** A run by itself ends after this time, and goes on with the next check. */
const RUN_MS = 1_800_000;
const SITES_A_STEP = 500;
const EXECUTIONS_A_STEP = 2_000;

export interface RetentionOptions {
  readonly websites: Pick<WebsiteStore, 'pageOfAll'>;
  readonly store: Pick<RetentionStore, 'deleteExpired'>;
  /** Removes recordings that were written before a time (ms since epoch), rows and objects. @returns how many objects */
  readonly deleteRecordings: (siteId: string, before: number) => Promise<number>;
  readonly executions: Pick<ExecutionStore, 'expireOf'>;
  /** Removes what is noted of imports and is needed no more. */
  readonly forgetNotes: () => Promise<void>;
  /** Runs the work while nobody else in the cluster does. */
  readonly lock: <T>(work: () => Promise<T>) => Promise<T>;
  readonly telemetry: Telemetry;
  /** How often it is looked whether a day has begun, or a setting has changed, ms. Default an hour. */
  readonly checkMs?: number;
  /** ms since epoch; for tests. */
  readonly now?: () => number;
}

export interface RetentionRun {
  /** ms since epoch. */
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly sites: number;
  /** How many rows (of recordings: objects) were removed, by what they were of. */
  readonly deleted: ReadonlyMap<string, number>;
  /** False: the time was over first; the next run goes on. */
  readonly isComplete: boolean;
}

export interface Retention {
  /**
   * Removes what has expired. Waits while another node does.
   * @param limitMs the run ends after this time, done or not
   * @throws StoreUnavailableError, AppError `storage_unavailable`, `timeout`: the rest is left for the next run
   */
  run(limitMs: number): Promise<RetentionRun>;
  /** From now on it runs by itself. */
  start(): void;
  close(): Promise<void>;
}

/** The first moment that is kept: today and the `days` days before it (UTC). ms since epoch. */
export function keptSince(days: number, now: number): number {
  return Math.max(0, dayOf(now) - days * DAY_MS);
}

export function createRetention(options: RetentionOptions): Retention {
  return new DailyRetention(options);
}

class DailyRetention implements Retention {
  readonly #now: () => number;
  readonly #metrics: RetentionMetrics;
  /** Day and settings of the last run that was complete. */
  #done = '';
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: RetentionOptions) {
    this.#now = options.now ?? Date.now;
    this.#metrics = retentionMetrics(options.telemetry.registry);
  }

  start(): void {
    const { checkMs = CHECK_MS } = this.options;
    const next = (ms: number) => {
      this.#timer = setTimeout(() => {
        this.#running = this.#check().finally(() => next(checkMs));
      }, ms);
      this.#timer.unref();
    };
    next(checkMs / FIRST_CHECK_PARTS);
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#running;
    clearTimeout(this.#timer);
  }

  async run(limitMs: number): Promise<RetentionRun> {
    const startedAt = this.#now();
    const end = this.#metrics.seconds.startTimer();
    try {
      const done = await this.options.lock(() => this.#runAll(Date.now() + limitMs));
      this.#metrics.runs.inc({ outcome: done.isComplete ? 'complete' : 'partial' });
      if (done.isComplete) this.#metrics.lastSuccess.setToCurrentTime();
      return { ...done, startedAt, finishedAt: this.#now() };
    } catch (error) {
      this.#metrics.runs.inc({ outcome: 'failed' });
      throw error;
    } finally {
      end();
    }
  }

  async #check(): Promise<void> {
    const { log } = this.options.telemetry;
    try {
      const plan = await this.#plan();
      if (plan === this.#done) return;
      const { deleted, isComplete, sites } = await this.run(RUN_MS);
      if (isComplete) this.#done = plan;
      if (deleted.size > 0) log.info({ sites, deleted: Object.fromEntries(deleted) }, 'expired data removed');
    } catch (err) {
      log.warn({ err }, 'expired data could not be removed: it is tried again in an hour');
    }
  }

  /** What there is to do, as a text: changes with the day, the sites and their settings. */
  async #plan(): Promise<string> {
    const hash = createHash('sha256').update(`${dayOf(this.#now())}\n`);
    for await (const page of this.#pages())
      for (const { siteId, before } of page) hash.update(`${siteId} ${before}\n`);
    return hash.digest('hex');
  }

  async #runAll(deadline: number): Promise<Pick<RetentionRun, 'sites' | 'deleted' | 'isComplete'>> {
    const deleted = new Map<string, number>();
    let sites = 0;
    let latest: number | undefined;
    for await (const page of this.#pages()) {
      sites += page.length;
      for (const { before } of page) latest = Math.max(latest ?? 0, before);
      if (!(await this.#removeOf(page, deadline, deleted))) return { sites, deleted, isComplete: false };
    }
    // A quarantined message that nobody could read may be of any site: it stays no longer than that of the strictest; without any, as
    // long as that of one that says nothing.
    const before = latest ?? keptSince(settingsFrom({}).dataRetentionDays, this.#now());
    const isComplete = await this.#removeRows([{ siteId: '', before }], deadline, deleted);
    if (isComplete) await this.options.forgetNotes();
    return { sites, deleted, isComplete };
  }

  /** @returns whether all was done before the deadline */
  async #removeOf(page: readonly Expiry[], deadline: number, deleted: Map<string, number>): Promise<boolean> {
    const { executions, deleteRecordings } = this.options;
    const add = (what: string, count: number) => this.#count(deleted, what, count);
    if (!(await this.#removeRows(page, deadline, deleted))) return false;
    for (const { siteId, before } of page) {
      if (Date.now() >= deadline) return false;
      add('recordings', await deleteRecordings(siteId, before));
      for (;;) {
        const count = await executions.expireOf(siteId, new Date(before), EXECUTIONS_A_STEP);
        add('automation_executions', count);
        if (count < EXECUTIONS_A_STEP) break;
        if (Date.now() >= deadline) return false;
      }
    }
    return true;
  }

  /** @returns whether all was done before the deadline */
  async #removeRows(page: readonly Expiry[], deadline: number, deleted: Map<string, number>) {
    const removed = await this.options.store.deleteExpired(page, deadline);
    for (const [table, count] of removed.rows) this.#count(deleted, table, count);
    return removed.isComplete;
  }

  #count(deleted: Map<string, number>, what: string, count: number): void {
    if (count === 0) return;
    deleted.set(what, (deleted.get(what) ?? 0) + count);
    this.#metrics.removed.inc({ what }, count);
  }

  async *#pages(): AsyncGenerator<Expiry[]> {
    const now = this.#now();
    let after = '';
    for (;;) {
      const page = await this.options.websites.pageOfAll(after, SITES_A_STEP);
      if (page.length > 0) yield page.map((site) => expiryOf(site, now));
      const last = page.at(-1);
      if (last === undefined || page.length < SITES_A_STEP) return;
      after = last.siteId;
    }
  }
}

function expiryOf({ siteId, settings }: WebsiteRecord, now: number): Expiry {
  return { siteId, before: keptSince(settingsFrom(settings).dataRetentionDays, now) };
}
