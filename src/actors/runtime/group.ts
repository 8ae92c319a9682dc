import type { Telemetry } from '../../telemetry.js';
import type { Actor, ActorContext, MailboxLimits, RestartOptions, StopReason } from './actor.js';
import { Cell, type CellHost } from './cell.js';
import { ActorPoisonedError, ActorStoppedError, MailboxFullError } from './errors.js';
import { Asked, type Letter, messageOf } from './mailbox.js';
import { ActorMetrics, type GroupFigures } from './metrics.js';
import { Ring } from './ring.js';

/** Messages an actor may handle before others get their turn. */
const TURN_MESSAGES = 32;
/** How long the run queue or a sweep may hold the event loop, ms. */
const SLICE_MS = 4;
const SLICE_CHECK = 16;

export interface ActorGroupOptions<Key, Message, Reply> {
  /** Metric label and log field. */
  readonly name: string;
  /** Makes the actor of a key: at its first message, and again after a failure or passivation. */
  readonly create: (context: ActorContext<Key, Message>) => Actor<Message, Reply>;
  readonly mailbox: MailboxLimits<Message>;
  /** An actor without messages is removed after this time, and before twice this time. Default 60,000. */
  readonly idleMs?: number;
  /** Actors alive at most; one more is refused like a full mailbox. Default 250,000. */
  readonly maxActors?: number;
  readonly restart?: RestartOptions;
  /** A told message that was taken but will never be handled (poisoned actor, stop past its deadline). */
  readonly onDropped?: (key: Key, message: Message, error: Error) => void;
  readonly telemetry: Telemetry;
}

/**
 * A family of actors of one kind, one for each key, created on demand. One run queue serves them in turns, so a busy actor delays
 * another by its turn at most; one sweep passivates the idle. There is no timer for an idle actor.
 */
export class ActorGroup<Key extends string | number, Message extends object | string | number, Reply = void> {
  readonly #options: ActorGroupOptions<Key, Message, Reply>;
  readonly #cells = new Map<Key, Cell<Key, Message, Reply>>();
  readonly #runQueue = new Ring<Cell<Key, Message, Reply>>();
  /** Every cell once, in the order of `queuedAt`. */
  readonly #idleQueue = new Ring<Cell<Key, Message, Reply>>();
  readonly #host: CellHost<Key, Message, Reply>;
  readonly #metrics: ActorMetrics;
  readonly #figures: GroupFigures;
  readonly #idleMs: number;
  #waiting = 0;
  #dispatching = false;
  #sweeper: NodeJS.Timeout | undefined;
  #stopping = false;
  #stopped: (() => void) | undefined;

