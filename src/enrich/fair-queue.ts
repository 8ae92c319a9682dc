/**
 * A bounded queue that serves its lanes (sites) in turn, by deficit round robin (Shreedhar and Varghese 1995): each visit gives a lane
 * a quantum of bytes to send, so neither many requests nor large ones of one site hold up another's.
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
  /** Bytes that the lane may still take out in its turn. */
  credit: number;
  next: Lane<T> | null;
}

const QUANTUM_BYTES = 8 << 10;

export class FairQueue<T> {
  private readonly lanes = new Map<string, Lane<T>>();
  private firstLane: Lane<T> | null = null;
  private lastLane: Lane<T> | null = null;
  items = 0;
  bytes = 0;

  constructor(private readonly limits: FairQueueLimits) {}

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
    while (this.firstLane !== null && taken.length < maxItems && bytes < maxBytes) {
      const lane = this.firstLane;
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
    const lane: Lane<T> = { key, first: null, last: null, items: 0, bytes: 0, credit: 0, next: null };
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
