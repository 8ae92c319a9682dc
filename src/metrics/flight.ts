/** An answer under way that several callers wait for; it ends when the last of them has left. */
export class Flight<T> {
  private readonly answer: Promise<T>;
  private readonly controller = new AbortController();
  private waiting = 0;

  /** @param work begins in the next turn; its signal tells that nobody waits any more */
  constructor(work: (own: AbortSignal) => Promise<T>) {
    const { signal } = this.controller;
    this.answer = Promise.resolve().then(() => work(signal));
    // When all callers have left nobody listens any more.
    this.answer.catch(() => {});
  }

  /** Aborted when nobody waits any more. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Waits for the answer as long as the caller does. @throws the signal's reason when the caller has left */
  join(signal: AbortSignal): Promise<T> {
    this.waiting++;
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.waiting--;
        if (this.waiting === 0) this.controller.abort(signal.reason);
        reject(signal.reason);
      };
      if (signal.aborted) return leave();
      signal.addEventListener('abort', leave, { once: true });
      const stay = () => signal.removeEventListener('abort', leave);
      this.answer.then(
        (value) => {
          stay();
          resolve(value);
        },
        (error: unknown) => {
          stay();
          reject(error);
        },
      );
    });
  }
}
