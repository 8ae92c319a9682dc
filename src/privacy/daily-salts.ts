/** The keys of cookieless visitors on this node: fetched before they are needed, forgotten when their time is over. */
import { randomBytes } from 'node:crypto';
import { Counter, Gauge } from 'prom-client';
import { type DailySalt, dayOf, SALT_BYTES } from '../enrich/visitor-hash.js';
import type { SharedSalt, VisitorSaltStore } from '../storage/metadata/visitor-salts.js';
import type { Telemetry } from '../telemetry.js';

const DAY_MS = 86_400_000;
const TICK_MS = 60_000;
/** A day's key is made so long before the day begins, so that no event has to wait for it at midnight. */
const PREPARE_MS = 3_600_000;
/** Longest life of a key, from when it was made. */
export const SALT_LIFE_MS = 2 * DAY_MS;

export interface DailySaltsOptions {
  readonly store: VisitorSaltStore;
  readonly telemetry: Telemetry;
  /** ms since epoch; for tests. */
  readonly now?: () => number;
}

export interface DailySalts {
  /** The keys that may be used now: of today and yesterday, and shortly before midnight of tomorrow. */
  current(): readonly DailySalt[];
  /** Destroys keys whose time is over, here and in the database, and fetches those that are missing. Never rejects. */
  refresh(): Promise<void>;
  close(): Promise<void>;
}

interface Held extends DailySalt {
  readonly madeAt: number;
  /** Made here alone, because the database was away: replaced as soon as it is back. */
  readonly isOwn: boolean;
}

/** Fetches the keys of the moment; from then on it keeps them up by itself until it is closed. */
export async function openDailySalts(options: DailySaltsOptions): Promise<DailySalts> {
  const salts = new KeptSalts(options);
  await salts.refresh();
  salts.start();
  return salts;
}

class KeptSalts implements DailySalts {
  readonly #now: () => number;
  readonly #failures: Counter;
  readonly #destroyed: Counter;
  #held: readonly Held[] = [];
  #refreshing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: DailySaltsOptions) {
    this.#now = options.now ?? Date.now;
    const registers = [options.telemetry.registry];
    const held = () => this.#held.length;
    new Gauge({
      name: 'seentics_visitor_salts',
      help: 'Keys of cookieless visitors that this node holds',
      registers,
      collect() {
        this.set(held());
      },
    });
    this.#failures = new Counter({
      name: 'seentics_visitor_salt_failures_total',
      help: 'Times that keys of cookieless visitors could not be fetched or destroyed; tried again every minute',
      registers,
    });
    this.#destroyed = new Counter({
      name: 'seentics_visitor_salts_destroyed_total',
      help: 'Keys that this node removed from the database',
      registers,
    });
  }

  start(): void {
    this.#timer = setInterval(() => void this.refresh(), TICK_MS);
    this.#timer.unref();
  }

  current(): readonly DailySalt[] {
    const now = this.#now();
    if (this.#held.some((salt) => isOver(salt, now))) this.#forget(now);
    return this.#held;
  }

  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#refreshing;
    for (const { key } of this.#held) key.fill(0);
    this.#held = [];
  }

  async #refresh(): Promise<void> {
    const { store, telemetry } = this.options;
    const now = this.#now();
    this.#forget(now);
    try {
      const yesterday = dayText(dayOf(now) - DAY_MS);
      this.#destroyed.inc(await store.destroy(new Date(now - SALT_LIFE_MS), yesterday));
      for (const day of neededDays(now)) await this.#fetch(day, now);
      await this.#fetchYesterday(dayOf(now) - DAY_MS);
    } catch (err) {
      this.#failures.inc();
      telemetry.log.warn({ err }, 'keys of cookieless visitors could not be fetched or destroyed');
      this.#makeOwn(now);
    }
  }

  async #fetch(day: number, now: number): Promise<void> {
    if (this.#held.some((salt) => salt.day === day && !salt.isOwn)) return;
    const shared = await this.options.store.share(dayText(day), randomBytes(SALT_BYTES), new Date(now));
    this.#holdShared(day, shared);
  }

  /** For events that are sent again; a day that had no key needs none any more. */
  async #fetchYesterday(day: number): Promise<void> {
    if (this.#held.some((salt) => salt.day === day)) return;
    const shared = await this.options.store.find(dayText(day));
    if (shared !== null) this.#holdShared(day, shared);
  }

  #holdShared(day: number, { salt, madeAt }: SharedSalt): void {
    this.#hold({ day, key: salt, madeAt: madeAt.getTime(), isOwn: false });
  }

  /** Better a visitor who counts twice than events that are lost. */
  #makeOwn(now: number): void {
    const day = dayOf(now);
    if (this.#held.some((salt) => salt.day === day)) return;
    this.#hold({ day, key: Uint8Array.from(randomBytes(SALT_BYTES)), madeAt: now, isOwn: true });
  }

  #hold(salt: Held): void {
    this.#held = [...this.#held.filter(({ day }) => day !== salt.day), salt];
  }

  #forget(now: number): void {
    for (const salt of this.#held) if (isOver(salt, now)) salt.key.fill(0);
    this.#held = this.#held.filter((salt) => !isOver(salt, now));
  }
}

function isOver(salt: Held, now: number): boolean {
  return salt.madeAt + SALT_LIFE_MS <= now || salt.day < dayOf(now) - DAY_MS;
}

/** Today, and tomorrow shortly before it begins. */
function neededDays(now: number): number[] {
  const today = dayOf(now);
  const tomorrow = today + DAY_MS;
  return now >= tomorrow - PREPARE_MS ? [today, tomorrow] : [today];
}

function dayText(day: number): string {
  return new Date(day).toISOString().slice(0, 10);
}
