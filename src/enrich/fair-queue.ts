/**
 * A bounded queue that serves its lanes (sites) in turn, by deficit round robin (Shreedhar and Varghese 1995): each visit gives a lane
 * a quantum of bytes to send, so neither many requests nor large ones of one site hold up another's. A lane whose requests took more
 * time than their bytes account for owes the difference, and lets others go first until it is paid.
 */
export interface FairQueueLimits {
  readonly laneItems: number;
  readonly laneBytes: number;
  readonly totalItems: number;
  readonly totalBytes: number;
}

interface Entry<T> {
  readonly item: T;
  readonly bytes: number;
  next: Entry<T> | null;
}

interface Lane<T> {
  readonly key: string;
  first: Entry<T> | null;
  last: Entry<T> | null;
  items: number;
  bytes: number;
  /** Bytes that the lane may still take out in its turn; negative while it owes. */
  credit: number;
  /** When time alone will have paid what it owes, by the clock. */
  paidAt: number;
  next: Lane<T> | null;
}

const QUANTUM_BYTES = 8 << 10;
/** What a worker gets through in a millisecond, about: the price of its time. */
const BYTES_PER_MS = 32 << 10;
/** A lane owes no more than this: a worker that was held up itself (by a collection of garbage, say) looks as if a request had been slow. */
const MAX_DEBT_MS = 100;
/** Lanes without anything waiting whose debts are remembered. */
const MAX_DEBTORS = 1_024;

export class FairQueue<T> {
  private readonly lanes = new Map<string, Lane<T>>();
  private firstLane: Lane<T> | null = null;
  private lastLane: Lane<T> | null = null;
  /** When lanes that have nothing waiting will have paid what they owe, by the clock: time pays for who sends nothing. */
  private readonly debts = new Map<string, number>();
  items = 0;
  bytes = 0;

  /** @param clock ms, monotonic */
  constructor(
    private readonly limits: FairQueueLimits,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  /** Lanes that have something waiting. */
  get laneCount(): number {
    return this.lanes.size;
  }

  /** @returns false when the lane or the whole is full */
  push(key: string, item: T, bytes: number): boolean {
    if (this.items >= this.limits.totalItems || this.bytes + bytes > this.limits.totalBytes) return false;
    const lane = this.lanes.get(key) ?? this.openLane(key);
    if (lane.items >= this.limits.laneItems || lane.bytes + bytes > this.limits.laneBytes) {
      if (lane.items === 0) this.lanes.delete(key);
      return false;
    }
    const entry: Entry<T> = { item, bytes, next: null };
    if (lane.last === null) {
      lane.first = entry;
      this.appendLane(lane);
    } else lane.last.next = entry;
    lane.last = entry;
    lane.items++;
    lane.bytes += bytes;
    this.items++;
    this.bytes += bytes;
    return true;
  }

  /** Takes up to `maxItems`, and no more once `maxBytes` are reached; at least one when there is any. */
  take(maxItems: number, maxBytes: number): T[] {
    const taken: T[] = [];
    let bytes = 0;
    let visits = 0;
    let before = 0;
    while (this.firstLane !== null && taken.length < maxItems && bytes < maxBytes) {
      if (visits++ >= this.lanes.size) {
        if (taken.length === before) this.skipRounds();
        before = taken.length;
        visits = 1;
      }
      const lane = this.firstLane;
      // Where many wait, rounds take long.
      if (lane.credit < 0 && lane.paidAt <= this.clock()) lane.credit = 0;
      lane.credit += QUANTUM_BYTES;
      let entry = lane.first;
      while (entry !== null && entry.bytes <= lane.credit && taken.length < maxItems && bytes < maxBytes) {
        taken.push(entry.item);
        bytes += entry.bytes;
        entry = this.removeFirst(lane, entry);
      }
      this.rotate(lane);
    }
    return taken;
  }

  /**
   * A request of the lane has come back.
   * @param bytes that it was pushed with
   * @param ms that it kept a worker busy
   */
  charge(key: string, bytes: number, ms: number): void {
    const owedMs = ms - bytes / BYTES_PER_MS;
    if (owedMs <= 0) return;
    const lane = this.lanes.get(key);
    const now = this.clock();
    const paidAt = Math.max(now, lane?.paidAt ?? this.debts.get(key) ?? now) + owedMs;
    const paidAtLatest = Math.min(paidAt, now + MAX_DEBT_MS);
    if (lane !== undefined) {
      lane.credit = Math.max(-MAX_DEBT_MS * BYTES_PER_MS, lane.credit - owedMs * BYTES_PER_MS);
      lane.paidAt = paidAtLatest;
      return;
    }
    this.debts.set(key, paidAtLatest);
    if (this.debts.size > MAX_DEBTORS) this.forgetDebts(now);
  }

  /** Those that are paid, else the oldest. */
  private forgetDebts(now: number): void {
    for (const [key, paidAt] of this.debts) if (paidAt <= now) this.debts.delete(key);
    const [oldest] = this.debts.keys();
    if (this.debts.size > MAX_DEBTORS && oldest !== undefined) this.debts.delete(oldest);
  }

  /** When no lane has credit enough, the rounds until one has are none that anybody would notice. */
  private skipRounds(): void {
    let rounds = Number.POSITIVE_INFINITY;
    for (const { first, credit } of this.lanes.values())
      rounds = Math.min(rounds, Math.ceil(((first?.bytes ?? 0) - credit) / QUANTUM_BYTES) - 1);
    if (rounds > 0) for (const lane of this.lanes.values()) lane.credit += rounds * QUANTUM_BYTES;
  }

  private removeFirst(lane: Lane<T>, entry: Entry<T>): Entry<T> | null {
    lane.first = entry.next;
    if (entry.next === null) lane.last = null;
    lane.items--;
    lane.bytes -= entry.bytes;
    lane.credit -= entry.bytes;
    this.items--;
    this.bytes -= entry.bytes;
    return entry.next;
  }

  private openLane(key: string): Lane<T> {
    const paidAt = this.debts.get(key) ?? Number.NEGATIVE_INFINITY;
    const owedMs = Math.max(0, paidAt - (this.debts.size > 0 ? this.clock() : 0));
    const credit = owedMs === 0 ? 0 : -owedMs * BYTES_PER_MS;
    const lane: Lane<T> = { key, first: null, last: null, items: 0, bytes: 0, credit, paidAt, next: null };
    this.debts.delete(key);
    this.lanes.set(key, lane);
    return lane;
  }

  /** Takes the first lane off, and puts it behind the others when it has more. */
  private rotate(lane: Lane<T>): void {
    this.firstLane = lane.next;
    if (lane.next === null) this.lastLane = null;
    lane.next = null;
    if (lane.first === null) this.lanes.delete(lane.key);
    else this.appendLane(lane);
  }

  private appendLane(lane: Lane<T>): void {
    if (this.lastLane === null) this.firstLane = lane;
    else this.lastLane.next = lane;
    this.lastLane = lane;
  }
}
