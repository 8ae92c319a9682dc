/**
 * What an actor is: something that is handed one message at a time, owns its state alone, and lives inside an `ActorGroup` that
 * creates it for the first message to its key and removes it when it has been idle.
 */
export interface Actor<Message, Reply = void> {
  /**
   * Handles one message; the next one comes when the returned promise has settled. What it returns answers `ask`. When it throws, the
   * asker gets the error, and a new actor takes over the mailbox after a pause.
   */
  receive(message: Message): Reply | Promise<Reply>;
  /**
   * The last call to this actor: the place to hand its state on. Messages that arrive meanwhile wait for its successor. An error here
   * is logged and changes nothing.
   */
  onStop?(reason: StopReason): void | Promise<void>;
  /** False while it holds something that waits for no message (work in flight). Asked before it is passivated. */
  canPassivate?(): boolean;
}

/** `idle`: passivated. `failed`: about to be replaced. `stop`: the group ends. */
export type StopReason = 'idle' | 'failed' | 'stop';

/** What the group gives an actor. */
export interface ActorContext<Key, Message> {
  readonly key: Key;
  /** Messages waiting behind the one being handled. */
  readonly waiting: number;
  /**
   * Takes the next waiting message out of the mailbox, to be handled together with the current one. Only messages that were told:
   * at a message that was asked it answers undefined, because that one's reply is what its own `receive` returns.
   */
  takeWaiting(): Message | undefined;
  /**
   * Sends the actor this message once, after `delayMs`. A timer of the same name is replaced. Timers end with the actor; while one is
   * set, the actor is not idle. The mailbox's limits do not apply.
   */
  setTimer(name: string, delayMs: number, message: Message): void;
  clearTimer(name: string): void;
}

export interface MailboxLimits<Message> {
  /** Messages that may wait. */
  readonly messages: number;
  /** Sum of `weigh` over what may wait (bytes, as a rule). One message that is heavier alone is taken by an empty mailbox. */
  readonly weight?: number;
  /** Weight of a message; must always answer the same for the same message. */
  readonly weigh?: (message: Message) => number;
}

export interface RestartOptions {
  /** Pause after the first failure, ms. Doubles with each further failure in a row, with jitter (half to full). Default 50. */
  readonly firstMs?: number;
  /** Longest pause, ms. Default 10,000. */
  readonly maxMs?: number;
  /** So many failures in a row, and the actor is given up with all that waits in its mailbox. Default 10. */
  readonly poisonLimit?: number;
}
