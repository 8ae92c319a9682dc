import { pause } from './waiting.js';

/** A little more than a process gets to end. */
const PATIENCE_MS = 6_000;
const RETRY_MS = 100;

/**
 * Takes something that another process may be about to let go of, such as the folder of a process that is still ending.
 * @throws the last error, after six seconds, when the signal says so, or when waiting would not change it
 */
export async function patiently<T>(take: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await take();
    } catch (error) {
      if (signal.aborted || performance.now() >= end || isFinal(error)) throw error;
    }
    await pause(RETRY_MS, signal);
  }
}

/** What the system refuses stays refused, but for a port that is in use. */
function isFinal(error: unknown): boolean {
  const reason = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(reason instanceof Error) || !('syscall' in reason)) return false;
  return !('code' in reason) || reason.code !== 'EADDRINUSE';
}
