import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { AgentCache } from './agent-cache.js';
import { splitUrl } from './url.js';

/** Bytes of the heap in use after a full collection. */
function heapUsed(): number {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect !== 'function') throw new Error('no garbage collector to call');
  collect();
  return process.memoryUsage().heapUsed;
}

const MEGABYTE = 'x'.repeat(1 << 20);
/** A text of its own, as a body's fields are. */
const sent = (start: string): string => String(JSON.parse(`"${start}${MEGABYTE}"`));

it('remembers no long texts of senders, nor keeps them alive by a part of them', () => {
  const agents = new AgentCache(5_000);
  const before = heapUsed();
  for (let i = 0; i < 50; i++) {
    agents.ofEvent(sent(`Mozilla/5.0 number ${i} `));
    expect(splitUrl(sent(`https://host-number-${i}.example/`)).host).toBe(`host-number-${i}.example`);
  }
  expect((heapUsed() - before) / 1e6).toBeLessThan(10);
  expect(agents.ofEvent(`Mozilla/5.0 number 1 ${MEGABYTE}`)).toBe(
    agents.ofEvent(sent('Mozilla/5.0 number 1 ')),
  );
});
