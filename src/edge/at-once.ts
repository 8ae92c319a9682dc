import { Gauge } from 'prom-client';
import { AppError } from '../errors.js';
import type { Telemetry } from '../telemetry.js';

export interface AtOnceOptions {
  /** Name of the gauge. */
  readonly metric: string;
  /** What goes on, in the plural, for people. */
  readonly what: string;
  /** Most in this process. */
  readonly inAll: number;
  /** Most of one account, so that none keeps out all others. */
  readonly ofAccount: number;
}

const RETRY_SECONDS = 5;

/** Bounds what takes some ten MiB each and lasts as long as the other side likes. */
export class AtOnce {
  readonly #accounts = new Map<string, number>();
  #running = 0;

  constructor(
    private readonly options: AtOnceOptions,
    { registry }: Pick<Telemetry, 'registry'>,
  ) {
    const running = () => this.#running;
    new Gauge({
      name: options.metric,
      help: `Just now: ${options.what}; ${options.inAll} at most`,
      registers: [registry],
      collect() {
        this.set(running());
      },
    });
  }

  /**
   * @returns to be called once, at the end
   * @throws AppError `rate_limited` (too many of this account), `overloaded`
   */
  begin(account: string): () => void {
    const { what, inAll, ofAccount } = this.options;
    const own = this.#accounts.get(account) ?? 0;
    if (own >= ofAccount)
      throw new AppError('rate_limited', `Too many at the same time: ${what}, at most ${ofAccount}`, {
        retryAfterSeconds: RETRY_SECONDS,
      });
    if (this.#running >= inAll)
      throw new AppError('overloaded', `Too many at the same time: ${what}`, {
        retryAfterSeconds: RETRY_SECONDS,
      });
    this.#accounts.set(account, own + 1);
    this.#running++;
    return () => this.#end(account);
  }

  #end(account: string): void {
    this.#running--;
    const others = (this.#accounts.get(account) ?? 0) - 1;
    if (others > 0) this.#accounts.set(account, others);
    else this.#accounts.delete(account);
  }
}
