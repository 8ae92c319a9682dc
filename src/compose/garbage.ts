import { setFlagsFromString } from 'node:v8';

/**
 * How much the old generation may grow from one full collection to the next, percent of what was alive. Left to itself V8 allows little
 * where a heap is small and grows slowly; the bytes of events, which lie outside of the heap, count as growth. Under load it then collected
 * up to three times a second, and each time all requests waited for 5 to 10 ms while its helper threads took the processor from the workers.
 */
const GROWTH_PERCENT = 200;

/** Makes full garbage collections of this process, worker threads included, as rare as the memory of a server allows. */
export function collectLessOften(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`);
}
