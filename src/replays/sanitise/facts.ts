/** What a chunk tells about its visit, for the list of recordings. */
import type { Json } from './scrub.js';

/** Three clicks within a second on one element, as the trackers count rage clicks. */
const RAGE_CLICKS = 3;
const RAGE_MS = 1_000;

export interface Facts {
  firstMs: number;
  lastMs: number;
  hasFullSnapshot: boolean;
  clicks: number;
  rageClicks: number;
  errors: number;
}

/** Gathers facts from sanitised events. Times are the recorder's. */
export class FactGatherer {
  readonly facts: Facts = {
    firstMs: Number.POSITIVE_INFINITY,
    lastMs: Number.NEGATIVE_INFINITY,
    hasFullSnapshot: false,
    clicks: 0,
    rageClicks: 0,
    errors: 0,
  };
  /** Times of clicks by node. */
  readonly #clicks = new Map<number, number[]>();

  event(type: number, timestamp: number, data: Json): void {
    const { facts } = this;
    facts.firstMs = Math.min(facts.firstMs, timestamp);
    facts.lastMs = Math.max(facts.lastMs, timestamp);
    if (type === 2) facts.hasFullSnapshot = true;
    else if (type === 3) this.#click(timestamp, data);
    else if (type === 5 && typeof data.tag === 'string' && /error|exception/i.test(data.tag)) facts.errors++;
    else if (type === 6 && isConsoleError(data)) facts.errors++;
  }

  #click(timestamp: number, { source, type, id }: Json): void {
    if (source !== 2 || type !== 2 || typeof id !== 'number') return;
    this.facts.clicks++;
    const times = this.#clicks.get(id);
    if (times === undefined) this.#clicks.set(id, [timestamp]);
    else times.push(timestamp);
  }

  /** The facts, clicks of bursts counted. */
  finish(): Facts {
    for (const times of this.#clicks.values()) this.facts.rageClicks += inBursts(times);
    return this.facts;
  }
}

/** How many of these times belong to a burst. */
function inBursts(times: number[]): number {
  if (times.length < RAGE_CLICKS) return 0;
  times.sort((a, b) => a - b);
  let count = 0;
  let counted = 0; // Times before this index are counted already.
  for (let first = 0; first + RAGE_CLICKS <= times.length; first++) {
    const last = first + RAGE_CLICKS - 1;
    if ((times[last] ?? 0) - (times[first] ?? 0) > RAGE_MS) continue;
    count += last + 1 - Math.max(first, counted);
    counted = last + 1;
  }
  return count;
}

function isConsoleError({ plugin, payload }: Json): boolean {
  if (typeof plugin !== 'string' || !plugin.startsWith('rrweb/console@')) return false;
  return typeof payload === 'object' && payload !== null && 'level' in payload && payload.level === 'error';
}
