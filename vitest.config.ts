import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { LongestFirst } from './test/support/longest-first.js';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'client/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/left-running.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Files of programs that crash and come back wait half of their time: a worker more than cores uses it.
    maxWorkers: Math.min(8, availableParallelism() + 1),
    // One process runs file after file and loads the product once. No module keeps state of its own, and spies end with their test.
    isolate: false,
    restoreMocks: true,
    sequence: { sequencer: LongestFirst },
  },
});
