import { Gauge } from 'prom-client';
import { AppError } from '../errors.js';
import type { Telemetry } from '../telemetry.js';

/** In this process: a file that is being read takes some ten MiB, and it comes as slowly as its sender likes. */
const MAX_AT_ONCE = 32;
/** So that no account keeps out all others. */
const MAX_OF_ACCOUNT = 4;
const RETRY_SECONDS = 5;

/** The forms with files that are being read just now. */
export class Uploads {
  readonly #accounts = new Map<string, number>();
  #reading = 0;

  constructor({ registry }: Pick<Telemetry, 'registry'>) {
    const reading = () => this.#reading;
    new Gauge({
      name: 'seentics_http_uploads',
      help: `Forms with files that are being read; ${MAX_AT_ONCE} at most`,
      registers: [registry],
      collect() {
        this.set(reading());
      },
    });
  }

  /**
   * @returns to be called once, when the form has been read
   * @throws AppError `rate_limited` (too many of this account), `overloaded`
   */
  begin(account: string): () => void {
    const own = this.#accounts.get(account) ?? 0;
    if (own >= MAX_OF_ACCOUNT)
      throw new AppError('rate_limited', `At most ${MAX_OF_ACCOUNT} files may be sent at the same time`, {
        retryAfterSeconds: RETRY_SECONDS,
      });
    if (this.#reading >= MAX_AT_ONCE)
      throw new AppError('overloaded', 'Too many files at once', { retryAfterSeconds: RETRY_SECONDS });
    this.#accounts.set(account, own + 1);
    this.#reading++;
    return () => this.#end(account);
  }

  #end(account: string): void {
    this.#reading--;
    const others = (this.#accounts.get(account) ?? 0) - 1;
    if (others > 0) this.#accounts.set(account, others);
    else this.#accounts.delete(account);
  }
}
