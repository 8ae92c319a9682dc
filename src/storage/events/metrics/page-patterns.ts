/** Finds in which pages patterns occur, in this process, without keeping it from its other work. */
import { setImmediate as turn } from 'node:timers/promises';
import { AppError } from '../../../errors.js';
import { compilePattern } from '../../../funnels/pattern.js';

/** Longest stretch of matching, ms. */
const SLICE_MS = 5;

/**
 * The pages in which each pattern occurs.
 * @throws AppError `timeout` when it takes longer than `limitMs` of matching, the signal's reason when the caller has left
 */
export async function pagesOfPatterns(
  patterns: readonly string[],
  pages: readonly string[],
  limitMs: number,
  signal: AbortSignal,
): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  let spent = 0;
  for (const pattern of new Set(patterns)) {
    const occurs = compilePattern(pattern);
    const list: string[] = [];
    found.set(pattern, list);
    let sliceStart = performance.now();
    for (const page of pages) {
      if (occurs(page)) list.push(page);
      const slice = performance.now() - sliceStart;
      if (slice < SLICE_MS) continue;
      spent += slice;
      if (spent > limitMs) throw new AppError('timeout', 'The patterns of the funnel took too long');
      await turn();
      signal.throwIfAborted();
      sliceStart = performance.now();
    }
  }
  return found;
}
