import type { MailboxLimits } from './actor.js';
import { Ring } from './ring.js';

/** A message whose sender waits for the reply. */
export class Asked<Message, Reply> {
  constructor(
    readonly message: Message,
    readonly resolve: (reply: Reply) => void,
    readonly reject: (error: unknown) => void,
  ) {}
}

/** What lies in a mailbox: a told message as it is, or an asked one. Boxing only the asked ones saves an allocation a `tell`. */
export type Letter<Message, Reply> = Message | Asked<Message, Reply>;

export function messageOf<Message, Reply>(letter: Letter<Message, Reply>): Message {
  return letter instanceof Asked ? letter.message : letter;
}

/** A bounded queue of letters. */
export class Mailbox<Message extends object | string | number, Reply> {
  readonly #letters = new Ring<Letter<Message, Reply>>();
  #weight = 0;

  get length(): number {
    return this.#letters.length;
  }

  /** False when the letter does not fit. */
  offer(letter: Letter<Message, Reply>, limits: MailboxLimits<Message>): boolean {
    const waiting = this.#letters.length;
    if (waiting >= limits.messages) return false;
    if (limits.weigh !== undefined) {
      const weight = limits.weigh(messageOf(letter));
      if (waiting > 0 && this.#weight + weight > (limits.weight ?? Number.POSITIVE_INFINITY)) return false;
      this.#weight += weight;
    }
    this.#letters.push(letter);
    return true;
  }

  /** Adds a letter past all limits (the actor's own timers). */
  force(letter: Letter<Message, Reply>, limits: MailboxLimits<Message>): void {
    this.#weight += limits.weigh?.(messageOf(letter)) ?? 0;
    this.#letters.push(letter);
  }

  peek(): Letter<Message, Reply> | undefined {
    return this.#letters.peek();
  }

  shift(limits: MailboxLimits<Message>): Letter<Message, Reply> | undefined {
    const letter = this.#letters.shift();
    if (letter !== undefined && limits.weigh !== undefined) this.#weight -= limits.weigh(messageOf(letter));
    return letter;
  }
}
