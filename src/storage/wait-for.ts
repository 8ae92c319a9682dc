import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../telemetry.js';

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 2_000;
/** The line is written at once and then this often, so that a long wait stays visible without filling the log. */
const LOG_EVERY_MS = 15_000;

export interface WaitOptions {
  /** What is waited for, e.g. `Postgres`. */
  readonly what: string;
  /** Host and port, without credentials. */
  readonly where: string;
  readonly log: Logger;
  /** Ends the waiting; the last failure is thrown. */
  readonly signal?: AbortSignal;
  /** Whether waiting cannot help (wrong password): the failure is thrown at once. */
  readonly isFinal?: (error: unknown) => boolean;
  /** Words of a failure for the log line; default its message. */
  readonly reasonOf?: (error: unknown) => string;
}

/**
 * Calls `attempt` until it succeeds, with back-off, logging "waiting for WHAT at WHERE …". A configured server is never replaced by
 * something else because it is late.
 * @throws Error with the words of a final failure and whose it is; the last failure when the signal ends the waiting
 */
export async function waitFor<T>(options: WaitOptions, attempt: () => Promise<T>): Promise<T> {
  options.signal?.throwIfAborted();
  let loggedAt = 0;
  for (let delayMs = FIRST_DELAY_MS; ; delayMs = Math.min(delayMs * 2, MAX_DELAY_MS)) {
    try {
      const result = await attempt();
      if (loggedAt > 0) options.log.info(`${options.what} at ${options.where} answers`);
      return result;
    } catch (error) {
      if (options.signal?.aborted) throw error;
      const reason = (options.reasonOf ?? messageOf)(error);
      if (options.isFinal?.(error))
        throw new Error(`${options.what} at ${options.where}: ${reason}`, { cause: error });
      if (Date.now() - loggedAt >= LOG_EVERY_MS) {
        loggedAt = Date.now();
        options.log.warn({ reason }, `waiting for ${options.what} at ${options.where} …`);
      }
      await delay(delayMs, undefined, options.signal ? { signal: options.signal } : {}).catch(() => {
        throw error;
      });
    }
  }
}

/** What a failure says, in words. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message !== '' ? error.message : 'code' in error ? String(error.code) : error.name;
}
