import type { Actor, ActorContext, MailboxLimits } from './actor.js';
import { Asked, Mailbox } from './mailbox.js';

/**
 * The life of an actor:
 *
 *     idle -> ready (in the run queue) -> running (one message) -> ready | idle
 *     running -> resting (failed; a successor comes after a pause) -> ready
 *     idle -> stopping (onStop runs; messages wait for a successor) -> gone | ready
 */
export type CellState = 'idle' | 'ready' | 'running' | 'resting' | 'stopping' | 'gone';

/** What the cell needs of its group. */
export interface CellHost<Key, Message extends object | string | number, Reply> {
  readonly limits: MailboxLimits<Message>;
  /** A timer of the cell is due. */
  due(cell: Cell<Key, Message, Reply>, message: Message): void;
  /** The actor took a letter out of the mailbox itself. */
  taken(): void;
}

/** An actor's place in its group: the mailbox and the state that outlive a failed actor. It is also the actor's context. */
export class Cell<Key, Message extends object | string | number, Reply>
  implements ActorContext<Key, Message>
{
  state: CellState = 'idle';
  actor: Actor<Message, Reply> | undefined;
  readonly mailbox = new Mailbox<Message, Reply>();
  /** Failures in a row. */
  failures = 0;
  /** Ends the rest after a failure. */
  rest: NodeJS.Timeout | undefined;
  /** When it last ran out of messages, and when it was put into the idle queue; ms of the group's clock. */
  idleSince: number;
  queuedAt: number;
  #timers: Map<string, NodeJS.Timeout> | undefined;

  constructor(
    readonly key: Key,
    readonly host: CellHost<Key, Message, Reply>,
    now: number,
  ) {
    this.idleSince = now;
    this.queuedAt = now;
  }

  get waiting(): number {
    return this.mailbox.length;
  }

  get hasTimers(): boolean {
    return this.#timers !== undefined && this.#timers.size > 0;
  }

  takeWaiting(): Message | undefined {
    const next = this.mailbox.peek();
    if (next === undefined || next instanceof Asked) return undefined;
    this.mailbox.shift(this.host.limits);
    this.host.taken();
    return next;
  }

  setTimer(name: string, delayMs: number, message: Message): void {
    this.clearTimer(name);
    this.#timers ??= new Map();
    const timer = setTimeout(() => {
      this.#timers?.delete(name);
      this.host.due(this, message);
    }, delayMs);
    this.#timers.set(name, timer);
  }

  clearTimer(name: string): void {
    const timer = this.#timers?.get(name);
    if (timer === undefined) return;
    clearTimeout(timer);
    this.#timers?.delete(name);
  }

  clearTimers(): void {
    for (const timer of this.#timers?.values() ?? []) clearTimeout(timer);
    this.#timers = undefined;
  }
}
