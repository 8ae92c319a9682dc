/** Fails a file of which something goes on after its end: the files that follow run in the same process (`isolate: false`). */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, expect } from 'vitest';

/** What is just ending may do so. */
const PATIENCE_MS = 5_000;

/** Timers that keep the process alive: of loops, and of what waits for something. */
const timers = () => process.getActiveResourcesInfo().filter((type) => type === 'Timeout').length;
const before = timers();

// After the hooks of the file itself: they run in the reverse order.
afterAll(async () => {
  const end = performance.now() + PATIENCE_MS;
  while (timers() > before && performance.now() < end) await pause(20, undefined, { ref: false });
  expect(timers() - before, 'timers that are left when the file has ended').toBeLessThanOrEqual(0);
});
