/** Waiting that grows with each failure in a row and can be cut short. */
export class Pause {
  #failures = 0;
  #wake: (() => void) | undefined;

  /**
   * @param firstMs after the first failure; doubles with each further one, with jitter (half to full)
   * @param maxMs longest
   */
  constructor(
    readonly firstMs: number,
    readonly maxMs: number,
  ) {}

  /** Waits after a failure. */
  afterFailure(): Promise<void> {
    const ms = Math.min(this.maxMs, this.firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return this.for(ms * (0.5 + Math.random() / 2));
  }

  succeeded(): void {
    this.#failures = 0;
  }

  for(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }

  /** Ends the wait of now, if there is one. */
  cut(): void {
    this.#wake?.();
  }
}