  constructor(options: ActorGroupOptions<Key, Message, Reply>) {
    this.#options = options;
    this.#idleMs = options.idleMs ?? 60_000;
    this.#metrics = ActorMetrics.of(options.telemetry.registry);
    const alive = () => this.#cells.size;
    const waiting = () => this.#waiting;
    this.#figures = {
      name: options.name,
      get alive() {
        return alive();
      },
      get waiting() {
        return waiting();
      },
    };
    this.#metrics.groups.add(this.#figures);
    this.#host = {
      limits: options.mailbox,
      due: (cell, message) => {
        cell.mailbox.force(message, options.mailbox);
        this.#waiting++;
        this.#wake(cell);
      },
      taken: () => {
        this.#waiting--;
      },
    };
  }

  /** Actors in memory. */
  get size(): number {
    return this.#cells.size;
  }

  /** Messages waiting in all mailboxes. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Puts a message into the actor's mailbox; false when it is full or the group is stopping. */
  tell(key: Key, message: Message): boolean {
    return this.#send(key, message);
  }

  /**
   * Sends a message and waits for what the actor answers.
   * @throws MailboxFullError, ActorStoppedError, ActorPoisonedError, or what the actor threw
   */
  ask(key: Key, message: Message): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#send(key, new Asked(message, resolve, reject))) return;
      const name = `${this.#options.name} ${key}`;
      reject(
        this.#stopping
          ? new ActorStoppedError(`${name} is stopping`)
          : new MailboxFullError(`${name}: mailbox is full`),
      );
    });
  }

  /**
   * Takes no more messages, lets the actors handle what waits, stops them, and drops what is left at the deadline.
   * @returns how many messages were dropped
   */
  async stop(deadlineMs: number): Promise<{ dropped: number }> {
    this.#stopping = true;
    clearInterval(this.#sweeper);
    let timer: NodeJS.Timeout | undefined;
    if (this.#cells.size > 0) {
      const empty = new Promise<void>((resolve) => {
        this.#stopped = resolve;
      });
      for (const cell of [...this.#cells.values()]) {
        if (cell.state === 'idle') this.#end(cell, 'stop');
        else if (cell.state === 'resting') this.#wakeUp(cell);
      }
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, deadlineMs);
      });
      if (this.#cells.size > 0) await Promise.race([empty, late]);
      clearTimeout(timer);
    }
    let dropped = 0;
    for (const cell of [...this.#cells.values()]) {
      dropped += cell.mailbox.length;
      this.#remove(cell, new ActorStoppedError(`${this.#options.name} ${cell.key} was stopped`));
    }
    this.#metrics.groups.delete(this.#figures);
    return { dropped };
  }

  #send(key: Key, letter: Letter<Message, Reply>): boolean {
    const cell = this.#cells.get(key) ?? this.#open(key);
    if (this.#stopping || cell === undefined || !cell.mailbox.offer(letter, this.#options.mailbox)) {
      this.#metrics.refusals.inc({ group: this.#options.name });
      return false;
    }
    this.#waiting++;
    this.#wake(cell);
    return true;
  }

  #open(key: Key): Cell<Key, Message, Reply> | undefined {
    if (this.#stopping || this.#cells.size >= (this.#options.maxActors ?? 250_000)) return undefined;
    const cell = new Cell<Key, Message, Reply>(key, this.#host, performance.now());
    this.#cells.set(key, cell);
    this.#idleQueue.push(cell);
    if (this.#sweeper === undefined) {
      const period = Math.min(5_000, Math.max(5, this.#idleMs / 4));
      this.#sweeper = setInterval(() => this.#sweep(), period).unref();
    }
    return cell;
  }

  /** Gives an idle cell its place in the run queue. */
  #wake(cell: Cell<Key, Message, Reply>): void {
    if (cell.state !== 'idle') return;
    cell.state = 'ready';
    this.#runQueue.push(cell);
    if (this.#dispatching) return;
    this.#dispatching = true;
    queueMicrotask(this.#dispatch);
  }

  readonly #dispatch = (): void => {
    const end = performance.now() + SLICE_MS;
    let turns = 0;
    for (let cell = this.#runQueue.shift(); cell !== undefined; cell = this.#runQueue.shift()) {
      this.#turn(cell);
      if (++turns % SLICE_CHECK === 0 && performance.now() > end) {
        setImmediate(this.#dispatch);
        return;
      }
    }
    this.#dispatching = false;
  };

  /** Lets the actor handle waiting messages until its turn is over or it has to wait for something itself. */
  #turn(cell: Cell<Key, Message, Reply>): void {
    if (cell.state !== 'ready') return;
    cell.state = 'running';
    for (let i = 0; i < TURN_MESSAGES; i++) {
      const letter = cell.mailbox.shift(this.#options.mailbox);
      if (letter === undefined) break;
      this.#waiting--;
      try {
        cell.actor ??= this.#options.create(cell);
        const reply = cell.actor.receive(messageOf(letter));
        if (reply instanceof Promise) {
          reply.then(
            (value) => {
              this.#handled(cell, letter, value);
              this.#rejoin(cell);
            },
            (error: unknown) => this.#failed(cell, letter, error),
          );
          return;
        }
        this.#handled(cell, letter, reply);
      } catch (error) {
        this.#failed(cell, letter, error);
        return;
      }
    }
    this.#rejoin(cell);
  }

  #handled(cell: Cell<Key, Message, Reply>, letter: Letter<Message, Reply>, reply: Reply): void {
    cell.failures = 0;
    if (letter instanceof Asked) letter.resolve(reply);
  }

  /** After a turn: back into the run queue, idle, or the end. */
  #rejoin(cell: Cell<Key, Message, Reply>): void {
    if (cell.state === 'gone') return;
    cell.state = 'idle';
    if (cell.mailbox.length > 0) this.#wake(cell);
    else if (this.#stopping) this.#end(cell, 'stop');
    else cell.idleSince = performance.now();
  }

  #failed(cell: Cell<Key, Message, Reply>, letter: Letter<Message, Reply>, error: unknown): void {
    const { name, telemetry, restart = {} } = this.#options;
    cell.failures++;
    this.#metrics.restarts.inc({ group: name });
    telemetry.log.error({ group: name, key: cell.key, failures: cell.failures, err: error }, 'actor failed');
    if (letter instanceof Asked) letter.reject(error);
    if (cell.state === 'gone') return;
    cell.state = 'resting';
    this.#release(cell, 'failed', () => {
      if (cell.state !== 'resting') return;
      if (cell.failures >= (restart.poisonLimit ?? 10)) {
        this.#remove(
          cell,
          new ActorPoisonedError(`${name} ${cell.key} failed ${cell.failures} times in a row`),
        );
        return;
      }
      if (this.#stopping) {
        this.#wakeUp(cell);
        return;
      }
      const pause = Math.min(restart.maxMs ?? 10_000, (restart.firstMs ?? 50) * 2 ** (cell.failures - 1));
      cell.rest = setTimeout(() => this.#wakeUp(cell), pause * (0.5 + Math.random() / 2));
    });
  }

  /** Ends the rest of a failed cell. */
  #wakeUp(cell: Cell<Key, Message, Reply>): void {
    clearTimeout(cell.rest);
    if (cell.state === 'resting') this.#rejoin(cell);
  }

  /** Takes the actor out of its cell and lets it hand on its state. */
  #release(cell: Cell<Key, Message, Reply>, reason: StopReason, then: () => void): void {
    const { actor } = cell;
    cell.actor = undefined;
    cell.clearTimers();
    const failed = (error: unknown) => {
      const { name, telemetry } = this.#options;
      telemetry.log.error({ group: name, key: cell.key, err: error }, 'actor failed while stopping');
    };
    try {
      const done = actor?.onStop?.(reason);
      if (done instanceof Promise) {
        done.catch(failed).then(then);
        return;
      }
    } catch (error) {
      failed(error);
    }
    then();
  }

  /** Stops an idle actor; messages that come while it stops are its successor's. */
  #end(cell: Cell<Key, Message, Reply>, reason: StopReason): void {
    cell.state = 'stopping';
    this.#release(cell, reason, () => {
      if (cell.state !== 'stopping') return;
      if (cell.mailbox.length > 0) {
        this.#rejoin(cell);
        return;
      }
      if (reason === 'idle') this.#metrics.passivations.inc({ group: this.#options.name });
      this.#remove(cell);
    });
  }

  #remove(cell: Cell<Key, Message, Reply>, error?: Error): void {
    cell.state = 'gone';
    clearTimeout(cell.rest);
    cell.clearTimers();
    this.#cells.delete(cell.key);
    if (error !== undefined) this.#drop(cell, error);
    if (this.#cells.size > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
    this.#idleQueue.clear();
    this.#stopped?.();
  }

  #drop(cell: Cell<Key, Message, Reply>, error: Error): void {
    const { mailbox, onDropped } = this.#options;
    for (
      let letter = cell.mailbox.shift(mailbox);
      letter !== undefined;
      letter = cell.mailbox.shift(mailbox)
    ) {
      this.#waiting--;
      if (letter instanceof Asked) letter.reject(error);
      else onDropped?.(cell.key, letter, error);
    }
  }

  /**
   * Passivates what has been idle for long enough. Looks only at the head of the idle queue: a cell that is still in use goes back to
   * its end, so a cell is looked at once in `idleMs`, and 100,000 due at once are done in slices.
   */
  #sweep(): void {
    const now = performance.now();
    for (let seen = 0; ; seen++) {
      const cell = this.#idleQueue.peek();
      if (cell === undefined || cell.queuedAt + this.#idleMs > now || this.#stopping) return;
      this.#idleQueue.shift();
      if (cell.state === 'gone') continue;
      const idle = cell.state === 'idle' && !cell.hasTimers && cell.idleSince + this.#idleMs <= now;
      cell.queuedAt = now;
      if (idle && (cell.actor?.canPassivate?.() ?? true)) this.#end(cell, 'idle');
      // `#end` may be waiting for `onStop`, after which the cell may live on.
      if (this.#cells.get(cell.key) === cell) this.#idleQueue.push(cell);
      if (seen % SLICE_CHECK === 0 && performance.now() > now + SLICE_MS) {
        setImmediate(() => this.#sweep());
        return;
      }
    }
  }
}
