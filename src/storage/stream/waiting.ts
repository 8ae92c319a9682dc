import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** A first-in first-out queue without a cost a step that grows with its length. What was taken is held no longer. */
export class Fifo<T> {
  private items: (T | undefined)[] = [];
  private head = 0;

  get length(): number {
    return this.items.length - this.head;
  }

  push(item: T): void {
    this.items.push(item);
  }

  shift(): T | undefined {
    if (this.head === this.items.length) return undefined;
    const item = this.items[this.head];
    this.items[this.head++] = undefined;
    if (this.head === this.items.length) {
      this.items = [];
      this.head = 0;
    } else if (this.head > 1024 && this.head * 2 > this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    return item;
  }
}

/** Wakes one waiter; a signal that nobody waits for is kept. */
export class Signal {
  private isSet = false;
  private waiter: (() => void) | undefined;

  set(): void {
    this.isSet = true;
    const waiter = this.waiter;
    this.waiter = undefined;
    waiter?.();
  }

  /** Resolves at once when it was set since the last wait. */
  async wait(): Promise<void> {
    if (!this.isSet) {
      await new Promise<void>((resolve) => {
        this.waiter = resolve;
      });
    }
    this.isSet = false;
  }
}

/** An AbortController that any number of pauses may wait on at the same time. */
export function createStop(): AbortController {
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  return stop;
}

/** Waits, at most until `signal` is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}

/** Waiting times that double from `firstMs` to `lastMs` until `reset`. */
export class Backoff {
  private next: number;

  constructor(
    private readonly firstMs: number,
    private readonly lastMs: number,
  ) {
    this.next = firstMs;
  }

  take(): number {
    const ms = this.next;
    this.next = Math.min(this.next * 2, this.lastMs);
    return ms;
  }

  reset(): void {
    this.next = this.firstMs;
  }
}
