import { Fingerprint, FingerprintSet, NO_SITE } from './fingerprint.js';

/**
 * How far an event's timestamp may lie after the moment any copy of it can have been received: a client clock up to a minute fast
 * (beyond that the edge takes its own), and up to a minute between the clocks of two nodes.
 */
export const CLOCK_MARGIN_MS = 2 * 60_000;

/** Each generation is split, so that one growth step moves some ten thousand ids (a millisecond) and not millions. */
const SEGMENTS = 64;

/** The ids of one stretch of time. */
class Generation {
  readonly #segments = Array.from({ length: SEGMENTS }, () => new FingerprintSet());
  size = 0;

  constructor(
    readonly ordinal: number,
    /** ms since epoch; the millisecond in which it began belongs to its predecessor. */
    readonly startedAt: number,
  ) {}

  get byteLength(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.byteLength, 0);
  }

  has(fingerprint: Fingerprint): boolean {
    return this.#segments[fingerprint.hi >>> 26]?.has(fingerprint) ?? false;
  }

  add(fingerprint: Fingerprint): void {
    if (this.#segments[fingerprint.hi >>> 26]?.add(fingerprint)) this.size++;
  }
}

/**
 * The recent ids of all partitions that this node writes: what is in it is stored, for certain. Two generations by time of arrival; a
 * full one becomes the older, and what was the older is forgotten.
 *
 * What the window does not know is new only if every copy would have to be in it. A copy cannot have been received before the event
 * happened. So with `coveredSince(partition)` = the time since when everything received for the partition is in the window, an event
 * with timestamp - CLOCK_MARGIN_MS >= coveredSince is judged by the window alone; whether an older one is new only the store can tell.
 * Ids read back from the store at a takeover come without their sites; two sites may use the same id, so such a hit is only a
 * suspicion, which the store confirms.
 *
 * Memory: at most `capacity` ids at 11 to 23 bytes each, taken as ids come.
 */
export class DedupeWindow {
  /** Hashes ids for this window, and for any set that is compared with it. */
  readonly fingerprint: Fingerprint;
  #current: Generation;
  #older: Generation | undefined;
  /** The newest generation that holds refilled ids. */
  #refilledIn = -1;
  readonly #partitions = new Map<number, { readonly since: number; readonly ordinal: number }>();

  /**
   * @param capacity ids of both generations together
   * @param now ms since epoch; tests replace it
   */
  constructor(
    readonly capacity: number,
    readonly now: () => number = Date.now,
    fingerprint: Fingerprint = new Fingerprint(),
  ) {
    this.fingerprint = fingerprint;
    this.#current = new Generation(0, now());
  }

  get size(): number {
    return this.#current.size + (this.#older?.size ?? 0);
  }

  /** Bytes of memory. */
  get byteLength(): number {
    return this.#current.byteLength + (this.#older?.byteLength ?? 0);
  }

  /** Is the event stored, for certain? Leaves its fingerprint read. */
  knows(id: Uint8Array, salt: number): boolean {
    return this.#has(this.fingerprint.read(id, salt));
  }

  /** Is an event with this id, of some site, among those read back at a takeover? */
  suspects(id: Uint8Array): boolean {
    return (
      this.#refilledIn >= (this.#older ?? this.#current).ordinal &&
      this.#has(this.fingerprint.read(id, NO_SITE))
    );
  }

  #has(fingerprint: Fingerprint): boolean {
    return this.#current.has(fingerprint) || (this.#older?.has(fingerprint) ?? false);
  }

  /** Takes the id at the start of `id` in. The event must be stored. */
  add(id: Uint8Array, salt: number): void {
    if (this.#current.size >= this.capacity / 2) {
      this.#older = this.#current;
      this.#current = new Generation(this.#older.ordinal + 1, this.now() + 1);
    }
    this.#current.add(this.fingerprint.read(id, salt));
  }

  /** Begins a partition: `ids` are all that were received for it since `since` (ms since epoch). */
  open(partition: number, since: number, ids: readonly Uint8Array[]): void {
    const { ordinal } = this.#current;
    for (const id of ids) this.add(id, NO_SITE);
    if (ids.length > 0) this.#refilledIn = this.#current.ordinal;
    this.#partitions.set(partition, { since, ordinal });
  }

  /** Ends a partition: another writer may write it now. Its ids stay: they are stored, whoever owns the partition. */
  close(partition: number): void {
    this.#partitions.delete(partition);
  }

  /** Everything received for the partition at or after this time (ms since epoch) is in the window; Infinity for a closed one. */
  coveredSince(partition: number): number {
    const opened = this.#partitions.get(partition);
    if (opened === undefined) return Number.POSITIVE_INFINITY;
    const oldest = this.#older ?? this.#current;
    return opened.ordinal >= oldest.ordinal ? opened.since : oldest.startedAt;
  }

  /** Does the window alone tell whether an event of this timestamp (ms since epoch) is new? */
  judges(partition: number, timestamp: number): boolean {
    return timestamp - CLOCK_MARGIN_MS >= this.coveredSince(partition);
  }
}
