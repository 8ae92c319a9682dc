/**
 * Finds out what has arrived at sites whose figures are being looked at, and copies the rows concerned, before the next question asks for
 * it (docs/decisions/0017-looking-ahead.md). All of it together takes at most a share of a core, it gives way to questions under way,
 * and it ends by itself when nobody asks any more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import { SLOT_MS } from '../../../../metrics/metrics-store.js';
import type { Telemetry } from '../../../../telemetry.js';
import type { Expected, Watching } from './arrivals.js';
import { type LookAheadMetrics, lookAheadMetrics } from './carried-metrics.js';
import { type Base, slotAt } from './stretch.js';

export interface LookAheadOptions {
  /** Of one core's time, for all sites together: more than 0, at most 1. */
  readonly share: number;
  /** How long a site is watched after a question; default a minute. */
  readonly watchMs?: number;
  /** From one look at a site to the next; default 2,400 ms, so that it is over before what is known is too old. */
  readonly intervalMs?: number;
  /** For tests. */
  readonly time?: Time;
  readonly telemetry?: Pick<Telemetry, 'registry'>;
}

export interface Time {
  /** Milliseconds. */
  now(): number;
  /** Ends early when the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

const REAL_TIME: Time = {
  now: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal, ref: false }).catch(() => undefined),
};

/** What is done ahead, and when not. */
export interface AheadWork {
  lookAhead(siteId: string, expected: readonly Expected[], signal: AbortSignal): Promise<void>;
  /** @returns whether nothing more is to be done */
  prepareSlot(siteId: string, expected: Expected, most: number, signal: AbortSignal): Promise<boolean>;
  /** Questions are under way. */
  isBusy(): boolean;
}

const DEFAULT_INTERVAL_MS = 2_400;
/** A question until then finds everything; ends of periods are rounded up to a second. */
const REACH_MS = 4_000;
/** So long before an earlier period comes to the next slot that is being prepared, in parts that keep nobody waiting for long. */
const LEAD_MS = 5 * 60_000;
const SESSIONS_A_PART = 25;
const GIVE_WAY_MS = 40;
/** What is not used of the share is saved up to this; preparing slots leaves so much of it to looks. */
const MAX_CREDIT_MS = 1_000;
const RESERVE_MS = 300;
/** As many as have copies. */
const MAX_SITES = 20;
const MAX_EXPECTED = 32;
const DEFAULT_WATCH_MS = 60_000;

interface Asked extends Expected {
  /** What its period has in common with others that end likewise. */
  readonly end: string;
  readonly at: number;
}

interface Site {
  /** Questions of the last minute, by what they have in common. */
  readonly asked: LRUCache<string, Asked>;
  /** Ends of earlier periods whose slot is prepared. */
  readonly prepared: LRUCache<string, true>;
  isCarried: boolean;
  nextLookAt: number;
}

export class LookAhead implements Watching {
  private readonly sites: LRUCache<string, Site>;
  private readonly metrics: LookAheadMetrics;
  private readonly time: Time;
  private readonly watchMs: number;
  private readonly intervalMs: number;
  private readonly closing = new AbortController();
  private running: Promise<void> | undefined;
  /** Time that may be spent, and when that was so. */
  private readonly credit = { ms: MAX_CREDIT_MS, at: 0 };

  constructor(
    private readonly work: AheadWork,
    private readonly options: LookAheadOptions,
  ) {
    this.time = options.time ?? REAL_TIME;
    this.watchMs = options.watchMs ?? DEFAULT_WATCH_MS;
    this.intervalMs = options.intervalMs ?? DEFAULT_INTERVAL_MS;
    this.sites = new LRUCache({ max: MAX_SITES });
    this.metrics = lookAheadMetrics(options.telemetry, () => this.watched().length);
  }

  asked(siteId: string, base: Base, to: number): void {
    const known = this.sites.get(siteId);
    const site = known ?? {
      asked: new LRUCache<string, Asked>({
        max: MAX_EXPECTED,
        ttl: this.watchMs,
        perf: this.time,
        ttlResolution: 0,
      }),
      prepared: new LRUCache<string, true>({
        max: MAX_EXPECTED,
        ttl: 2 * LEAD_MS,
        perf: this.time,
        ttlResolution: 0,
      }),
      isCarried: false,
      nextLookAt: 0,
    };
    if (known === undefined) this.sites.set(siteId, site);
    const { arrivedBefore } = base;
    const end = isMoving(to) ? `-${Math.round((Date.now() - to) / 60_000)}` : `${to}`;
    // Counts have moved on.
    for (const [key, other] of site.asked)
      if (other.end === end && other.base.arrivedBefore < arrivedBefore) site.asked.delete(key);
    site.asked.set(`${arrivedBefore} ${base.to} ${end}`, {
      base: { arrivedBefore, to: base.to },
      ...{ to, end, at: this.time.now() },
    });
  }

  /** Sites whose answers are computed at once have nothing to look ahead for. */
  carried(siteId: string): void {
    const site = this.sites.get(siteId);
    if (site === undefined) return;
    if (!site.isCarried) site.nextLookAt = this.time.now() + this.intervalMs;
    site.isCarried = true;
    if (this.closing.signal.aborted) return;
    this.running ??= Promise.resolve()
      .then(() => this.run())
      .finally(() => {
        this.running = undefined;
      });
  }

  close(): void {
    this.closing.abort();
  }

  /** Sites that somebody looks at. */
  private watched(): (readonly [string, Site])[] {
    return [...this.sites].filter(([, { asked, isCarried }]) => {
      asked.purgeStale();
      return isCarried && asked.size > 0;
    });
  }

  private async run(): Promise<void> {
    const { signal } = this.closing;
    while (!signal.aborted) {
      const watched = this.watched();
      const first = watched.sort(([, a], [, b]) => a.nextLookAt - b.nextLookAt)[0];
      if (first === undefined) break;
      const now = this.time.now();
      const untilLook = Math.max(first[1].nextLookAt - now, this.untilCredit(0));
      const untilSlot = this.untilCredit(RESERVE_MS);
      const slot = untilLook > 0 && untilSlot < untilLook ? this.nextSlot(watched) : undefined;
      const wait = (slot ? untilSlot : untilLook) || (this.work.isBusy() ? GIVE_WAY_MS : 0);
      if (wait > 0) await this.time.sleep(wait, signal);
      else await this.within(slot ?? (() => this.look(...first)));
    }
    this.forget();
  }

  /** Milliseconds until more than so much may be spent. */
  private untilCredit(least: number): number {
    const now = this.time.now();
    const { share } = this.options;
    const ms = Math.min(MAX_CREDIT_MS, this.credit.ms + (now - this.credit.at) * share);
    Object.assign(this.credit, { ms, at: now });
    return ms > least ? 0 : Math.ceil((least - ms) / share) + 1;
  }

  /** Does one thing; it is paid for by rest. */
  private async within(work: () => Promise<void>): Promise<void> {
    const start = this.time.now();
    let outcome: 'done' | 'failed' = 'done';
    await work().catch(() => {
      outcome = 'failed';
    });
    const end = this.time.now();
    this.credit.ms -= end - start;
    this.metrics.add(outcome, (end - start) / 1_000);
  }

  private async look(siteId: string, site: Site): Promise<void> {
    site.nextLookAt = this.time.now() + this.intervalMs;
    const expected = [...site.asked.values()].flatMap((asked) => [
      this.expected(asked, 0),
      this.expected(asked, REACH_MS),
    ]);
    try {
      await this.work.lookAhead(siteId, expected, this.closing.signal);
    } catch (error) {
      // The next question finds out what is wrong, and begins anew.
      this.sites.delete(siteId);
      throw error;
    }
  }

  /** A part of the preparation of a slot to which the end of an earlier period comes soon. */
  private nextSlot(watched: readonly (readonly [string, Site])[]): (() => Promise<void>) | undefined {
    for (const [siteId, site] of watched)
      for (const asked of site.asked.values()) {
        const { base, to } = this.expected(asked, LEAD_MS);
        const key = `${base.arrivedBefore} ${base.to} ${slotAt(to)}`;
        if (slotAt(to) === slotAt(this.expected(asked, 0).to) || site.prepared.has(key)) continue;
        return async () => {
          // What fails once is left to the question.
          site.prepared.set(key, true);
          const { signal } = this.closing;
          if (!(await this.work.prepareSlot(siteId, { base, to }, SESSIONS_A_PART, signal)))
            site.prepared.delete(key);
        };
      }
    return undefined;
  }

  /** @param inMs from now on */
  private expected({ base, to, at }: Asked, inMs: number): Expected {
    return { base, to: isMoving(to) ? to + this.time.now() - at + inMs : to };
  }

  private forget(): void {
    for (const [siteId, { asked }] of this.sites) if (asked.size === 0) this.sites.delete(siteId);
  }
}

/** A running period, or one before it that ends at the same time of the day. */
const isMoving = (to: number): boolean => to % SLOT_MS !== 0;
